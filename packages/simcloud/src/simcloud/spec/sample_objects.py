"""Objects of a frame: chosen, counted and placed group by group.

Objects draw under ``objects.<group>.<i>.<field>``, places under ``….try<k>.<field>``: the k-th try
is the same whatever the other groups do, and the first one that is free is taken.
"""

from __future__ import annotations

from simcloud.spec.balance import assets_of_classes, class_of_object
from simcloud.spec.candidate import Ask, Candidate, Support
from simcloud.spec.distributions import Real
from simcloud.spec.draws import Draws
from simcloud.spec.footprint import Footprint
from simcloud.spec.model import Spec
from simcloud.spec.object_model import ObjectGroup, placing_order
from simcloud.spec.parameters import PlacedObject, Vector3
from simcloud.spec.placement import candidate
from simcloud.spec.placement_model import Box, Drop, OnTop, Shelf, Surface, is_prim_path
from simcloud.spec.sample_drop import Hanging, bounds_region, box_region, hang
from simcloud.spec.scene_contents import SceneContents
from simcloud.spec.surface import UpperSide, upper_side

SETTLING_ATTEMPTS = "settling.attempts"
"""Sampled value: simulations that settling took; 0 until it is done."""
SETTLING_FROZEN = "settling.frozen"
"""Sampled value: objects that still moved when their time was up, and were stopped."""


def dropped_out(group: str) -> str:
    """Name of the sampled value that counts what was taken out of a group.

    Too large for its region, or at rest outside of it.
    """
    return f"objects.{group}.dropped_out"


def sample_objects(spec: Spec, scene: SceneContents, draws: Draws) -> list[PlacedObject]:
    """Chooses, counts and places the objects of every group, free of interpenetration.

    Raises:
        InvalidRequest: an asset that the scene doesn't hold.
    """
    placed: dict[str, list[Support]] = {}
    by_group: dict[str, list[PlacedObject]] = {}
    taken: list[Footprint] = []
    rugs: list[Footprint] = []
    hanging: list[Hanging] = []
    groups = spec.randomization.objects
    for group in placing_order(groups):
        if isinstance(group.placement, Drop):
            objects = _dropped(group, group.placement, scene, draws, on=placed, hanging=hanging)
        else:
            objects, placed[group.name] = _group(
                group, spec, scene, draws, taken=taken, rugs=rugs, on=placed
            )
        by_group[group.name] = objects
        draws.values[f"objects.{group.name}.count"] = len(objects)
    if any(isinstance(group.placement, Drop) for group in groups):
        draws.values[SETTLING_ATTEMPTS] = draws.values[SETTLING_FROZEN] = 0
    # By name, so that the instance ids of a frame do not depend on the order of placing.
    return [item for name in sorted(by_group) for item in by_group[name]]


def _group(
    group: ObjectGroup,
    spec: Spec,
    scene: SceneContents,
    draws: Draws,
    *,
    taken: list[Footprint],
    rugs: list[Footprint],
    on: dict[str, list[Support]],
) -> tuple[list[PlacedObject], list[Support]]:
    objects: list[PlacedObject] = []
    stand: list[Support] = []
    tries = _Tries(group, scene, draws, on)
    for index in _tried(group, draws):
        name = f"objects.{group.name}.{index}"
        asset, scale, size = _chosen(group, index, scene, draws)
        for attempt in range(group.attempts):
            place = tries.candidate(index, attempt, size)
            if place is None:
                continue
            footprint = _settled(place, size, rugs if group.solid else [])
            if place.on_floor and not footprint.within(spec.randomization.region):
                continue
            others = taken if group.solid else rugs
            if any(
                other != place.holder and footprint.collides(other, group.clearance_m)
                for other in others
            ):
                continue
            others.append(footprint)
            levels = tuple((name, at * scale) for name, at in scene.asset_levels_m(asset))
            stand.append(Support(footprint, levels_m=levels, scale=scale))
            objects.append(
                PlacedObject(
                    name=f"{group.name}_{index:02d}",
                    asset=asset,
                    position_m=place.origin(size, footprint.bottom),
                    orientation_wxyz=place.orientation_wxyz,
                    scale=scale,
                    tint_rgb=_tint(name, group.tint, draws),
                    group=group.name,
                    labelled=not group.distractor,
                )
            )
            break
    return objects, stand


class _Tries:
    """The places that the objects of one group try."""

    def __init__(
        self,
        group: ObjectGroup,
        scene: SceneContents,
        draws: Draws,
        on: dict[str, list[Support]],
    ) -> None:
        self._group = group
        self._draws = draws
        placement = group.placement
        self._supports = (
            on.get(placement.support, []) if isinstance(placement, OnTop | Shelf) else []
        )
        self._surface: UpperSide | None = None
        if isinstance(placement, Surface):
            triangles = scene.prim_triangles(placement.prim)
            self._surface = upper_side(triangles, placement.max_slope_deg)
        self._orders: dict[int, list[int]] = {}

    def candidate(self, index: int, attempt: int, size_m: Vector3) -> Candidate | None:
        """The place of one try of one object: the same whatever other tries and groups do."""
        group = f"objects.{self._group.name}"

        def draw(short: str, distribution: Real | None) -> float:
            return self._drawn(f"{group}.{index}.try{attempt}.{short}", distribution)

        def draw_once(short: str, distribution: Real | None) -> float:
            return self._drawn(f"{group}.placement.{short}", distribution)

        def slot(count: int, shuffled: bool) -> int | None:
            if index >= count:
                return None
            return self._order(count)[index] if shuffled else index

        return candidate(
            self._group.placement,
            Ask(
                index=index,
                size_m=size_m,
                draw=draw,
                draw_once=draw_once,
                supports=self._supports,
                slot=slot,
                surface=self._surface,
            ),
        )

    def _drawn(self, name: str, distribution: Real | None) -> float:
        if distribution is None:
            return self._draws.stream(name).uniform()
        return self._draws.real(name, distribution, keep=False)

    def _order(self, count: int) -> list[int]:
        """A permutation of so many places: by the random bits of each one."""
        if count not in self._orders:
            name = f"objects.{self._group.name}.place"
            bits = [self._draws.stream(f"{name}{place}").word() for place in range(count)]
            self._orders[count] = sorted(range(count), key=bits.__getitem__)
        return self._orders[count]


def _dropped(
    group: ObjectGroup,
    drop: Drop,
    scene: SceneContents,
    draws: Draws,
    *,
    on: dict[str, list[Support]],
    hanging: list[Hanging],
) -> list[PlacedObject]:
    """The objects of a group where they are let go."""
    objects: list[PlacedObject] = []
    regions = _regions(drop, scene, on)
    unfit = 0
    for index in _tried(group, draws):
        name = f"objects.{group.name}.{index}"
        asset, scale, size = _chosen(group, index, scene, draws)
        place = hang(
            drop, name=f"{name}.drop", size_m=size, draws=draws, regions=regions, others=hanging
        )
        if place is None:
            unfit += bool(regions)
            continue
        hanging.append(place)
        objects.append(
            PlacedObject(
                name=f"{group.name}_{index:02d}",
                asset=asset,
                position_m=place.position_m,
                orientation_wxyz=place.orientation_wxyz,
                scale=scale,
                tint_rgb=_tint(name, group.tint, draws),
                group=group.name,
                labelled=not group.distractor,
                fall=place.fall,
            )
        )
    draws.values[dropped_out(group.name)] = unfit
    return objects


def _regions(drop: Drop, scene: SceneContents, on: dict[str, list[Support]]) -> list[Footprint]:
    if isinstance(drop.into, Box):
        return [box_region(drop.into)]
    if is_prim_path(drop.into):
        return [bounds_region(*scene.prim_extent_m(drop.into))]
    return [support.footprint for support in on.get(drop.into, [])]


def _tried(group: ObjectGroup, draws: Draws) -> range:
    return range(int(draws.real(f"objects.{group.name}.tried", group.count)))


def _chosen(
    group: ObjectGroup, index: int, scene: SceneContents, draws: Draws
) -> tuple[str, float, Vector3]:
    """Asset, scale and extent with that scale of one object."""
    name = f"objects.{group.name}.{index}"
    assets = group.assets
    if group.balance is not None:
        labels = {str(one): scene.asset_label(str(one)) for one in assets.support()}
        assets = assets_of_classes(group, labels)[class_of_object(group, index, draws)]
    asset = draws.text(f"{name}.asset", assets, keep=False)
    scale = draws.real(f"{name}.scale", group.scale, keep=False)
    width, depth, height = scene.asset_size_m(asset)
    return asset, scale, (width * scale, depth * scale, height * scale)


def _settled(place: Candidate, size_m: Vector3, rugs: list[Footprint]) -> Footprint:
    """The footprint with its base on the floor, or on the highest rug under it."""
    flat = place.footprint(size_m, place.z)
    if not place.on_floor:
        return flat
    bottom = max([place.z, *(rug.top for rug in rugs if flat.covers(rug))])
    return place.footprint(size_m, bottom)


def _tint(name: str, tint: tuple[Real, Real, Real] | None, draws: Draws) -> Vector3 | None:
    if tint is None:
        return None
    red, green, blue = (
        draws.real(f"{name}.tint.{part}", one, keep=False)
        for part, one in zip(("r", "g", "b"), tint, strict=True)
    )
    return red, green, blue
