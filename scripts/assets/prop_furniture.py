"""Our own pieces of furniture."""

from __future__ import annotations

import numpy as np
from prop_looks import BLACK, COVERS, OAK, PAPER, STEEL, WALNUT, cover
from shapes import Shape, box, join, lathe, rod
from usd_asset import Look

Painted = tuple[Shape, Look]


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
    parts += [(join(*shapes), cover(index)) for index, shapes in sorted(covers.items())]
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
