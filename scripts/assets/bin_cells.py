"""Containers of the bins scene: cells of a fabric pod with elastic straps, and plastic totes.

All are open to -Y, where the camera stands, and above, where things come in. The inside reaches
from -0.21 to 0.21 in X, from -0.19 to 0.19 in Y; the floor's upper side is at ``FLOOR_M``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from item_shapes import sheet, turned
from shapes import Shape, box, moved
from usd_asset import Look

HALF_X = 0.21
HALF_Y = 0.19
FLOOR_M = 0.012
HEIGHT_M = 0.36

Part = tuple[Shape, Look]

CLOTH = Look(name="cloth", texture="../textures/cloth.jpg", roughness=0.85)
STRAP = Look(name="strap", texture="../textures/strap.jpg", roughness=0.8)
PIPING = Look(name="piping", color_rgb=(0.045, 0.045, 0.05), roughness=0.7)
PLASTIC = Look(name="plastic", color_rgb=(0.55, 0.55, 0.55), roughness=0.42)


@dataclass(frozen=True, slots=True)
class Cell:
    """One container."""

    name: str
    title: str
    build: Callable[[np.random.Generator], list[Part]]


def pod(straps: tuple[tuple[float, float], ...]) -> Callable[[np.random.Generator], list[Part]]:
    """A cell of sewn cloth; each strap is (height of its middle, its width) in metres."""

    def build(rng: np.random.Generator) -> list[Part]:
        x, y = HALF_X, HALF_Y
        walls = [
            _cloth(rng, (-x, y, 0.0), (2 * x, 0, 0), (0, 0, HEIGHT_M), (0, 0.010, 0)),
            _cloth(rng, (-x, -y, 0.0), (0, 2 * y, 0), (0, 0, HEIGHT_M), (-0.008, 0, 0)),
            _cloth(rng, (x, y, 0.0), (0, -2 * y, 0), (0, 0, HEIGHT_M), (0.008, 0, 0)),
        ]
        # The floor is a cloth over a board: flat, with a seam along its front.
        # It reaches beyond the walls, which bulge outwards: no slit shows between them.
        low, high = (-x - 0.012, -y, 0.0), (x + 0.012, y + 0.03, FLOOR_M)
        floor = box(low, high, repeat_m=0.12)
        seams = [
            _edge((-x, -y, FLOOR_M), (x, -y, FLOOR_M), 0.0045),
            _edge((-x, -y, 0.0), (-x, -y, HEIGHT_M), 0.0045),
            _edge((x, -y, 0.0), (x, -y, HEIGHT_M), 0.0045),
            _edge((-x, y + 0.004, FLOOR_M), (x, y + 0.004, FLOOR_M), 0.003),
        ]
        bands = [_strap(rng, height, width) for height, width in straps]
        # A mesh for each: physics takes a solid by its hull, and a corner's hull would fill it.
        return [
            *((shape, CLOTH) for shape in (*walls, floor)),
            *((shape, PIPING) for shape in seams),
            *((shape, STRAP) for shape in bands),
        ]

    return build


def tote(lip_m: float, ribs: int) -> Callable[[np.random.Generator], list[Part]]:
    """A moulded tote with a low front, ribs outside and a rolled rim."""

    def build(_rng: np.random.Generator) -> list[Part]:
        x, y, wall = HALF_X, HALF_Y, 0.004
        shells = [
            box((-x - wall, -y - wall, 0.0), (x + wall, y + wall, FLOOR_M), bevel_m=0.001),
            box((-x - wall, y, FLOOR_M), (x + wall, y + wall, HEIGHT_M), bevel_m=0.001),
            box((-x - wall, -y, FLOOR_M), (-x, y, HEIGHT_M), bevel_m=0.001),
            box((x, -y, FLOOR_M), (x + wall, y, HEIGHT_M), bevel_m=0.001),
            box((-x - wall, -y - wall, FLOOR_M), (x + wall, -y, lip_m), bevel_m=0.001),
            # The rolled rim of the low front, and the uprights beside the opening.
            box((-x - 0.010, -y - 0.014, lip_m - 0.012), (x + 0.010, -y, lip_m), bevel_m=0.003),
            box((-x - 0.012, -y - 0.014, 0.0), (-x, -y, HEIGHT_M), bevel_m=0.003),
            box((x, -y - 0.014, 0.0), (x + 0.012, -y, HEIGHT_M), bevel_m=0.003),
        ]
        step = 2 * x / (ribs + 1)
        for index in range(ribs):
            middle = -x + step * (index + 1)
            shells.append(
                box(
                    (middle - 0.003, -y - 0.010, 0.0),
                    (middle + 0.003, -y - wall, lip_m - 0.006),
                    bevel_m=0.001,
                )
            )
        plate = box((-0.05, -y - 0.0112, lip_m * 0.30), (0.05, -y - wall, lip_m * 0.66))
        paper = Look(name="slip", texture="../textures/slip.jpg", roughness=0.7)
        shares = plate.triangles - plate.triangles.reshape(-1, 3).min(axis=0)
        shares = shares / np.ptp(plate.triangles.reshape(-1, 3), axis=0)
        return [
            *((shape, PLASTIC) for shape in shells),
            (Shape(plate.triangles, shares[..., [0, 2]]), paper),
        ]

    return build


def _cloth(
    rng: np.random.Generator,
    corner: tuple[float, float, float],
    along: tuple[float, float, float],
    up: tuple[float, float, float],
    bulge: tuple[float, float, float],
) -> Shape:
    """A hanging wall of cloth that bellies out between its seams, with soft creases."""
    rows, columns = 11, 15
    v, u = np.mgrid[0 : 1 : rows * 1j, 0 : 1 : columns * 1j]
    belly = np.sin(np.pi * u) * np.sin(np.pi * np.clip(v, 0, 1)) ** 0.7
    for _ in range(6):
        phase, pitch, lean = rng.uniform(0, 6.28), rng.uniform(5, 13), rng.uniform(-3, 3)
        belly = belly + 0.09 * np.sin(u * pitch + v * lean * 3 + phase) * np.sin(np.pi * u)
    points = (
        np.array(corner)
        + u[..., None] * np.array(along)
        + v[..., None] * np.array(up)
        + np.maximum(belly, 0.0)[..., None] * np.array(bulge)
    )
    return sheet(points, 0.12)


def _strap(rng: np.random.Generator, height: float, width: float) -> Shape:
    """An elastic band across the opening, a little slack, its ends sewn to the sides."""
    columns = 21
    v, u = np.mgrid[0:1:3j, 0 : 1 : columns * 1j]
    slack = np.sin(np.pi * u)
    sag, twist = rng.uniform(0.002, 0.008), rng.uniform(-0.15, 0.15)
    x = (u - 0.5) * (2 * HALF_X + 0.006)
    y = -HALF_Y - 0.002 - 0.010 * slack - twist * width * (v - 0.5) * slack
    z = height - sag * slack + (v - 0.5) * width
    band = sheet(np.stack([x, y, z], axis=2), 1.0)
    # Along the band the texture repeats every ten centimetres, across it shows once.
    u_share = band.texcoords[..., 0] / 0.10
    v_share = band.texcoords[..., 1] / band.texcoords[..., 1].max()
    return Shape(band.triangles, np.stack([u_share, v_share], axis=2))


def _edge(
    start: tuple[float, float, float], end: tuple[float, float, float], radius: float
) -> Shape:
    """A bound edge: a round cord along a seam."""
    direction = np.array(end) - np.array(start)
    length = float(np.linalg.norm(direction))
    upright = turned([(0.0, 0.0), (radius, 0.0), (radius, length), (0.0, length)], segments=10)
    axis = direction / length
    if abs(axis[2]) > 0.9:
        return moved(upright, start)
    frame = np.stack([np.cross([0.0, 0.0, 1.0], axis), [0.0, 0.0, 1.0], axis])
    return Shape(upright.triangles @ frame + np.array(start), upright.texcoords)


CELLS: tuple[Cell, ...] = (
    Cell("pod_two_straps", "Pod cell, two straps", pod(((0.065, 0.028), (0.155, 0.028)))),
    Cell("pod_one_strap", "Pod cell, one broad strap", pod(((0.10, 0.040),))),
    Cell("pod_low_strap", "Pod cell, two narrow straps", pod(((0.05, 0.022), (0.125, 0.018)))),
    Cell("tote_low", "Tote with a low front", tote(0.07, 5)),
    Cell("tote_high", "Tote with a high front", tote(0.11, 3)),
)

COLORS: dict[str, dict[str, tuple[float, float, float]]] = {
    "pod": {
        "yellow": (0.86, 0.62, 0.16),
        "sand": (0.72, 0.66, 0.52),
        "grey": (0.34, 0.35, 0.37),
        "blue": (0.10, 0.17, 0.30),
    },
    "tote": {
        "blue": (0.035, 0.11, 0.30),
        "grey": (0.30, 0.31, 0.33),
        "yellow": (0.72, 0.40, 0.035),
    },
}
"""Linear factors on the cloth, and colours of the plastic."""
