"""The draws of one frame, by name, and what of them goes into the index."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from simcloud.errors import Bug, InvalidRequest
from simcloud.spec.distributions import Constant, Real, Text, to_float32
from simcloud.spec.kinds import Kind
from simcloud.spec.parameters import Quaternion, Scalar, Vector3
from simcloud.spec.references import NamedDraw, named_draws
from simcloud.spec.streams import RandomStream

if TYPE_CHECKING:
    from simcloud.spec.model import Spec


@dataclass(slots=True)
class Draws:
    """The draws of one frame, and what of them goes into the index."""

    seed: int
    """The spec's seed."""
    frame: int
    """Frame index."""
    values: dict[str, Scalar] = field(default_factory=dict)
    """What has been drawn and is kept for the index."""
    spec: Spec | None = None
    """Where names are looked up that distributions refer to; None: there are none."""
    asked: dict[str, Kind] = field(default_factory=dict)
    """What has been drawn, by name."""
    _named: dict[str, NamedDraw] | None = None
    _looked_up: dict[str, Scalar] = field(default_factory=dict)

    def value(self, name: str) -> Scalar:
        """What the frame holds under a name, drawn already or not: purely of the spec."""
        if name in self._looked_up:
            return self._looked_up[name]
        found = self._table()[name]
        value = found.distribution.draw(self.stream(found.stream), self.value)
        self._looked_up[name] = value
        return value

    def _table(self) -> dict[str, NamedDraw]:
        if self._named is None:
            self._named = {} if self.spec is None else named_draws(self.spec)
        return self._named

    def at(self, frame: int) -> Draws:
        """The draws of another frame of the same spec; they keep nothing here."""
        return Draws(self.seed, frame, spec=self.spec, _named=self._table())

    def keep(self, name: str) -> None:
        """Keeps a value that the frame holds for itself: one of a joint table, a shared one."""
        self.values[name] = self.value(name)

    def check(self) -> None:
        """Raises Bug when a name that was referred to is not drawn as it was looked up."""
        for name, value in self._looked_up.items():
            found = self._table()[name]
            if self.values.get(name, value) != value or (
                name not in self.values and self.asked.get(name) != found.distribution
            ):
                raise Bug(f"frame {self.frame} draws no {name}, which a distribution refers to")

    def stream(self, name: str) -> RandomStream:
        """The random bits of a name."""
        return RandomStream(seed=self.seed, frame=self.frame, name=name)

    def real(self, name: str, distribution: Real, *, keep: bool = True) -> float:
        """A number; kept by name unless it is a constant of the spec."""
        value = distribution.draw(self.stream(name), self.value)
        self.asked[name] = distribution
        if isinstance(value, str):
            raise InvalidRequest(name, f"must draw numbers, drew {value!r}")
        if keep and not isinstance(distribution, Constant):
            self.values[name] = value
        return value

    def text(self, name: str, distribution: Text, *, keep: bool = True) -> str:
        """A name; kept like a number."""
        value = str(distribution.draw(self.stream(name), self.value))
        self.asked[name] = distribution
        if keep and not isinstance(distribution, Constant):
            self.values[name] = value
        return value

    def vector(self, name: str, parts: tuple[Real, Real, Real]) -> Vector3:
        """Three numbers named ``.x``, ``.y``, ``.z``."""
        x, y, z = (
            self.real(f"{name}.{axis}", part) for axis, part in zip("xyz", parts, strict=True)
        )
        return x, y, z


def yaw_quaternion(yaw_deg: float) -> Quaternion:
    """Rotation about +Z, counter-clockwise seen from above; float32 components, (w, x, y, z)."""
    half = math.radians(yaw_deg) / 2
    return to_float32(math.cos(half)), 0.0, 0.0, to_float32(math.sin(half))


def sphere_point(
    centre: Vector3, *, distance: float, azimuth_deg: float, elevation_deg: float
) -> Vector3:
    """A point on a sphere, float32; azimuth 0 is towards -Y, counter-clockwise from above."""
    azimuth, elevation = math.radians(azimuth_deg), math.radians(elevation_deg)
    flat = distance * math.cos(elevation)
    return (
        to_float32(centre[0] + flat * math.sin(azimuth)),
        to_float32(centre[1] - flat * math.cos(azimuth)),
        to_float32(centre[2] + distance * math.sin(elevation)),
    )


def facing_quaternion(*, azimuth_deg: float, elevation_deg: float, yaw_deg: float) -> Quaternion:
    """Turns +Z outward at a place on a sphere, so that -Z looks at its centre and X is level.

    About Z by the yaw, then about X by what the elevation lacks to 90 degrees, then about Z by the
    azimuth; float32 components, (w, x, y, z).
    """
    tilt = math.radians(90.0 - elevation_deg) / 2
    total = math.radians(azimuth_deg + yaw_deg) / 2
    difference = math.radians(azimuth_deg - yaw_deg) / 2
    return (
        to_float32(math.cos(tilt) * math.cos(total)),
        to_float32(math.sin(tilt) * math.cos(difference)),
        to_float32(math.sin(tilt) * math.sin(difference)),
        to_float32(math.cos(tilt) * math.sin(total)),
    )


def euler_quaternion(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Quaternion:
    """Roll about X, then pitch about Y, then yaw about Z, about fixed axes; float32, (w, x, y, z).

    Without pitch and roll it is exactly :func:`yaw_quaternion`.
    """
    cy, sy = _half(yaw_deg)
    cp, sp = _half(pitch_deg)
    cr, sr = _half(roll_deg)
    return (
        to_float32(cy * cp * cr + sy * sp * sr),
        to_float32(cy * cp * sr - sy * sp * cr),
        to_float32(cy * sp * cr + sy * cp * sr),
        to_float32(sy * cp * cr - cy * sp * sr),
    )


def random_rotation(stream: RandomStream) -> Quaternion:
    """Uniform over all rotations (Shoemake, Graphics Gems III, 1992); takes three uniforms."""
    share, first, second = stream.uniform(), stream.uniform(), stream.uniform()
    inner, outer = math.sqrt(1 - share), math.sqrt(share)
    return (
        to_float32(outer * math.cos(2 * math.pi * second)),
        to_float32(inner * math.sin(2 * math.pi * first)),
        to_float32(inner * math.cos(2 * math.pi * first)),
        to_float32(outer * math.sin(2 * math.pi * second)),
    )


def _half(angle_deg: float) -> tuple[float, float]:
    half = math.radians(angle_deg) / 2
    return math.cos(half), math.sin(half)
