"""Places that need nothing to stand on: anywhere, in a grid, along a line."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from simcloud.spec.candidate import Ask, Candidate, rounded
from simcloud.spec.distributions import to_float32
from simcloud.spec.draws import euler_quaternion
from simcloud.spec.placement_model import Grid, Path, Scatter

_FACING_DEG = {"along": 90.0, "back": -90.0, "left": 180.0, "right": 0.0}
"""Yaw of a front, which faces -Y at 0, for a line that goes along +X."""


def scattered(placement: Scatter, ask: Ask) -> Candidate:
    """Anywhere."""
    draw = ask.draw
    place = rounded(
        draw("x_m", placement.x_m),
        draw("y_m", placement.y_m),
        draw("z_m", placement.z_m),
        draw("yaw_deg", placement.yaw_deg),
        on_floor=placement.snap == "floor",
    )
    pitch, roll = draw("pitch_deg", placement.pitch_deg), draw("roll_deg", placement.roll_deg)
    if pitch == 0.0 and roll == 0.0:
        return place
    tilt = euler_quaternion(place.yaw_deg, pitch, roll)
    return Candidate(place.x, place.y, place.z, place.yaw_deg, place.on_floor, tilt=tilt)


def in_grid(placement: Grid, ask: Ask) -> Candidate | None:
    """The middle of the object's cell, and jitter."""
    slot = ask.slot(placement.rows * placement.columns, placement.fill == "shuffled")
    if slot is None:
        return None
    row, column = divmod(slot, placement.columns)
    width = (placement.x_m[1] - placement.x_m[0]) / placement.columns
    depth = (placement.y_m[1] - placement.y_m[0]) / placement.rows
    return rounded(
        placement.x_m[0] + (column + 0.5) * width + ask.draw("jitter_x_m", placement.jitter_x_m),
        placement.y_m[0] + (row + 0.5) * depth + ask.draw("jitter_y_m", placement.jitter_y_m),
        placement.z_m,
        ask.draw("yaw_deg", placement.yaw_deg),
    )


def on_path(placement: Path, ask: Ask) -> Candidate | None:
    """The object's place along the line; None beyond its end."""
    start = ask.draw_once("start_m", placement.start_m)
    lengths = [math.dist(a, b) for a, b in _legs(placement.points_m)]
    places = math.floor((sum(lengths) - start) / placement.spacing_m + 1e-9) + 1
    slot = ask.slot(max(places, 0), placement.fill == "shuffled")
    if slot is None:
        return None
    along = start + slot * placement.spacing_m + ask.draw("jitter_m", placement.jitter_m)
    if not 0.0 <= along <= sum(lengths) + 1e-6:
        return None
    x, y, (ux, uy) = _at(placement.points_m, lengths, along)
    aside = ask.draw("aside_m", placement.aside_m)
    jitter = ask.draw("yaw_jitter_deg", placement.yaw_jitter_deg)
    return rounded(
        x - aside * uy,
        y + aside * ux,
        0.0,
        math.degrees(math.atan2(uy, ux)) + _FACING_DEG[placement.facing] + jitter,
    )


def _legs(points: Sequence[tuple[float, float]]) -> list[tuple[tuple[float, float], ...]]:
    return list(itertools.pairwise(points))


def _at(
    points: Sequence[tuple[float, float]], lengths: Sequence[float], along: float
) -> tuple[float, float, tuple[float, float]]:
    """The point after a way along the line, and the line's direction there."""
    legs = _legs(points)
    index = 0
    while index < len(legs) - 1 and along > lengths[index]:
        along -= lengths[index]
        index += 1
    (ax, ay), (bx, by) = legs[index]
    ux, uy = (bx - ax) / lengths[index], (by - ay) / lengths[index]
    return to_float32(ax + ux * along), to_float32(ay + uy * along), (ux, uy)
