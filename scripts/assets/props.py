"""Our own props: simple, believable furniture and clutter around the catalogue's models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import prop_clutter
import prop_openings
import prop_textures
from noise import FloatArray
from prop_furniture import Painted, floor_lamp, shelf, side_table, tv_cabinet
from prop_looks import BLACK, OAK, PAPER, WALNUT, cover
from shapes import box, join, lathe, moved, panel
from usd_asset import Look

Draw = Callable[[np.random.Generator], FloatArray]


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
    texture_px: int = 512
    """Side of its textures: what is small in every picture needs no more than 256."""


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
        for shape, look in book(size, cover(index)):
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
    Prop(
        "picture_botanic",
        "picture",
        "wall_hung",
        "Framed botanic print",
        {"art": prop_textures.art_botanic},
        picture(0.42, 0.56, BLACK),
        texture_px=256,
    ),
    Prop(
        "picture_waves",
        "picture",
        "wall_hung",
        "Framed ink waves",
        {"art": prop_textures.art_waves, "oak": prop_textures.oak},
        picture(1.0, 0.6, OAK),
        texture_px=256,
    ),
    Prop("floor_lamp", "lamp", "wall", "Floor lamp", {"linen": prop_textures.linen}, floor_lamp),
    Prop("shelf", "shelf", "wall", "Bookcase", {"oak": prop_textures.oak}, shelf),
    Prop(
        "side_table", "table", "floor", "Round side table", {"oak": prop_textures.oak}, side_table
    ),
    Prop(
        "coffee_table",
        "table",
        "floor",
        "Coffee table of glass and steel",
        {"oak": prop_textures.oak},
        prop_clutter.coffee_table,
        texture_px=256,
    ),
    Prop("glass_vase", "vase", "on_top", "Vase with twigs", {}, prop_clutter.glass_vase),
    Prop("ceramic_vase", "vase", "on_top", "Glazed vase", {}, prop_clutter.ceramic_vase),
    Prop("glassware", "glass", "on_top", "Tumblers and a carafe", {}, prop_clutter.glassware),
    Prop("mug", "cup", "on_top", "Mug", {}, prop_clutter.mug),
    Prop("table_lamp", "lamp", "on_top", "Table lamp", {}, prop_clutter.table_lamp),
    Prop("magazines", "magazine", "floor", "Magazines", {}, prop_clutter.magazines),
    Prop("toy_blocks", "toy", "floor", "Wooden blocks", {}, prop_clutter.toy_blocks),
    Prop("power_strip", "cable", "floor", "Power strip", {}, prop_clutter.power_strip),
    Prop(
        "basket",
        "basket",
        "floor",
        "Woven basket",
        {"weave": prop_textures.weave},
        prop_clutter.basket,
        texture_px=256,
    ),
    Prop(
        "pouf",
        "pouf",
        "floor",
        "Knitted pouf",
        {"knit": prop_textures.knit},
        prop_clutter.pouf,
        texture_px=256,
    ),
    Prop("slippers", "shoe", "floor", "Slippers", {}, prop_clutter.shoes),
    Prop(
        "window_curtains",
        "window",
        "wall_hung",
        "Window with curtains",
        {"linen": prop_textures.linen},
        prop_openings.window_curtains,
        texture_px=256,
    ),
    Prop(
        "window_blind",
        "window",
        "wall_hung",
        "Window with a blind",
        {},
        prop_openings.window_blind,
    ),
    Prop("door", "door", "wall_hung", "Panelled door", {}, prop_openings.door),
    Prop("wall_clock", "clock", "wall_hung", "Wall clock", {}, prop_openings.wall_clock),
)
