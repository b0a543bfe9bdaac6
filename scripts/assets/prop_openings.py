"""Windows, doors and what else is fixed to a wall; each one's back touches the wall."""

from __future__ import annotations

import numpy as np
from prop_furniture import Painted
from prop_looks import BLACK, GLASS, STEEL, WHITE
from shapes import Shape, box, join, lathe, moved, panel, rod, sheet
from usd_asset import Look

DAYLIGHT = Look(name="daylight", color_rgb=(0.8, 0.8, 0.8), emission_rgb=(2.3, 2.6, 2.9))
"""An overcast sky: out of range of the camera's exposure, as windows are in pictures of rooms."""


def _sash(x: float, low: float, high: float, depth: tuple[float, float]) -> list[Shape]:
    """Frame, one upright and one cross bar around two by two panes."""
    rail, (front, back) = 0.055, depth
    middle = low + (high - low) * 0.62
    return [
        box((-x, front, low), (x, back, low + rail), bevel_m=0.003),
        box((-x, front, high - rail), (x, back, high), bevel_m=0.003),
        box((-x, front, low + rail), (-x + rail, back, high - rail)),
        box((x - rail, front, low + rail), (x, back, high - rail)),
        box((-0.025, front, low + rail), (0.025, back, high - rail)),
        box((-x + rail, front + 0.004, middle - 0.018), (x - rail, back, middle + 0.018)),
    ]


def _window(x: float, height: float) -> list[Painted]:
    front, back = -0.02, 0.045
    sky = panel(((-x, back, 0.03), (x, back, 0.03), (x, back, height), (-x, back, height)))
    left, right, low, high = -x + 0.04, x - 0.04, 0.07, height - 0.04
    glass = panel(((left, 0.02, low), (right, 0.02, low), (right, 0.02, high), (left, 0.02, high)))
    sill = box((-x - 0.05, -0.09, 0.0), (x + 0.05, back, 0.03), bevel_m=0.004)
    return [
        (join(*_sash(x, 0.03, height, (front, back - 0.004)), sill), WHITE),
        (glass, GLASS),
        (sky, DAYLIGHT),
    ]


def window_curtains(rng: np.random.Generator) -> list[Painted]:
    """A window of four panes between two curtains."""
    x, height = 0.62, 1.25
    cloth = []
    for side in (-1.0, 1.0):
        width = np.linspace(0.0, 1.0, 37)
        folds = 6.0 + float(rng.uniform(-0.5, 0.5))
        line = [
            (
                side * (x - 0.10 + 0.30 * float(u)),
                -0.085 - 0.022 * float(np.sin(2 * np.pi * folds * u)) * (0.7 + 0.3 * float(u)),
            )
            for u in width
        ]
        # The folds open towards the hem.
        hem = [(px + side * 0.02, -0.085 + 1.25 * (py + 0.085)) for px, py in line]
        cloth.append(sheet(line, height + 0.10, hem, 0.02))
    pole = rod((-x - 0.3, -0.085, height + 0.115), (x + 0.3, -0.085, height + 0.115), (0.011,) * 2)
    knobs = [
        moved(_ball(0.022), (side * (x + 0.3), -0.085, height + 0.093)) for side in (-1.0, 1.0)
    ]
    linen = Look(name="linen", texture="linen.jpg", roughness=0.95)
    return [*_window(x, height), (join(*cloth), linen), (join(pole, *knobs), BLACK)]


def window_blind(_rng: np.random.Generator) -> list[Painted]:
    """A window with the slats of a blind half way down."""
    x, height = 0.62, 1.25
    slats = []
    for index in range(15):
        z = height - 0.05 - 0.038 * index
        low, high = (-x + 0.03, -0.055, z), (x - 0.03, -0.03, z)
        quad = ((low[0], low[1], z), (high[0], low[1], z), (high[0], high[1], z + 0.014))
        slats.append(panel((*quad, (low[0], high[1], z + 0.014))))
    box_top = box((-x + 0.02, -0.065, height - 0.035), (x - 0.02, -0.02, height), bevel_m=0.003)
    slat = Look(name="slat", color_rgb=(0.56, 0.55, 0.52), roughness=0.5)
    return [*_window(x, height), (join(*slats, box_top), slat)]


def _ball(radius: float) -> Shape:
    angle = np.linspace(-np.pi / 2, np.pi / 2, 9)
    profile = [
        (radius * max(float(np.cos(a)), 0.0), radius * (1 + float(np.sin(a)))) for a in angle
    ]
    return lathe(profile, segments=14)


def door(_rng: np.random.Generator) -> list[Painted]:
    """A panelled door in its casing."""
    x, height, casing = 0.42, 2.02, 0.07
    front, back = -0.012, 0.03
    trim = [
        box((-x - casing, front - 0.012, 0.0), (-x, back, height + casing), bevel_m=0.004),
        box((x, front - 0.012, 0.0), (x + casing, back, height + casing), bevel_m=0.004),
        box((-x, front - 0.012, height), (x, back, height + casing), bevel_m=0.004),
    ]
    leaf = [box((-x + 0.003, 0.0, 0.008), (x - 0.003, back, height - 0.003))]
    for low, high in ((0.16, 0.86), (1.0, 1.88)):
        for left, right in ((-x + 0.1, -0.05), (0.05, x - 0.1)):
            leaf += [
                box((left, front + 0.004, low), (right, 0.0, low + 0.03), bevel_m=0.003),
                box((left, front + 0.004, high - 0.03), (right, 0.0, high), bevel_m=0.003),
                box((left, front + 0.004, low + 0.03), (left + 0.03, 0.0, high - 0.03)),
                box((right - 0.03, front + 0.004, low + 0.03), (right, 0.0, high - 0.03)),
            ]
    handle = [
        rod((x - 0.07, 0.0, 1.02), (x - 0.07, -0.05, 1.02), (0.009, 0.009), segments=10),
        rod((x - 0.075, -0.045, 1.02), (x - 0.19, -0.045, 1.02), (0.009, 0.008), segments=10),
        box((x - 0.09, -0.006, 0.92), (x - 0.05, 0.0, 1.1), bevel_m=0.002),
    ]
    return [(join(*trim, *leaf), WHITE), (join(*handle), STEEL)]


def wall_clock(_rng: np.random.Generator) -> list[Painted]:
    """A round clock without figures at ten past ten."""
    radius, depth = 0.15, 0.03
    ring = _facing(
        [(radius - 0.012, depth), (radius, depth), (radius, 0.0), (0.0, 0.0)], segments=36
    )
    face = _facing([(0.0, depth - 0.006), (radius - 0.01, depth - 0.006)], segments=36)
    marks = []
    for hour in range(12):
        angle = hour * np.pi / 6
        inner, outer = 0.115, 0.13
        ends = [
            (r * float(np.sin(angle)), -depth + 0.004, radius + r * float(np.cos(angle)))
            for r in (inner, outer)
        ]
        marks.append(rod(ends[0], ends[1], (0.003, 0.003), segments=6))
    hands = []
    for turn, length in ((0.84, 0.075), (0.17, 0.11)):
        angle = turn * 2 * np.pi
        tip = (
            length * float(np.sin(angle)),
            -depth + 0.002,
            radius + length * float(np.cos(angle)),
        )
        hands.append(rod((0.0, -depth + 0.002, radius), tip, (0.004, 0.002), segments=6))
    return [(ring, BLACK), (face, WHITE), (join(*marks, *hands), BLACK)]


def _facing(profile: list[tuple[float, float]], *, segments: int) -> Shape:
    """A lathed shape whose axis points into the room, its centre at the height of its radius."""
    shape = lathe(profile, segments=segments)
    x, y, z = np.moveaxis(shape.triangles, 2, 0)
    radius = max(r for r, _ in profile)
    turned = np.stack([x, -z, y + radius], axis=2)
    return Shape(turned, shape.texcoords)
