"""Where objects may stand: footprints, collisions and the candidates of each kind of placement.

Pure geometry in the floor's plane; metres, degrees, Z up. An asset's front faces -Y at yaw 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simcloud.spec.distributions import Real, to_float32
from simcloud.spec.object_model import Region
from simcloud.spec.parameters import Vector3
from simcloud.spec.placement_model import AlongWall, Drop, OnTop, OnWall, Placement, Scatter, Wall

Point = tuple[float, float]

_TOUCHING_M = 1e-4
"""Standing on something is no collision with it: heights that differ by less do not overlap."""
_WALL_GAP_M = 0.002
"""Between a hung object and its wall, so that their surfaces never coincide."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """An upright box: a rectangle on the floor between two heights."""

    x: float
    y: float
    width: float
    """Extent along its own X."""
    depth: float
    """Extent along its own Y."""
    yaw_deg: float
    bottom: float
    top: float

    def corners(self) -> tuple[Point, Point, Point, Point]:
        """The rectangle's corners, counter-clockwise."""
        (ux, uy), (vx, vy) = self.axes()
        a, b = self.width / 2, self.depth / 2
        return (
            (self.x - a * ux - b * vx, self.y - a * uy - b * vy),
            (self.x + a * ux - b * vx, self.y + a * uy - b * vy),
            (self.x + a * ux + b * vx, self.y + a * uy + b * vy),
            (self.x - a * ux + b * vx, self.y - a * uy + b * vy),
        )

    def axes(self) -> tuple[Point, Point]:
        """Unit vectors of its own X and Y."""
        angle = math.radians(self.yaw_deg)
        cosine, sine = math.cos(angle), math.sin(angle)
        return (cosine, sine), (-sine, cosine)

    def covers(self, other: Footprint, clearance: float = 0.0) -> bool:
        """Whether the rectangles come closer than the clearance, whatever the heights.

        Separating axes of two convex shapes: some edge's normal separates them, or they overlap.
        """
        mine, theirs = self.corners(), other.corners()
        for ax, ay in (*self.axes(), *other.axes()):
            left = [x * ax + y * ay for x, y in mine]
            right = [x * ax + y * ay for x, y in theirs]
            if max(left) + clearance <= min(right) or max(right) + clearance <= min(left):
                return False
        return True

    def collides(self, other: Footprint, clearance: float) -> bool:
        """Whether the boxes come closer than the clearance in the plane and share a height.

        Flat things share a height when they lie in one plane.
        """
        level = (
            self.bottom + _TOUCHING_M < other.top and other.bottom + _TOUCHING_M < self.top
        ) or abs(self.bottom - other.bottom) < _TOUCHING_M
        return level and self.covers(other, clearance)

    def within(self, region: Region) -> bool:
        """Whether all of the rectangle lies in the region."""
        return all(
            region.x_m[0] <= x <= region.x_m[1] and region.y_m[0] <= y <= region.y_m[1]
            for x, y in self.corners()
        )

    def inside(self, other: Footprint) -> bool:
        """Whether all of the rectangle lies on the other one."""
        axes = other.axes()
        halves = (other.width / 2, other.depth / 2)
        return all(
            abs((x - other.x) * ax + (y - other.y) * ay) <= half + _TOUCHING_M
            for x, y in self.corners()
            for (ax, ay), half in zip(axes, halves, strict=True)
        )


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place to be tried."""

    x: float
    y: float
    z: float
    yaw_deg: float
    on_floor: bool
    """Whether it stands on the floor, and so must stay in the region and on top of rugs."""

    def footprint(self, size_m: Vector3, bottom: float) -> Footprint:
        """What an object of this size would take up, with its base at a height."""
        return Footprint(
            self.x, self.y, size_m[0], size_m[1], self.yaw_deg, bottom, bottom + size_m[2]
        )


Draw = Callable[[str, Real | None], float]
"""Draws a named value for the current try: of a distribution, or uniform in [0, 1) for None."""


def candidate(
    placement: Placement, *, size_m: Vector3, draw: Draw, supports: Sequence[Footprint]
) -> Candidate | None:
    """The place that the draws of one try say; None when there can't be one.

    Args:
        placement: kind and distributions.
        size_m: the object's extent, scale included.
        draw: draws a distribution under a short name.
        supports: footprints of the group that `OnTop` stands on.
    """
    match placement:
        case Scatter():
            return _rounded(
                draw("x_m", placement.x_m),
                draw("y_m", placement.y_m),
                0.0,
                draw("yaw_deg", placement.yaw_deg),
            )
        case AlongWall():
            gap = draw("gap_m", placement.gap_m)
            jitter = draw("yaw_jitter_deg", placement.yaw_jitter_deg)
            return _at_wall(placement.walls, size_m, draw, gap=gap, jitter_deg=jitter)
        case OnWall():
            height = draw("height_m", placement.height_m)
            return _at_wall(placement.walls, size_m, draw, gap=_WALL_GAP_M, height=height)
        case OnTop():
            return _on_top(placement, size_m, draw, supports)
        case Drop():
            raise ValueError("what is dropped has no place to be tried: see sample_drop")


def _at_wall(
    walls: Sequence[Wall],
    size_m: Vector3,
    draw: Draw,
    *,
    gap: float,
    jitter_deg: float = 0.0,
    height: float | None = None,
) -> Candidate | None:
    wall = _choose_wall(walls, draw("wall", None))
    dx, dy = wall.end_m[0] - wall.start_m[0], wall.end_m[1] - wall.start_m[1]
    length = math.hypot(dx, dy)
    room_to_move = length - size_m[0]
    share = draw("along", None)
    if room_to_move <= 0:
        return None
    ux, uy = dx / length, dy / length
    nx, ny = -uy, ux  # the room is on the left
    along = size_m[0] / 2 + room_to_move * share
    off = gap + size_m[1] / 2
    return _rounded(
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


def _on_top(
    placement: OnTop, size_m: Vector3, draw: Draw, supports: Sequence[Footprint]
) -> Candidate | None:
    along, across = draw("along", placement.along), draw("across", placement.across)
    jitter = draw("yaw_jitter_deg", placement.yaw_jitter_deg)
    if not supports:
        return None
    support = supports[0]
    (ux, uy), (vx, vy) = support.axes()
    a, b = along * support.width, across * support.depth
    place = _rounded(
        support.x + a * ux + b * vx,
        support.y + a * uy + b * vy,
        support.top,
        support.yaw_deg + jitter,
        on_floor=False,
    )
    return place if place.footprint(size_m, place.z).inside(support) else None


def _rounded(x: float, y: float, z: float, yaw_deg: float, *, on_floor: bool = True) -> Candidate:
    return Candidate(to_float32(x), to_float32(y), to_float32(z), to_float32(yaw_deg), on_floor)
