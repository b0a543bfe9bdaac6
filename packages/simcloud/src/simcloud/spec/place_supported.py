"""Places on, in or against something: walls, other groups' objects, surfaces of the stage."""

from __future__ import annotations

import math
from collections.abc import Sequence

from simcloud.errors import InvalidRequest
from simcloud.spec.candidate import Ask, Candidate, Support, rounded, turned_half_extent
from simcloud.spec.distributions import to_float32
from simcloud.spec.footprint import TOUCHING_M
from simcloud.spec.parameters import Quaternion, Vector3
from simcloud.spec.placement_model import OnTop, Shelf, Surface, Wall

WALL_GAP_M = 0.002
"""Between a hung object and its wall, so that their surfaces never coincide."""


def at_wall(
    walls: Sequence[Wall],
    ask: Ask,
    *,
    gap: float,
    jitter_deg: float = 0.0,
    height: float | None = None,
) -> Candidate | None:
    """Somewhere along one of the walls, back to it; hung where a height is given."""
    wall = _choose_wall(walls, ask.draw("wall", None))
    dx, dy = wall.end_m[0] - wall.start_m[0], wall.end_m[1] - wall.start_m[1]
    length = math.hypot(dx, dy)
    room_to_move = length - ask.size_m[0]
    share = ask.draw("along", None)
    if room_to_move <= 0:
        return None
    ux, uy = dx / length, dy / length
    nx, ny = -uy, ux  # the room is on the left
    along = ask.size_m[0] / 2 + room_to_move * share
    off = gap + ask.size_m[1] / 2
    return rounded(
        wall.start_m[0] + ux * along + nx * off,
        wall.start_m[1] + uy * along + ny * off,
        0.0 if height is None else height,
        math.degrees(math.atan2(nx, -ny)) + jitter_deg,
        on_floor=height is None,
    )


def _choose_wall(walls: Sequence[Wall], share: float) -> Wall:
    threshold = share * sum(wall.weight for wall in walls)
    running = 0.0
    for wall in walls:
        running += wall.weight
        if threshold < running:
            return wall
    return walls[-1]


def on_top(placement: OnTop, ask: Ask) -> Candidate | None:
    """On the first support, all of it within its outline."""
    along, across = ask.draw("along", placement.along), ask.draw("across", placement.across)
    jitter = ask.draw("yaw_jitter_deg", placement.yaw_jitter_deg)
    if not ask.supports:
        return None
    support = ask.supports[0].footprint
    (ux, uy), (vx, vy) = support.axes()
    a, b = along * support.width, across * support.depth
    place = rounded(
        support.x + a * ux + b * vx,
        support.y + a * uy + b * vy,
        support.top,
        support.yaw_deg + jitter,
        on_floor=False,
    )
    return place if place.footprint(ask.size_m, place.z).inside(support) else None


def on_shelf(placement: Shelf, ask: Ask) -> Candidate | None:
    """The object's place on its level; None where it doesn't fit."""
    if not ask.supports:
        return None
    counts = [_columns(placement, support) * placement.rows for support in ask.supports]
    per_support = [count * len(placement.levels) for count in counts]
    slot = ask.slot(sum(per_support), placement.fill == "shuffled")
    if slot is None:
        return None
    which = 0
    while slot >= per_support[which]:
        slot -= per_support[which]
        which += 1
    support, columns = ask.supports[which], _columns(placement, ask.supports[which])
    level, rest = divmod(slot, columns * placement.rows)
    row, column = divmod(rest, columns)
    return _on_level(placement, ask, support, level=level, row=row, column=column)


def _on_level(
    placement: Shelf, ask: Ask, support: Support, *, level: int, row: int, column: int
) -> Candidate | None:
    heights = [_height(one, support, placement.support) for one in placement.levels]
    box, bottom = support.footprint, heights[level]
    columns = _columns(placement, support)
    row_depth = (box.depth - 2 * placement.margin_m) / placement.rows
    a = (column - (columns - 1) / 2) * placement.spacing_m
    a += ask.draw("jitter_along_m", placement.jitter_along_m)
    b = (row - (placement.rows - 1) / 2) * row_depth
    b += ask.draw("jitter_across_m", placement.jitter_across_m)
    jitter = ask.draw("yaw_jitter_deg", placement.yaw_jitter_deg)
    (ux, uy), (vx, vy) = box.axes()
    place = rounded(
        box.x + a * ux + b * vx,
        box.y + a * uy + b * vy,
        box.bottom + bottom,
        box.yaw_deg + jitter,
        on_floor=False,
    )
    place = Candidate(place.x, place.y, place.z, place.yaw_deg, on_floor=False, holder=box)
    above = [height for height in heights if height > bottom + TOUCHING_M]
    headroom = min(above) - bottom if above else math.inf
    if ask.size_m[2] > headroom or not place.footprint(ask.size_m, place.z).inside(
        box, margin=placement.margin_m
    ):
        return None
    return place


def _columns(placement: Shelf, support: Support) -> int:
    room = support.footprint.width - 2 * placement.margin_m
    return max(math.floor(room / placement.spacing_m + 1e-6), 0)


def _height(level: float | str, support: Support, group: str) -> float:
    """Height of a level above the support's base."""
    if not isinstance(level, str):
        return level * support.scale
    known = dict(support.levels_m)
    if level not in known:
        names = ", ".join(known) or "none"
        raise InvalidRequest(
            "randomization.objects",
            f"an asset of group {group} has no level {level!r}; it has: {names} (custom data "
            "simcloud:levels)",
        )
    return known[level]


def on_surface(placement: Surface, ask: Ask) -> Candidate | None:
    """A point of the surface, and the object's base there."""
    draws = [ask.draw(name, None) for name in ("surface", "u", "v")]
    yaw, sink = ask.draw("yaw_deg", placement.yaw_deg), ask.draw("sink_m", placement.sink_m)
    found = ask.surface.point(*draws) if ask.surface else None
    if found is None:
        return None
    point, normal = found
    if not placement.align:
        return rounded(point[0], point[1], point[2] - sink, yaw, on_floor=False)
    turned = _standing_on(normal, yaw)
    x, y, z = (point[axis] + normal[axis] * (ask.size_m[2] / 2 - sink) for axis in range(3))
    bottom = z - turned_half_extent(turned, ask.size_m)[2]
    return Candidate(
        to_float32(x), to_float32(y), to_float32(bottom), to_float32(yaw), False, tilt=turned
    )


def _standing_on(normal: Vector3, yaw_deg: float) -> Quaternion:
    """Turned about its own Z, then the shortest way from +Z to the normal, which faces up."""
    x, y, z = normal
    length = math.sqrt((1 + z) * (1 + z) + x * x + y * y)
    w, a, b = (1 + z) / length, -y / length, x / length
    half = math.radians(yaw_deg) / 2
    cosine, sine = math.cos(half), math.sin(half)
    return (
        to_float32(w * cosine),
        to_float32(a * cosine + b * sine),
        to_float32(b * cosine - a * sine),
        to_float32(w * sine),
    )
