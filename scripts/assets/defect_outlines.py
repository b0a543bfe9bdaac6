"""Outlines of surface defects: what of a plate each instance covers, exactly.

An outline is a union of islands, each a polygon that is star-shaped about its centre. A union needs
no cutting: islands of one instance lie in one plane and may overlap, and a point belongs to the
instance if it is in any of them. Metres, X along the rolling direction, the tile's middle at 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mesh_ops import FloatArray

TILE_M = 0.036
"""Width of the square that holds an instance, and of its textures."""

HALF_M = TILE_M / 2.0 - 0.001
"""Nothing comes closer to the tile's edge than a millimetre."""


@dataclass(frozen=True, slots=True)
class Island:
    """One polygon, star-shaped about ``centre``."""

    centre: FloatArray
    """(2,) metres."""
    ring: FloatArray
    """(N, 2) metres, counter-clockwise."""


def crazing(rng: np.random.Generator) -> list[Island]:
    """A net of hair cracks: the edges of distorted honeycombs, wider where stress was higher."""
    pitch = rng.uniform(0.0016, 0.0030)
    stretch = rng.uniform(1.0, 1.9)
    reach = np.array([rng.uniform(0.010, 0.0165), rng.uniform(0.006, 0.0140)])
    width = rng.uniform(0.00015, 0.00027)
    keep = rng.uniform(0.78, 0.98)
    rows, columns = 26, 26
    row, column = np.indices((rows, columns))
    # A brick pattern of nodes: each joined to its right neighbour, every other one upwards.
    nodes = np.stack(
        [
            (column - columns / 2) * pitch * 0.62 * stretch,
            (row - rows / 2) * pitch + 0.34 * pitch * ((row + column) % 2),
        ],
        axis=2,
    )
    nodes += rng.normal(0.0, 0.20 * pitch, nodes.shape)
    islands: list[Island] = []
    for i in range(rows - 1):
        for j in range(columns - 1):
            ends = [nodes[i, j + 1]] + ([nodes[i + 1, j]] if (i + j) % 2 else [])
            for end in ends:
                middle = (nodes[i, j] + end) / 2.0
                inside = 1.0 - float(np.hypot(*(middle / reach)))
                chosen = rng.random() < keep * min(1.0, 0.4 + 3.0 * inside)
                size = width * float(rng.uniform(0.55, 1.5)) * (0.6 + 0.8 * max(inside, 0.0))
                bend = rng.normal(0.0, 0.10 * pitch, (3, 2))
                if inside > 0.0 and chosen:
                    line = np.linspace(nodes[i, j], end, 5)
                    line[1:4] += bend
                    islands += ribbon(line, size * np.array([0.8, 1.1, 1.0, 1.1, 0.8]))
    return islands


def inclusion(rng: np.random.Generator) -> list[Island]:
    """Streaks of foreign matter drawn out along the rolling direction, with crumbs behind them."""
    islands = []
    lane = rng.uniform(-0.004, 0.004)
    for index in range(int(rng.integers(1, 4))):
        length = rng.uniform(0.004, 0.0155) * (1.0 if index == 0 else 0.6)
        thick = rng.uniform(0.00035, 0.0012)
        room = HALF_M - length
        at = np.array([rng.uniform(-room, room), lane + rng.normal(0.0, 0.0035) * (index > 0)])
        islands.append(blob(rng, at, (length, thick), rough=0.22, points=112, tilt_deg=4.0))
    for _ in range(int(rng.integers(3, 16))):
        at = np.array([rng.uniform(-0.015, 0.015), lane + rng.normal(0.0, 0.0018)])
        size = rng.uniform(0.00015, 0.0005)
        islands.append(blob(rng, at, (size * rng.uniform(1.5, 6.0), size), rough=0.2, points=20))
    return islands


def patches(rng: np.random.Generator) -> list[Island]:
    """Blotches that have grown into each other, with splashes around them."""
    islands = []
    at = rng.normal(0.0, 0.002, 2)
    for _ in range(int(rng.integers(3, 8))):
        size = rng.uniform(0.0028, 0.0062)
        shape = (size * rng.uniform(0.9, 1.6), size)
        islands.append(blob(rng, _within(at, max(shape) * 1.5), shape, rough=0.2, points=144))
        at = at + rng.normal(0.0, (0.0055, 0.0035), 2)
    for _ in range(int(rng.integers(6, 26))):
        size = rng.uniform(0.00015, 0.0008)
        near = islands[int(rng.integers(0, len(islands)))].centre + rng.normal(0.0, 0.005, 2)
        islands.append(blob(rng, _within(near, size * 3), (size * 1.3, size), rough=0.2, points=18))
    return islands


def pitted_surface(rng: np.random.Generator) -> list[Island]:
    """Many small craters in clusters; a few large ones where several have met."""
    count = int(rng.integers(45, 130))
    mean_m = rng.uniform(0.00022, 0.00042)
    centres = rng.normal(0.0, 0.007, (int(rng.integers(1, 4)), 2))
    islands = []
    for _ in range(count):
        radius = float(np.clip(rng.lognormal(np.log(mean_m), 0.5), 0.00012, 0.0014))
        home = centres[int(rng.integers(0, len(centres)))]
        at = _within(home + rng.normal(0.0, (0.0055, 0.0045), 2), radius * 1.6)
        shape = (radius * rng.uniform(0.9, 1.4), radius)
        points = 12 if radius < 0.0005 else 22
        islands.append(blob(rng, at, shape, rough=0.10, points=points, tilt_deg=90.0))
    return islands


def rolled_in_scale(rng: np.random.Generator) -> list[Island]:
    """Torn flakes of oxide pressed into the surface, in ragged bands along it."""
    islands = []
    bands = rng.uniform(-0.010, 0.010, int(rng.integers(2, 5)))
    phase, swing = rng.uniform(0.0, 6.3), rng.uniform(0.0005, 0.0025)
    for _ in range(int(rng.integers(50, 100))):
        x = rng.uniform(-0.0145, 0.0145)
        band = bands[int(rng.integers(0, len(bands)))]
        y = band + swing * np.sin(x * 300.0 + phase) + rng.normal(0.0, 0.0011)
        size = float(np.clip(rng.lognormal(np.log(0.00045), 0.55), 0.00015, 0.0016))
        shape = (size * rng.uniform(1.0, 2.4), size * rng.uniform(0.6, 1.0))
        at = _within(np.array([x, y]), max(shape) * 1.8)
        islands.append(blob(rng, at, shape, rough=0.26, points=28, tilt_deg=25.0))
    return islands


def scratches(rng: np.random.Generator) -> list[Island]:
    """Nearly parallel gouges, thin at their ends, some of them interrupted."""
    islands = []
    heading = rng.uniform(0.0, np.pi)
    for _ in range(int(rng.integers(1, 6))):
        angle = heading + rng.normal(0.0, 0.06)
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        length = rng.uniform(0.010, 0.030)
        bow = rng.normal(0.0, 0.0007)
        middle = across * rng.uniform(-0.006, 0.006) + along * rng.normal(0.0, 0.002)
        t = np.linspace(-1.0, 1.0, 40)
        line = middle + t[:, None] * along * length / 2 + (bow * (1 - t**2))[:, None] * across
        line += rng.normal(0.0, 0.00002, line.shape)
        line = np.clip(line, -HALF_M, HALF_M)
        taper = np.clip((1.0 - np.abs(t)) * rng.uniform(3.0, 9.0), 0.12, 1.0)
        wear = np.clip(1.0 + 0.25 * np.cumsum(rng.normal(0.0, 0.4, 40)) / 2.0, 0.5, 1.5)
        width = rng.uniform(0.00016, 0.00052) * taper * wear
        gap = int(rng.integers(6, 34)) if rng.random() < 0.4 else 99
        for first, last in ((0, gap), (gap + 2, 40)):
            if last - first > 2:
                islands += ribbon(line[first:last], width[first:last])
    return islands


OUTLINES: dict[str, Callable[[np.random.Generator], list[Island]]] = {
    "crazing": crazing,
    "inclusion": inclusion,
    "patches": patches,
    "pitted_surface": pitted_surface,
    "rolled-in_scale": rolled_in_scale,
    "scratches": scratches,
}
"""By class, spelled as in the NEU surface defect database."""


def ribbon(line: FloatArray, width: FloatArray) -> list[Island]:
    """A band along a polyline as one four-sided island a segment; neighbours share an edge.

    Args:
        line: (N, 2) metres.
        width: (N,) metres, across the line.
    """
    step = np.gradient(line, axis=0)
    step /= np.maximum(np.hypot(step[:, 0], step[:, 1]), 1e-12)[:, None]
    side = np.stack([-step[:, 1], step[:, 0]], axis=1) * width[:, None] / 2.0
    left, right = line + side, line - side
    islands = []
    for i in range(len(line) - 1):
        ring = np.array([right[i], right[i + 1], left[i + 1], left[i]])
        islands.append(Island(centre=ring.mean(axis=0), ring=ring))
    return islands


def blob(
    rng: np.random.Generator,
    centre: FloatArray,
    size_m: tuple[float, float],
    *,
    rough: float,
    points: int,
    tilt_deg: float = 12.0,
) -> Island:
    """An ellipse whose radius varies: a lobed, then ever finer, but always star-shaped rim.

    Args:
        rng: source of randomness.
        centre: (2,) metres.
        size_m: mean radii along X and Y before it is turned.
        rough: deviation of the radius' logarithm.
        points: of the rim.
        tilt_deg: deviation of the angle by which it is turned.
    """
    angle = np.arange(points) * (2.0 * np.pi / points)
    orders = np.arange(2, max(3, points // 3))
    amplitude = rng.normal(0.0, 1.0, len(orders)) / orders**1.1
    phase = rng.uniform(0.0, 2.0 * np.pi, len(orders))
    wave = (amplitude * np.cos(angle[:, None] * orders + phase)).sum(axis=1)
    radius = np.exp(np.clip(rough * wave / max(wave.std(), 1e-9), -2.5 * rough, 2.0 * rough))
    plain = np.stack([np.cos(angle) * size_m[0], np.sin(angle) * size_m[1]], axis=1)
    tilt = np.radians(rng.normal(0.0, tilt_deg))
    turn = np.array([[np.cos(tilt), np.sin(tilt)], [-np.sin(tilt), np.cos(tilt)]])
    ring = np.clip(centre + (plain * radius[:, None]) @ turn, -HALF_M, HALF_M)
    return Island(centre=np.asarray(centre, np.float64), ring=ring)


def covered(islands: list[Island], points: FloatArray) -> np.ndarray:
    """(N,) whether points (N, 2) lie in any of the islands, by counting crossings."""
    result = np.zeros(len(points), dtype=np.bool_)
    order = np.argsort(points[:, 0], kind="stable")
    across = points[order, 0]
    for island in islands:
        low, high = island.ring.min(axis=0), island.ring.max(axis=0)
        first, last = np.searchsorted(across, (low[0], high[0]))
        near = order[first:last]
        near = near[(points[near, 1] >= low[1]) & (points[near, 1] <= high[1]) & ~result[near]]
        x, y = points[near, 0][:, None], points[near, 1][:, None]
        (x0, y0), (x1, y1) = island.ring.T, np.roll(island.ring, -1, axis=0).T
        spans = (y0 > y) != (y1 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            crosses = spans & (x < x0 + (y - y0) * (x1 - x0) / (y1 - y0))
        result[near] = crosses.sum(axis=1) % 2 == 1
    return result


def _within(point: FloatArray, margin: float) -> FloatArray:
    room = max(HALF_M - margin, 0.0)
    return np.clip(point, -room, room)
