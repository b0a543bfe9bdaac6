"""Small things that lie and stand about in a room."""

from __future__ import annotations

import numpy as np
from prop_furniture import Painted
from prop_looks import BLACK, COVERS, GLASS, OAK, PAPER, STEEL, WHITE, cover
from shapes import Shape, box, join, lathe, moved, panel, rod, tube
from usd_asset import Look


def coffee_table(_rng: np.random.Generator) -> list[Painted]:
    """A plate of clear glass on a frame of steel, a shelf of oak below it."""
    x, y, height, plate = 0.5, 0.3, 0.42, 0.01
    bar = 0.011
    legs = [
        box((sx * x - bar, sy * y - bar, 0.0), (sx * x + bar, sy * y + bar, height - plate))
        for sx in (-0.94, 0.94)
        for sy in (-0.92, 0.92)
    ]
    rails = [
        box((-0.94 * x, sy * y - bar, height - 0.03), (0.94 * x, sy * y + bar, height - plate))
        for sy in (-0.92, 0.92)
    ]
    board = box((-0.93 * x, -0.9 * y, 0.12), (0.93 * x, 0.9 * y, 0.138), repeat_m=0.8)
    top = panel(((-x, -y, height), (x, -y, height), (x, y, height), (-x, y, height)))
    # Looked at from the side, a plate is green.
    edges = join(
        box((-x, -y, height - plate), (x, -y + 0.001, height - 0.0005)),
        box((-x, y - 0.001, height - plate), (x, y, height - 0.0005)),
        box((-x, -y + 0.001, height - plate), (-x + 0.001, y - 0.001, height - 0.0005)),
        box((x - 0.001, -y + 0.001, height - plate), (x, y - 0.001, height - 0.0005)),
    )
    green = Look(name="edge", color_rgb=(0.10, 0.26, 0.20), roughness=0.1)
    return [(join(*legs, *rails), STEEL), (board, OAK), (top, GLASS), (edges, green)]


def glass_vase(rng: np.random.Generator) -> list[Painted]:
    """A clear vase with a few bare twigs."""
    # One skin: as thin glass has one, and each more takes a step of a path that ends after four.
    skin = [(0.0, 0.0), (0.04, 0.0), (0.055, 0.05), (0.058, 0.10), (0.04, 0.17), (0.045, 0.22)]
    twigs = []
    for _ in range(6):
        angle, lean = float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0.05, 0.14))
        foot = (0.02 * float(np.cos(angle + 2.5)), 0.02 * float(np.sin(angle + 2.5)), 0.014)
        tip = (lean * float(np.cos(angle)), lean * float(np.sin(angle)))
        bend = (0.4 * tip[0], 0.4 * tip[1], 0.26)
        twigs.append(tube([foot, bend, (*tip, float(rng.uniform(0.42, 0.6)))], 0.0025, sides=5))
    bark = Look(name="bark", color_rgb=(0.09, 0.05, 0.03), roughness=0.9)
    return [(lathe(skin, segments=28), GLASS), (join(*twigs), bark)]


def ceramic_vase(_rng: np.random.Generator) -> list[Painted]:
    """A glazed belly vase."""
    height = np.linspace(0.0, 0.26, 14)
    radius = 0.035 + 0.055 * np.sin(np.clip(height / 0.2, 0, 1) * np.pi) ** 1.2
    outside = [(0.0, 0.0), *zip(radius.tolist(), height.tolist(), strict=True)]
    inside = [(float(radius[-1]) - 0.005, 0.26), (float(radius[-4]) - 0.006, 0.2), (0.0, 0.17)]
    glaze = Look(name="glaze", color_rgb=(0.05, 0.13, 0.17), roughness=0.12)
    return [(lathe(outside + inside, segments=32), glaze)]


def glassware(_rng: np.random.Generator) -> list[Painted]:
    """Two tumblers and a carafe."""
    tumbler = [(0.0, 0.004), (0.03, 0.0), (0.036, 0.09)]
    carafe = [(0.0, 0.004), (0.05, 0.0), (0.052, 0.11), (0.025, 0.18), (0.03, 0.24)]
    shapes = [
        moved(lathe(tumbler, segments=22), (-0.09, -0.05, 0.0)),
        moved(lathe(tumbler, segments=22), (0.10, -0.07, 0.0)),
        moved(lathe(carafe, segments=26), (0.0, 0.06, 0.0)),
    ]
    return [(join(*shapes), GLASS)]


def mug(_rng: np.random.Generator) -> list[Painted]:
    """A mug, its handle to the right."""
    body = lathe(
        [(0.0, 0.0), (0.036, 0.0), (0.04, 0.006), (0.04, 0.092), (0.036, 0.092), (0.0, 0.012)],
        segments=28,
    )
    angle = np.linspace(-np.pi / 2, np.pi / 2, 9)
    ring = [
        (0.038 + 0.028 * float(np.cos(a)), 0.0, 0.048 + 0.028 * float(np.sin(a))) for a in angle
    ]
    glaze = Look(name="glaze", color_rgb=(0.48, 0.45, 0.38), roughness=0.15)
    return [(join(body, tube(ring, 0.005, sides=8)), glaze)]


def table_lamp(_rng: np.random.Generator) -> list[Painted]:
    """A ceramic foot under a shade of cloth."""
    foot = lathe(
        [(0.0, 0.0), (0.06, 0.0), (0.075, 0.05), (0.06, 0.13), (0.02, 0.19), (0.0, 0.22)],
        segments=28,
    )
    pole = rod((0.0, 0.0, 0.2), (0.0, 0.0, 0.3), (0.006, 0.006))
    shade = lathe(
        [(0.14, 0.24), (0.10, 0.44), (0.098, 0.44), (0.138, 0.24), (0.14, 0.24)],
        segments=36,
        wraps=2.0,
    )
    glaze = Look(name="glaze", color_rgb=(0.30, 0.11, 0.06), roughness=0.25)
    cloth = Look(name="cloth", color_rgb=(0.62, 0.57, 0.46), roughness=0.95)
    return [(foot, glaze), (pole, STEEL), (shade, cloth)]


def magazines(rng: np.random.Generator) -> list[Painted]:
    """Three thin magazines, fanned out."""
    parts: list[Painted] = []
    for index in range(3):
        low = (-0.105, -0.14, 0.006 * index)
        high = (0.105, 0.14, 0.006 * index + 0.005)
        sheet = box(low, high)
        turn = float(rng.uniform(-28, 28))
        shift = (float(rng.uniform(-0.04, 0.04)), float(rng.uniform(-0.04, 0.04)), 0.0)
        look = PAPER if index == 1 else cover(int(rng.integers(len(COVERS))))
        parts.append((moved(sheet, shift, turn), look))
    return parts


def toy_blocks(rng: np.random.Generator) -> list[Painted]:
    """Wooden blocks, a few of them stacked."""
    colors = ((0.5, 0.05, 0.04), (0.04, 0.12, 0.42), (0.62, 0.42, 0.04), (0.06, 0.28, 0.08))
    parts: dict[int, list[Shape]] = {}
    side = 0.045
    places = [(-0.07, 0.0, 0.0), (0.0, 0.02, 0.0), (0.06, -0.03, 0.0), (-0.035, 0.01, side)]
    places += [(0.12, 0.05, 0.0), (-0.12, -0.06, 0.0), (0.02, -0.10, 0.0)]
    for index, place in enumerate(places):
        half = side / 2
        block = box((-half, -half, 0.0), (half, half, side), bevel_m=0.002)
        turned = moved(block, place, float(rng.uniform(-30, 30)))
        parts.setdefault(index % len(colors), []).append(turned)
    return [
        (join(*shapes), Look(name=f"paint_{index}", color_rgb=colors[index], roughness=0.35))
        for index, shapes in sorted(parts.items())
    ]


def power_strip(_rng: np.random.Generator) -> list[Painted]:
    """A strip of sockets, its cable in loose turns on the floor."""
    body = box((-0.16, -0.027, 0.0), (0.16, 0.027, 0.036), bevel_m=0.004)
    holes = [
        lathe([(0.0, 0.0362), (0.018, 0.0362), (0.018, 0.0366), (0.0, 0.0366)], segments=14)
        for _ in range(4)
    ]
    placed = [moved(hole, (-0.105 + 0.07 * i, 0.0, 0.0)) for i, hole in enumerate(holes)]
    turns = np.linspace(0.0, 1.0, 44)
    path = [
        (
            0.16 + 0.30 * float(t) + 0.11 * float(np.sin(9.0 * t)),
            0.15 * float(np.sin(15.0 * t)) * float(t) ** 0.5,
            0.0045,
        )
        for t in turns
    ]
    return [(join(body, tube(path, 0.0035, sides=6)), WHITE), (join(*placed), BLACK)]


def basket(_rng: np.random.Generator) -> list[Painted]:
    """A woven basket, open at the top."""
    outside = [(0.0, 0.0), (0.15, 0.0), (0.18, 0.12), (0.19, 0.26)]
    inside = [(0.18, 0.262), (0.17, 0.12), (0.14, 0.015), (0.0, 0.015)]
    weave = Look(name="weave", texture="weave.jpg", roughness=0.85)
    return [(lathe(outside + inside, segments=32, wraps=6.0), weave)]


def pouf(_rng: np.random.Generator) -> list[Painted]:
    """A round seat of knitted cloth."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, 13)
    side = [(0.20 + 0.06 * float(np.cos(a)), 0.17 + 0.16 * float(np.sin(a))) for a in angle]
    profile = [(0.0, 0.01), *side, (0.10, 0.338), (0.0, 0.334)]
    knit = Look(name="knit", texture="knit.jpg", roughness=0.95)
    return [(lathe(profile, segments=36, wraps=5.0), knit)]


def shoes(_rng: np.random.Generator) -> list[Painted]:
    """A pair of slippers."""
    felt, soles = [], []
    angle = np.linspace(0.0, np.pi, 6)
    for x, turn in ((-0.07, 6.0), (0.07, -9.0)):
        arch = [(0.042 * float(np.cos(a)), 0.0, 0.012 + 0.05 * float(np.sin(a))) for a in angle]
        upper = [
            tube(
                [(px, -0.12 + 0.019 * row, pz * (0.62 + 0.08 * row)) for px, _, pz in arch],
                0.012,
                sides=6,
            )
            for row in range(5)
        ]
        sole = box((-0.046, -0.135, 0.0), (0.046, 0.13, 0.014), bevel_m=0.005)
        felt.append(moved(join(*upper), (x, 0.0, 0.0), turn))
        soles.append(moved(sole, (x, 0.0, 0.0), turn))
    grey = Look(name="felt", color_rgb=(0.13, 0.13, 0.16), roughness=0.95)
    return [(join(*felt), grey), (join(*soles), BLACK)]
