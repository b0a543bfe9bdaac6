"""Triangles that objects are scattered on: points drawn uniformly by area."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from simcloud.spec.parameters import Vector3

Triangle = tuple[Vector3, Vector3, Vector3]


@dataclass(frozen=True, slots=True)
class UpperSide:
    """The upward triangles of a surface and the running sum of their areas."""

    triangles: tuple[Triangle, ...]
    normals: tuple[Vector3, ...]
    """Unit, upwards."""
    areas_m2: tuple[float, ...]
    """Running sum."""

    def point(self, share: float, u: float, v: float) -> tuple[Vector3, Vector3] | None:
        """A point and its normal for three uniforms in [0, 1); None on a surface without area.

        Uniform in a triangle: Osada et al., Shape Distributions, 2002, equation 1.
        """
        if not self.triangles:
            return None
        found = bisect.bisect_right(self.areas_m2, share * self.areas_m2[-1])
        index = min(found, len(self.triangles) - 1)
        a, b, c = self.triangles[index]
        root = math.sqrt(u)
        first, second, third = 1 - root, root * (1 - v), root * v
        x, y, z = (first * a[k] + second * b[k] + third * c[k] for k in range(3))
        return (x, y, z), self.normals[index]


def upper_side(triangles: Sequence[Triangle], max_slope_deg: float) -> UpperSide:
    """What of some triangles faces up and is no steeper than a slope."""
    least = math.cos(math.radians(max_slope_deg)) - 1e-9
    chosen, normals, areas = [], [], []
    for a, b, c in triangles:
        x, y, z = _cross(_minus(b, a), _minus(c, a))
        length = math.sqrt(x * x + y * y + z * z)
        if length == 0.0 or z / length < least:
            continue
        chosen.append((a, b, c))
        normals.append((x / length, y / length, z / length))
        areas.append(length / 2)
    return UpperSide(tuple(chosen), tuple(normals), tuple(accumulate(areas)))


def _minus(a: Vector3, b: Vector3) -> Vector3:
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def _cross(a: Vector3, b: Vector3) -> Vector3:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
