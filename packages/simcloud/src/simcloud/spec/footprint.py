"""What objects take up: upright boxes, and when two of them collide. Metres, degrees, Z up."""

from __future__ import annotations

import math
from dataclasses import dataclass

from simcloud.spec.object_model import Region

Point = tuple[float, float]

TOUCHING_M = 1e-4
"""Standing on something is no collision with it: heights that differ by less do not overlap."""


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
            self.bottom + TOUCHING_M < other.top and other.bottom + TOUCHING_M < self.top
        ) or abs(self.bottom - other.bottom) < TOUCHING_M
        return level and self.covers(other, clearance)

    def within(self, region: Region) -> bool:
        """Whether all of the rectangle lies in the region."""
        return all(
            region.x_m[0] <= x <= region.x_m[1] and region.y_m[0] <= y <= region.y_m[1]
            for x, y in self.corners()
        )

    def inside(self, other: Footprint, margin: float = 0.0) -> bool:
        """Whether all of the rectangle lies on the other one, a margin away from its edges."""
        axes = other.axes()
        halves = (other.width / 2, other.depth / 2)
        return all(
            abs((x - other.x) * ax + (y - other.y) * ay) <= half - margin + TOUCHING_M
            for x, y in self.corners()
            for (ax, ay), half in zip(axes, halves, strict=True)
        )
