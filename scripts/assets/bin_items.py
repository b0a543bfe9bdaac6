"""Goods for the bins scene: what each is, how large, how it is printed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import item_art as art
import numpy as np
from item_art import Design
from item_shapes import dome, pillow, printed_box, rounded, squeezed_tube, turned
from mesh_ops import FloatArray, face_normals, unit
from shapes import Shape, box, join, moved
from usd_asset import Look

TILE_PX = 224
Size = tuple[float, float, float]
Part = tuple[Shape, Look]


@dataclass(frozen=True, slots=True)
class Item:
    """One kind of goods."""

    name: str
    label: str
    title: str
    picture: Callable[[np.random.Generator], FloatArray]
    """Its one texture, (H, W, 3) display RGB."""
    build: Callable[[np.random.Generator, str], list[Part]]
    """Parts, given the texture's file."""


def printed_carton(name: str, title: str, size: Size, design: Design) -> Item:
    """A folding box."""

    def picture(rng: np.random.Generator) -> FloatArray:
        faces = [art.front, art.back]
        sides = [face(rng, design, TILE_PX, TILE_PX) for face in faces]
        top = art.front(rng, Design("", design.ground, design.accent, "stripes"), TILE_PX, TILE_PX)
        return np.concatenate([*sides, top], axis=1)

    def build(_rng: np.random.Generator, file: str) -> list[Part]:
        return [(printed_box(size), Look(name="print", texture=file, roughness=0.45))]

    return Item(name, "box", title, picture, build)


def shipping_carton(name: str, size: Size) -> Item:
    """A corrugated carton with an address label."""

    def picture(rng: np.random.Generator) -> FloatArray:
        faces = [art.kraft(rng, TILE_PX, TILE_PX, label=label) for label in (True, False, False)]
        return np.concatenate(faces, axis=1)

    def build(_rng: np.random.Generator, file: str) -> list[Part]:
        return [(printed_box(size, 0.002), Look(name="board", texture=file, roughness=0.85))]

    return Item(name, "box", "Shipping carton", picture, build)


def _wrap(design: Design) -> Callable[[np.random.Generator], FloatArray]:
    def picture(rng: np.random.Generator) -> FloatArray:
        sides = [art.front(rng, design, TILE_PX, TILE_PX), art.back(rng, design, TILE_PX, TILE_PX)]
        return np.concatenate(sides, axis=1)

    return picture


def bottle(
    name: str,
    title: str,
    design: Design,
    profile: list[tuple[float, float]],
    *,
    label_m: tuple[float, float],
    cap: list[tuple[float, float]],
    flat: float = 1.0,
) -> Item:
    """A plastic bottle: a shell of the ground colour, a wrapped label, a cap.

    Args:
        name: of the asset.
        title: for people.
        design: of the label.
        profile: (radius, height) of the shell; constant radius where the label is.
        label_m: lower and upper edge of the label.
        cap: profile of the cap.
        flat: depth over width.
    """

    def build(_rng: np.random.Generator, file: str) -> list[Part]:
        radius = max(r for r, _ in profile) + 0.0004
        low, high = label_m
        label = turned([(radius, low), (radius, high)], flat=flat)
        shell = Look(name="shell", color_rgb=_linear(design.ground), roughness=0.3)
        lid = Look(name="cap", color_rgb=_linear(design.accent), roughness=0.35)
        return [
            (turned(profile, flat=flat), shell),
            (label, Look(name="label", texture=file, roughness=0.4)),
            (turned(cap), lid),
        ]

    return Item(name, "bottle", title, _wrap(design), build)


def can(name: str, title: str, radius: float, height: float, design: Design) -> Item:
    """A tin with a paper label between bare rims."""

    def build(_rng: np.random.Generator, file: str) -> list[Part]:
        rim = 0.006
        metal = Look(name="tin", color_rgb=(0.62, 0.62, 0.63), roughness=0.28, metallic=1.0)
        label = turned([(radius + 0.0003, rim), (radius + 0.0003, height - rim)])
        lid = turned([(0.0, height - 0.003), (radius * 0.9, height - 0.003)])
        shell = turned([*rounded(radius, height, 0.002)[:-1], (radius * 0.9, height - 0.003)])
        return [
            (join(shell, lid), metal),
            (label, Look(name="label", texture=file, roughness=0.35)),
        ]

    return Item(name, "can", title, _wrap(design), build)


def jar(name: str, title: str, radius: float, height: float, design: Design) -> Item:
    """A squat jar with a wide lid."""

    def build(_rng: np.random.Generator, file: str) -> list[Part]:
        body = Look(name="body", color_rgb=_linear(design.ground), roughness=0.25)
        lid = Look(name="lid", color_rgb=_linear(design.accent), roughness=0.4)
        neck = height * 0.76
        label = turned([(radius + 0.0004, height * 0.14), (radius + 0.0004, height * 0.62)])
        return [
            (turned(rounded(radius, neck, 0.006)), body),
            (label, Look(name="label", texture=file, roughness=0.45)),
            (turned(rounded(radius * 0.97, height - neck, 0.002, neck)), lid),
        ]

    return Item(name, "jar", title, _wrap(design), build)


def pouch(name: str, title: str, size: Size, design: Design, *, roughness: float = 0.3) -> Item:
    """A filled bag."""

    def picture(rng: np.random.Generator) -> FloatArray:
        return art.front(rng, design, TILE_PX, int(TILE_PX * 1.3))

    def build(rng: np.random.Generator, file: str) -> list[Part]:
        return [(pillow(rng, size), Look(name="film", texture=file, roughness=roughness))]

    return Item(name, "pouch", title, picture, build)


def mailer(name: str, size: Size) -> Item:
    """A padded envelope with an address label."""

    def picture(rng: np.random.Generator) -> FloatArray:
        return art.kraft(rng, TILE_PX, int(TILE_PX * 1.2), label=True)

    def build(rng: np.random.Generator, file: str) -> list[Part]:
        body = pillow(rng, size, puff=0.35, seal=0.03)
        return [(body, Look(name="paper", texture=file, roughness=0.8))]

    return Item(name, "pouch", "Padded envelope", picture, build)


def book(name: str, size: Size, design: Design) -> Item:
    """A paperback lying flat: cover, spine to the left, pages."""

    def picture(rng: np.random.Generator) -> FloatArray:
        spine = art.sheet(TILE_PX // 8, int(TILE_PX * 1.4), design.accent)
        cover = art.front(rng, design, TILE_PX, int(TILE_PX * 1.4))
        return np.concatenate([spine, cover], axis=1)

    def build(_rng: np.random.Generator, file: str) -> list[Part]:
        x, y, z = size[0] / 2, size[1] / 2, size[2]
        board = 0.0006
        covers = join(
            box((-x, -y, 0.0), (x, y, board)),
            box((-x, -y, z - board), (x, y, z)),
            box((-x, -y, 0.0), (-x + board, y, z)),
        )
        first = 1.0 / 9.0
        corners = covers.triangles
        flat = upright(covers, corners[..., :2] / np.array([size[0], size[1]]) + 0.5)
        u = first + flat[..., 0] * (1.0 - first)
        on_spine = np.abs(facing(covers)[:, 0]) > 0.9
        u[on_spine] = corners[on_spine][..., 2] / z * first
        uv = np.stack([u, corners[..., 1] / size[1] + 0.5], axis=2)
        pages = box((-x + board, -y + 0.001, board), (x - 0.001, y - 0.001, z - board))
        paper = Look(name="pages", color_rgb=(0.74, 0.70, 0.60), roughness=0.9)
        cover = Look(name="cover", texture=file, roughness=0.35)
        return [(Shape(corners, uv), cover), (pages, paper)]

    return Item(name, "book", "Paperback", picture, build)


def roll(name: str, title: str, radii: tuple[float, float], height: float, design: Design) -> Item:
    """Something wound up: outer and inner radius."""

    def build(_rng: np.random.Generator, file: str) -> list[Part]:
        outer, inner = radii
        side = turned([(outer, 0.0), (outer, height)])
        ends = join(
            turned([(inner, 0.0), (outer, 0.0)]),
            turned([(outer, height), (inner, height)]),
        )
        core = turned([(inner, height), (inner, 0.0)])
        return [
            (side, Look(name="wrap", texture=file, roughness=0.5)),
            (ends, Look(name="ends", color_rgb=_linear(design.accent), roughness=0.7)),
            (core, Look(name="core", color_rgb=(0.42, 0.30, 0.18), roughness=0.9)),
        ]

    return Item(name, "roll", title, _wrap(design), build)


def blister(name: str, title: str, size: Size, design: Design, bubble: FloatArray) -> Item:
    """A card with a bubble on it."""

    def picture(rng: np.random.Generator) -> FloatArray:
        return art.front(rng, design, TILE_PX, int(TILE_PX * 1.4))

    def build(_rng: np.random.Generator, file: str) -> list[Part]:
        x, y, card = size[0] / 2, size[1] / 2, 0.0012
        sheet = box((-x, -y, 0.0), (x, y, card))
        uv = upright(sheet, sheet.triangles[..., :2] / np.array([size[0], size[1]]) + 0.5)
        cover = moved(dome((size[0] * 0.74, size[1] * 0.56), size[2] - card), (0, -y * 0.28, card))
        shell = Look(name="bubble", color_rgb=_linear(bubble), roughness=0.12)
        return [
            (Shape(sheet.triangles, uv), Look(name="card", texture=file, roughness=0.4)),
            (cover, shell),
        ]

    return Item(name, "blister_pack", title, picture, build)


def tube(name: str, title: str, radius: float, length: float, design: Design) -> Item:
    """A squeeze tube standing on its cap."""

    def build(_rng: np.random.Generator, file: str) -> list[Part]:
        cap = 0.022
        body = moved(squeezed_tube(radius, length - cap), (0.0, 0.0, cap))
        lid = Look(name="cap", color_rgb=_linear(design.accent), roughness=0.35)
        return [
            (body, Look(name="tube", texture=file, roughness=0.3)),
            (turned(rounded(radius * 0.92, cap, 0.002)), lid),
        ]

    return Item(name, "tube", title, _wrap(design), build)


def facing(shape: Shape) -> FloatArray:
    """(T, 3) unit normal of each triangle."""
    return unit(face_normals(shape.triangles))


def upright(shape: Shape, texcoords: FloatArray) -> FloatArray:
    """Texture coordinates (T, 3, 2) with U turned round on what faces down: no mirrored print."""
    below = (facing(shape)[:, 2] < -0.5)[:, None]
    u = np.where(below, 1.0 - texcoords[..., 0], texcoords[..., 0])
    return np.stack([u, texcoords[..., 1]], axis=2)


def _linear(color: FloatArray) -> tuple[float, float, float]:
    red, green, blue = (float(round(value**2.2, 4)) for value in color)
    return red, green, blue
