"""A place to be tried, and what every kind of placement is told when it is asked for one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simcloud.geometry import rotation_matrix
from simcloud.spec.distributions import Real, to_float32
from simcloud.spec.draws import yaw_quaternion
from simcloud.spec.footprint import Footprint
from simcloud.spec.parameters import Quaternion, Vector3
from simcloud.spec.surface import UpperSide

Draw = Callable[[str, Real | None], float]
"""Draws a named value for the current try: of a distribution, or uniform in [0, 1) for None."""


@dataclass(frozen=True, slots=True)
class Support:
    """An object that others may stand on or in."""

    footprint: Footprint
    levels_m: tuple[tuple[str, float], ...] = ()
    """(name, height above its base) of its shelves, scale included."""
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Ask:
    """What a placement may know when it names a place."""

    index: int
    """Number of the object within its group."""
    size_m: Vector3
    """The object's extent in its own frame, scale included."""
    draw: Draw
    """For this try."""
    draw_once: Draw
    """For the whole group: the same value in every try of every object."""
    supports: Sequence[Support]
    """What the group stands on, if it names any."""
    slot: Callable[[int, bool], int | None]
    """Place of this object among so many, shuffled or not; None when they are all given away."""
    surface: UpperSide | None = None
    """What a placement on a surface is scattered on."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place to be tried; float32 values."""

    x: float
    y: float
    z: float
    """Height of the object's lowest point or, with a tilt and no snapping, of its origin."""
    yaw_deg: float
    on_floor: bool = True
    """Whether it stands on the floor, and so must stay in the region and on top of rugs."""
    tilt: Quaternion | None = None
    """Full orientation where it is not the yaw alone."""
    holder: Footprint | None = None
    """What it stands within: no collision with that."""

    @property
    def orientation_wxyz(self) -> Quaternion:
        """Asset to world."""
        return yaw_quaternion(self.yaw_deg) if self.tilt is None else self.tilt

    def footprint(self, size_m: Vector3, bottom: float) -> Footprint:
        """What an object of this size would take up, with its lowest point at a height."""
        if self.tilt is None:
            return Footprint(
                self.x, self.y, size_m[0], size_m[1], self.yaw_deg, bottom, bottom + size_m[2]
            )
        half = self._half_extent(size_m)
        return Footprint(
            self.x, self.y, 2 * half[0], 2 * half[1], 0.0, bottom, bottom + 2 * half[2]
        )

    def origin(self, size_m: Vector3, bottom: float) -> Vector3:
        """Where the asset's origin, the centre of its base, comes to be; float32."""
        if self.tilt is None:
            return self.x, self.y, to_float32(bottom)
        up = [float(row[2]) * size_m[2] / 2 for row in rotation_matrix(self.tilt)]
        middle = bottom + self._half_extent(size_m)[2]
        return to_float32(self.x - up[0]), to_float32(self.y - up[1]), to_float32(middle - up[2])

    def _half_extent(self, size_m: Vector3) -> Vector3:
        return turned_half_extent(self.orientation_wxyz, size_m)


def turned_half_extent(turned: Quaternion, size_m: Vector3) -> Vector3:
    """Half the extent along the world's axes of a box that has been turned."""
    rows = abs(rotation_matrix(turned))
    x, y, z = (float(sum(row[axis] * size_m[axis] / 2 for axis in range(3))) for row in rows)
    return x, y, z


def rounded(x: float, y: float, z: float, yaw_deg: float, *, on_floor: bool = True) -> Candidate:
    """A place with every value a float32."""
    return Candidate(to_float32(x), to_float32(y), to_float32(z), to_float32(yaw_deg), on_floor)
