"""Where dropped objects hang before they fall: the part of a drop that is drawn.

Draws are ``objects.<group>.<i>.drop.<field>``. Heights follow from the draws: each object is
raised until it touches none that was let go before it. Falling itself is physics, and the
generator's (``simcloud_generator.settling``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from simcloud.geometry import rotation_matrix
from simcloud.spec.candidate import turned_half_extent
from simcloud.spec.distributions import Real, to_float32
from simcloud.spec.draws import Draws, euler_quaternion, random_rotation
from simcloud.spec.drop_fit import fits, fits_as_turned, smallest_footprint
from simcloud.spec.footprint import Footprint
from simcloud.spec.parameters import DropRegion, Fall, Quaternion, Vector3
from simcloud.spec.placement_model import Box, Drop

_ROTATIONS = 64
"""Rotations drawn for a thing that is nearly as large as its region; without one that fits it is
left out."""
_PLACES = 4
"""Places drawn for each object; it takes the one where it hangs the lowest: a lower tower falls
sooner, and spreads."""


@dataclass(frozen=True, slots=True)
class Hanging:
    """An object before its fall."""

    position_m: Vector3
    """Of the asset's origin, the centre of its base."""
    orientation_wxyz: Quaternion
    fall: Fall
    half_m: Vector3
    """Half the extent of its bounding box along the world's axes."""
    centre_m: Vector3

    def clears(self, half_m: Vector3, x: float, y: float, gap_m: float) -> bool:
        """Whether a box at a place is beside this one, at any height."""
        return (
            abs(self.centre_m[0] - x) >= self.half_m[0] + half_m[0] + gap_m
            or abs(self.centre_m[1] - y) >= self.half_m[1] + half_m[1] + gap_m
        )


def box_region(box: Box) -> Footprint:
    """A box of the spec as what things fall into."""
    (x0, x1), (y0, y1), (z0, z1) = box.x_m, box.y_m, box.z_m
    return Footprint(
        x=to_float32((x0 + x1) / 2),
        y=to_float32((y0 + y1) / 2),
        width=to_float32(x1 - x0),
        depth=to_float32(y1 - y0),
        yaw_deg=0.0,
        bottom=to_float32(z0),
        top=to_float32(z1),
    )


def bounds_region(low: Vector3, high: Vector3) -> Footprint:
    """A prim of the stage, by its bounds in the world, as what things fall into."""
    x, y, z = zip(low, high, strict=True)
    return box_region(Box(x_m=x, y_m=y, z_m=z))


def hang(
    drop: Drop,
    *,
    name: str,
    size_m: Vector3,
    draws: Draws,
    regions: Sequence[Footprint],
    others: Sequence[Hanging],
) -> Hanging | None:
    """The place of one object before its fall.

    Args:
        drop: how it is dropped.
        name: prefix of its draws.
        size_m: extent in its own frame, scale included.
        draws: the frame's draws.
        regions: what it may fall into; one is drawn.
        others: what hangs already.

    Returns:
        The place; None when there is nothing to fall into, or it does not fit between the walls.
    """

    def real(short: str, distribution: Real) -> float:
        return draws.real(f"{name}.{short}", distribution, keep=False)

    if not regions:
        return None
    region = regions[int(draws.stream(f"{name}.region").uniform() * len(regions))]
    turned = _orientation(drop, name, draws, size_m, region)
    if turned is None:
        return None
    half = turned_half_extent(turned, size_m)
    floor = region.top + real("height_m", drop.height_m) + half[2]
    places = []
    for number in range(_PLACES):
        along = real(f"place{number}.along", drop.along)
        x, y = _inside(region, half, along, real(f"place{number}.across", drop.across))
        places.append((_free_height((x, y), floor, half, drop.gap_m, others), number, x, y))
    z, _, x, y = min(places)
    up = rotation_matrix(turned)[:, 2] * (size_m[2] / 2)
    return Hanging(
        position_m=(
            to_float32(x - float(up[0])),
            to_float32(y - float(up[1])),
            to_float32(z - float(up[2])),
        ),
        orientation_wxyz=turned,
        fall=Fall(
            region=DropRegion(
                centre_m=(region.x, region.y),
                size_m=(to_float32(region.width), to_float32(region.depth)),
                yaw_deg=region.yaw_deg,
                bottom_m=to_float32(region.bottom),
                top_m=to_float32(region.top),
                walls_from_m=to_float32(
                    region.bottom if isinstance(drop.into, Box) else region.top
                ),
                walls=drop.walls,
            ),
            density_kg_m3=to_float32(real("density_kg_m3", drop.density_kg_m3)),
            friction=to_float32(real("friction", drop.friction)),
            settle_s=to_float32(drop.settle_s),
        ),
        half_m=half,
        centre_m=(x, y, z),
    )


def _orientation(
    drop: Drop, name: str, draws: Draws, size_m: Vector3, region: Footprint
) -> Quaternion | None:
    """How it hangs: a large thing turned such that it falls between the walls, not onto them."""
    walled = drop.walls != "none"
    if walled and not fits(smallest_footprint(size_m), (region.width, region.depth)):
        return None
    if drop.orientation is None:
        for attempt in range(_ROTATIONS):
            stream = f"{name}.rotation{attempt or ''}"
            turned = random_rotation(draws.stream(stream))
            if not walled or fits_as_turned(turned, size_m, region):
                return turned
        return None
    yaw, pitch, roll = (
        draws.real(f"{name}.{short}", distribution, keep=False)
        for short, distribution in (
            ("yaw_deg", drop.orientation.yaw_deg),
            ("pitch_deg", drop.orientation.pitch_deg),
            ("roll_deg", drop.orientation.roll_deg),
        )
    )
    turned = euler_quaternion(yaw, pitch, roll)
    return turned if not walled or fits_as_turned(turned, size_m, region) else None


def _inside(region: Footprint, half: Vector3, along: float, across: float) -> tuple[float, float]:
    """Where the object's centre starts: within the region with all of its bounding circle."""
    radius = (half[0] * half[0] + half[1] * half[1]) ** 0.5
    (ux, uy), (vx, vy) = region.axes()
    a = along * max(region.width - 2 * radius, 0.0)
    b = across * max(region.depth - 2 * radius, 0.0)
    return region.x + a * ux + b * vx, region.y + a * uy + b * vy


def _free_height(
    at: tuple[float, float],
    floor: float,
    half: Vector3,
    gap_m: float,
    others: Sequence[Hanging],
) -> float:
    """The lowest centre at or above ``floor`` where the box overlaps none that hangs already."""
    z = floor
    below = [item for item in others if not item.clears(half, at[0], at[1], gap_m)]
    for item in sorted(below, key=lambda item: item.centre_m[2]):
        reach = item.half_m[2] + half[2] + gap_m
        if abs(item.centre_m[2] - z) < reach:
            z = item.centre_m[2] + reach
    return z
