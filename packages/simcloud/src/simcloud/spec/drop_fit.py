"""Whether things fit between the walls of the region that they are dropped into."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from simcloud.errors import InvalidRequest
from simcloud.geometry import rotation_matrix
from simcloud.spec.footprint import Footprint
from simcloud.spec.object_model import ObjectGroup
from simcloud.spec.parameters import Quaternion, Vector3
from simcloud.spec.placement_model import Box, Drop, is_prim_path

Sides = tuple[float, float]
_ROUNDING = 1e-6
"""Share by which a thing may be larger than what it just fits into."""


class SceneSizes(Protocol):
    """What must be known of a scene."""

    def asset_size_m(self, name: str) -> Vector3:
        """Extent of a library asset in its own frame, metres."""
        ...

    def prim_extent_m(self, path: str) -> tuple[Vector3, Vector3]:
        """Corners of the box around a prim of the stage, world frame, metres."""
        ...


def fits(inner: Sides, outer: Sides) -> bool:
    """Whether a rectangle can be turned so that it lies within another one.

    Carver, Fitting a box inside a box, 1957: straight, or aslant where it is longer than both.
    """
    p, q = max(inner), min(inner)
    a, b = (side * (1 + _ROUNDING) for side in (max(outer), min(outer)))
    if p <= a and q <= b:
        return True
    if p <= a or q > b:
        return False
    return ((a + b) / (p + q)) ** 2 + ((a - b) / (p - q)) ** 2 >= 2


def smallest_footprint(size_m: Vector3) -> Sides:
    """Sides of what a box takes up standing on end."""
    smallest, middle, _ = sorted(size_m)
    return smallest, middle


def fits_as_turned(turned: Quaternion, size_m: Vector3, region: Footprint) -> bool:
    """Whether a box fits between the walls of a region as it hangs."""
    rows = rotation_matrix(turned)
    extents = []
    for x, y in region.axes():
        along = (abs(x * float(rows[0][k]) + y * float(rows[1][k])) * size_m[k] for k in range(3))
        extents.append(sum(along))
    limits = (region.width * (1 + _ROUNDING), region.depth * (1 + _ROUNDING))
    return extents[0] <= limits[0] and extents[1] <= limits[1]


def too_large(
    groups: Sequence[ObjectGroup], scene: SceneSizes, known: frozenset[str]
) -> Iterator[tuple[str, str]]:
    """Assets that fit into their region at no scale that could be drawn, as (field, what is wrong).

    Args:
        groups: of the spec, without references.
        scene: sizes.
        known: assets that the scene has; the others are told elsewhere.
    """
    for index, group in enumerate(groups):
        drop = group.placement
        if not isinstance(drop, Drop) or drop.walls == "none":
            continue
        regions = _largest_regions(drop, groups, scene, known)
        smallest = _number(min(group.scale.support()))
        for name in group.assets.support():
            if str(name) not in known or not regions:
                continue
            width, depth, height = (side * smallest for side in scene.asset_size_m(str(name)))
            sides = smallest_footprint((width, depth, height))
            if any(fits(sides, region) for region in regions):
                continue
            yield (
                f"randomization.objects[{index}].placement.into",
                f"{name} takes up at least {sides[0]:.4g} x {sides[1]:.4g} m however it lies "
                f"(scale {smallest:g}), the region is {_told(regions)}: make the region larger or "
                "the object smaller, or set walls: none",
            )


def _largest_regions(
    drop: Drop, groups: Sequence[ObjectGroup], scene: SceneSizes, known: frozenset[str]
) -> list[Sides]:
    if isinstance(drop.into, Box):
        return [(drop.into.x_m[1] - drop.into.x_m[0], drop.into.y_m[1] - drop.into.y_m[0])]
    if is_prim_path(drop.into):
        try:
            low, high = scene.prim_extent_m(drop.into)
        except InvalidRequest:
            return []  # told as a prim that is not there
        return [(high[0] - low[0], high[1] - low[1])]
    (support,) = (group for group in groups if group.name == drop.into)
    scale = _number(max(support.scale.support()))
    sizes = [
        scene.asset_size_m(str(name)) for name in support.assets.support() if str(name) in known
    ]
    return [(width * scale, depth * scale) for width, depth, _ in sizes]


def _number(value: object) -> float:
    assert isinstance(value, int | float)  # the model takes numbers alone
    return float(value)


def _told(regions: Sequence[Sides]) -> str:
    return " or ".join(f"{width:.4g} x {depth:.4g} m" for width, depth in regions[:3])
