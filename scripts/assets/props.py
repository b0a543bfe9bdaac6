"""Our own props: simple, believable furniture and clutter around the catalogue's models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import prop_textures
from noise import FloatArray
from shapes import Shape, box, join, lathe, moved, panel, rod
from usd_asset import Look

Draw = Callable[[np.random.Generator], FloatArray]
Painted = tuple[Shape, Look]


@dataclass(frozen=True, slots=True)
class Prop:
    """One prop: how it is described, textured and built."""

    name: str
    label: str
    placement: str
    title: str
    textures: dict[str, Draw]
    """File name without suffix to the function that draws it."""
    build: Callable[[np.random.Generator], list[Painted]]


STEEL = Look(name="steel", color_rgb=(0.55, 0.55, 0.56), roughness=0.3, metallic=1.0)
BLACK = Look(name="black", color_rgb=(0.02, 0.02, 0.022), roughness=0.4)
WALNUT = Look(name="walnut", texture="walnut.jpg", roughness=0.4)
OAK = Look(name="oak", texture="oak.jpg", roughness=0.45)
PAPER = Look(name="paper", color_rgb=(0.75, 0.71, 0.62), roughness=0.9)


def tv_cabinet(_rng: np.random.Generator) -> list[Painted]:
    """A low board on legs, three doors; a television goes on top."""
    width, depth, height, leg = 1.5, 0.42, 0.48, 0.12
    half, back = width / 2, depth / 2
    wood = [
        box((-half, -back, leg), (half, back, height), repeat_m=0.8, bevel_m=0.004),
    ]
    gap, door = 0.004, (width - 0.04) / 3
    for index in range(3):
        left = -half + 0.02 + index * door
        wood.append(
            box(
                (left + gap, -back - 0.018, leg + 0.02),
                (left + door - gap, -back, height - 0.03),
                repeat_m=0.8,
                bevel_m=0.002,
            )
        )
    handles = [
        box((x - 0.06, -back - 0.032, 0.385), (x + 0.06, -back - 0.024, 0.393), bevel_m=0.001)
        for x in (-door, 0.0, door)
    ]
    posts = [
        box((x - 0.004, -back - 0.026, 0.386), (x + 0.004, -back - 0.017, 0.392))
        for middle in (-door, 0.0, door)
        for x in (middle - 0.05, middle + 0.05)
    ]
    legs = [
        rod((x * 1.02, y * 1.02, 0.0), (x, y, leg), (0.012, 0.02))
        for x in (-half + 0.08, half - 0.08)
        for y in (-back + 0.06, back - 0.06)
    ]
    return [(join(*wood), WALNUT), (join(*handles, *posts), STEEL), (join(*legs), BLACK)]


def rug(texture: str) -> Callable[[np.random.Generator], list[Painted]]:
    """A flat rug of 2.4 m by 1.6 m."""

    def build(_rng: np.random.Generator) -> list[Painted]:
        x, y, thick = 1.2, 0.8, 0.012
        top = panel(((-x, -y, thick), (x, -y, thick), (x, y, thick), (-x, y, thick)))
        edge = box((-x, -y, 0.0), (x, y, thick - 0.0005), bevel_m=0.002)
        backing = Look(name="backing", color_rgb=(0.28, 0.25, 0.21), roughness=0.95)
        return [(top, Look(name="pile", texture=f"{texture}.jpg", roughness=0.95)), (edge, backing)]

    return build


def carton(size_m: tuple[float, float, float]) -> Callable[[np.random.Generator], list[Painted]]:
    """A taped shipping carton with an address label on its front."""

    def build(_rng: np.random.Generator) -> list[Painted]:
        x, y, z = size_m[0] / 2, size_m[1] / 2, size_m[2]
        # Two outer flaps meet in the middle of the top; the slit between them is under the tape.
        body = box((-x, -y, 0.0), (x, y, z - 0.004), repeat_m=0.5, bevel_m=0.003)
        flaps = [
            box((-x, low, z - 0.004), (x, high, z), repeat_m=0.5, bevel_m=0.001)
            for low, high in ((-y, -0.001), (0.001, y))
        ]
        strip = 0.025
        tape = join(
            box((-x - 0.0006, -strip, z), (x + 0.0006, strip, z + 0.0006)),
            box((-x - 0.0008, -strip, z - 0.07), (-x - 0.0002, strip, z + 0.0006)),
            box((x + 0.0002, -strip, z - 0.07), (x + 0.0008, strip, z + 0.0006)),
        )
        label = box((-0.02, -y - 0.0008, z * 0.35), (x * 0.8, -y - 0.0002, z * 0.75))
        return [
            (join(body, *flaps), Look(name="cardboard", texture="cardboard.jpg", roughness=0.85)),
            (tape, Look(name="tape", color_rgb=(0.36, 0.22, 0.10), roughness=0.25)),
            (label, PAPER),
        ]

    return build


COVERS = (
    (0.32, 0.03, 0.03),
    (0.03, 0.07, 0.20),
    (0.05, 0.14, 0.08),
    (0.42, 0.28, 0.06),
    (0.10, 0.09, 0.10),
    (0.40, 0.36, 0.30),
)


def book(size_m: tuple[float, float, float], cover: Look) -> list[Painted]:
    """A hardback lying flat, its spine to the front: width, depth, thickness."""
    x, y, z = size_m[0] / 2, size_m[1] / 2, size_m[2]
    board = 0.0028
    case = join(
        box((-x, -y, 0.0), (x, y, board), bevel_m=0.0008),
        box((-x, -y, z - board), (x, y, z), bevel_m=0.0008),
        box((-x, -y - 0.001, 0.0), (x, -y + board, z), bevel_m=0.0008),
    )
    pages = box((-x + 0.005, -y + board, board), (x - 0.005, y - 0.006, z - board))
    return [(case, cover), (pages, PAPER)]


def _cover(index: int) -> Look:
    return Look(name=f"cover_{index}", color_rgb=COVERS[index], roughness=0.5)


def book_stack(rng: np.random.Generator) -> list[Painted]:
    """Five books on top of each other, none quite straight."""
    parts: list[Painted] = []
    height = 0.0
    for index in range(5):
        shrink = 1.0 - 0.07 * index
        size = (
            0.26 * shrink + float(rng.uniform(-0.01, 0.01)),
            0.18 * shrink + float(rng.uniform(-0.01, 0.01)),
            float(rng.uniform(0.022, 0.042)),
        )
        yaw = float(rng.uniform(-9.0, 9.0))
        for shape, look in book(size, _cover(index)):
            parts.append((moved(shape, (0.0, 0.0, height), yaw), look))
        height += size[2]
    return parts


def ball(_rng: np.random.Generator) -> list[Painted]:
    """A ball of 30 cm."""
    radius = 0.15
    angle = np.linspace(-np.pi / 2, np.pi / 2, 25)
    profile = [
        (max(radius * float(np.cos(a)), 0.0), radius + radius * float(np.sin(a))) for a in angle
    ]
    look = Look(name="vinyl", texture="panels.jpg", roughness=0.3)
    return [(lathe(profile, segments=48), look)]


def picture(
    width_m: float, height_m: float, frame: Look
) -> Callable[[np.random.Generator], list[Painted]]:
    """A framed print with a mount; its back touches the wall."""

    def build(_rng: np.random.Generator) -> list[Painted]:
        x, z, depth, rail, mount = width_m / 2, height_m, 0.028, 0.024, 0.06
        back, front = depth / 2, -depth / 2
        rails = join(
            box((-x, front, 0.0), (x, back, rail), bevel_m=0.002, repeat_m=0.8),
            box((-x, front, z - rail), (x, back, z), bevel_m=0.002, repeat_m=0.8),
            box((-x, front, rail), (-x + rail, back, z - rail), bevel_m=0.002, turned=True),
            box((x - rail, front, rail), (x, back, z - rail), bevel_m=0.002, turned=True),
        )
        board = box((-x + rail, -0.002, rail), (x - rail, back, z - rail))
        inset = rail + mount
        art = panel(
            (
                (-x + inset, -0.0026, inset),
                (x - inset, -0.0026, inset),
                (x - inset, -0.0026, z - inset),
                (-x + inset, -0.0026, z - inset),
            )
        )
        return [(rails, frame), (board, PAPER), (art, Look(name="art", texture="art.jpg"))]

    return build


def floor_lamp(_rng: np.random.Generator) -> list[Painted]:
    """A pole on a round foot, under a conical shade of cloth."""
    foot = lathe(
        [(0.0, 0.0), (0.14, 0.0), (0.14, 0.016), (0.132, 0.022), (0.012, 0.026), (0.0, 0.026)]
    )
    pole = rod((0.0, 0.0, 0.02), (0.0, 0.0, 1.52), (0.010, 0.010))
    outside = [(0.21, 1.28), (0.15, 1.58)]
    inside = [(0.147, 1.58), (0.207, 1.28), (0.21, 1.28)]
    shade = lathe(outside + inside, segments=48, wraps=3.0)
    bulb = lathe(
        [(0.0, 1.36)]
        + [(0.032 * float(np.sin(a)), 1.39 - 0.03 * float(np.cos(a))) for a in (0.7, 1.4, 2.1)]
        + [(0.014, 1.46), (0.0, 1.46)],
        segments=20,
    )
    return [
        (join(foot, pole), BLACK),
        (shade, Look(name="linen", texture="linen.jpg", roughness=0.9)),
        (bulb, Look(name="bulb", color_rgb=(0.8, 0.78, 0.7), roughness=0.3)),
    ]


def shelf(rng: np.random.Generator) -> list[Painted]:
    """An open bookcase with some books in it."""
    width, depth, height, board, levels = 0.8, 0.3, 1.7, 0.022, 5
    half, back = width / 2, depth / 2
    pitch = (height - board) / levels
    wood = [
        box((x, -back, 0.0), (x + board, back, height), repeat_m=0.8, bevel_m=0.002, turned=True)
        for x in (-half, half - board)
    ]
    for level in range(levels + 1):
        z = level * pitch
        wood.append(
            box(
                (-half + board, -back + 0.004, z),
                (half - board, back - 0.006, z + board),
                repeat_m=0.8,
                bevel_m=0.002,
            )
        )
    wood.append(box((-half + board, back - 0.006, 0.0), (half - board, back, height), repeat_m=0.8))
    parts: list[Painted] = [(join(*wood), OAK)]
    pages: list[Shape] = []
    covers: dict[int, list[Shape]] = {}
    for level in range(1, levels):
        z, x = level * pitch + board, -half + board + 0.01
        stop = x + float(rng.uniform(0.35, 0.95)) * (width - 2 * board)
        while x < min(stop, half - board - 0.06):
            thick, tall = float(rng.uniform(0.018, 0.045)), float(rng.uniform(0.19, 0.27))
            deep = float(rng.uniform(0.15, 0.2))
            low, high = (x, -back + 0.03, z), (x + thick, -back + 0.03 + deep, z + tall)
            index = int(rng.integers(len(COVERS)))
            covers.setdefault(index, []).extend(_standing_book(low, high))
            pages.append(
                box(
                    (low[0] + 0.002, low[1] + 0.004, low[2] + 0.004),
                    (high[0] - 0.002, high[1] - 0.003, high[2] - 0.004),
                )
            )
            x += thick + float(rng.uniform(0.0005, 0.003))
    parts += [(join(*shapes), _cover(index)) for index, shapes in sorted(covers.items())]
    parts.append((join(*pages), PAPER))
    return parts


def _standing_book(
    low: tuple[float, float, float], high: tuple[float, float, float]
) -> list[Shape]:
    board = 0.002
    return [
        box(low, (low[0] + board, high[1], high[2])),
        box((high[0] - board, low[1], low[2]), high),
        box(low, (high[0], low[1] + board, high[2]), bevel_m=0.0008),
    ]


def side_table(_rng: np.random.Generator) -> list[Painted]:
    """A round table top on three splayed legs."""
    top = lathe(
        [
            (0.0, 0.455),
            (0.235, 0.455),
            (0.245, 0.462),
            (0.245, 0.475),
            (0.240, 0.48),
            (0.0, 0.48),
        ],
        segments=64,
    )
    flat = top.triangles[..., :2] / 0.8
    legs = []
    for angle in np.radians([90.0, 210.0, 330.0]):
        x, y = float(np.cos(angle)), float(np.sin(angle))
        legs.append(rod((0.23 * x, 0.23 * y, 0.0), (0.13 * x, 0.13 * y, 0.458), (0.011, 0.017)))
    return [(Shape(top.triangles, flat), OAK), (join(*legs), BLACK)]


PROPS: tuple[Prop, ...] = (
    Prop(
        "tv_cabinet",
        "cabinet",
        "wall",
        "Low cabinet for a television",
        {"walnut": prop_textures.walnut},
        tv_cabinet,
    ),
    Prop(
        "rug_medallion",
        "rug",
        "rug",
        "Patterned rug",
        {"rug": prop_textures.rug_medallion},
        rug("rug"),
    ),
    Prop(
        "rug_stripes", "rug", "rug", "Striped rug", {"rug": prop_textures.rug_stripes}, rug("rug")
    ),
    Prop(
        "rug_border",
        "rug",
        "rug",
        "Plain rug with a border",
        {"rug": prop_textures.rug_border},
        rug("rug"),
    ),
    Prop(
        "carton",
        "carton",
        "floor",
        "Shipping carton",
        {"cardboard": prop_textures.cardboard},
        carton((0.45, 0.35, 0.30)),
    ),
    Prop(
        "carton_small",
        "carton",
        "floor",
        "Small shipping carton",
        {"cardboard": prop_textures.cardboard},
        carton((0.30, 0.22, 0.16)),
    ),
    Prop("book_stack", "book", "on_top", "Stack of books", {}, book_stack),
    Prop("ball", "ball", "floor", "Beach ball", {"panels": prop_textures.beach_ball}, ball),
    Prop(
        "picture_landscape",
        "picture",
        "wall_hung",
        "Framed landscape",
        {"art": prop_textures.art_landscape, "oak": prop_textures.oak},
        picture(0.9, 0.7, OAK),
    ),
    Prop(
        "picture_shapes",
        "picture",
        "wall_hung",
        "Framed geometric print",
        {"art": prop_textures.art_shapes},
        picture(0.5, 0.7, BLACK),
    ),
    Prop(
        "picture_field",
        "picture",
        "wall_hung",
        "Framed colour fields",
        {"art": prop_textures.art_field, "walnut": prop_textures.walnut},
        picture(0.7, 0.9, WALNUT),
    ),
    Prop("floor_lamp", "lamp", "wall", "Floor lamp", {"linen": prop_textures.linen}, floor_lamp),
    Prop("shelf", "shelf", "wall", "Bookcase", {"oak": prop_textures.oak}, shelf),
    Prop(
        "side_table", "table", "floor", "Round side table", {"oak": prop_textures.oak}, side_table
    ),
)
