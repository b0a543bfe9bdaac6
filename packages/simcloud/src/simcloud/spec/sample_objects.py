"""Objects of a frame: chosen, counted and placed group by group.

Objects draw under ``objects.<group>.<i>.<field>``, places under ``….try<k>.<field>``: the k-th try
is the same whatever the other groups do, and the first one that is free is taken.
"""

from __future__ import annotations

from typing import Protocol

from simcloud.spec.distributions import Real, to_float32
from simcloud.spec.draws import Draws, yaw_quaternion
from simcloud.spec.model import Spec
from simcloud.spec.object_model import ObjectGroup, OnTop
from simcloud.spec.parameters import PlacedObject, Vector3
from simcloud.spec.placement import Candidate, Footprint, candidate


class SceneContents(Protocol):
    """What the sampler must know of a scene (``simcloud.scene.catalog.Catalog`` is one)."""

    def asset_size_m(self, name: str) -> Vector3:
        """Extent of a library asset in its own frame, metres."""
        ...

    def environment_texture(self, name: str) -> str:
        """Image of an environment, relative to the scene's root layer."""
        ...

    def background_picture(self, name: str) -> str:
        """Image of a background, relative to the scene's root layer."""
        ...


def sample_objects(spec: Spec, scene: SceneContents, draws: Draws) -> list[PlacedObject]:
    """Chooses, counts and places the objects of every group, free of interpenetration.

    Raises:
        InvalidRequest: an asset that the scene doesn't hold.
    """
    placed: dict[str, list[Footprint]] = {}
    by_group: dict[str, list[PlacedObject]] = {}
    taken: list[Footprint] = []
    rugs: list[Footprint] = []
    groups = spec.randomization.objects
    for group in sorted(groups, key=_placement_order):
        objects, footprints = _group(group, spec, scene, draws, taken=taken, rugs=rugs, on=placed)
        placed[group.name] = footprints
        by_group[group.name] = objects
        draws.values[f"objects.{group.name}.count"] = len(objects)
    # By name, so that the instance ids of a frame do not depend on the order of placing.
    return [item for name in sorted(by_group) for item in by_group[name]]


def _placement_order(group: ObjectGroup) -> tuple[bool, bool, int, str]:
    """Rugs first, then what stands on the floor or hangs, then what stands on something."""
    return isinstance(group.placement, OnTop), group.solid, group.priority, group.name


def _group(
    group: ObjectGroup,
    spec: Spec,
    scene: SceneContents,
    draws: Draws,
    *,
    taken: list[Footprint],
    rugs: list[Footprint],
    on: dict[str, list[Footprint]],
) -> tuple[list[PlacedObject], list[Footprint]]:
    objects: list[PlacedObject] = []
    footprints: list[Footprint] = []
    supports = on.get(group.placement.support, []) if isinstance(group.placement, OnTop) else []
    for index in range(int(draws.real(f"objects.{group.name}.tried", group.count, keep=False))):
        name = f"objects.{group.name}.{index}"
        asset = draws.text(f"{name}.asset", group.assets, keep=False)
        scale = draws.real(f"{name}.scale", group.scale, keep=False)
        width, depth, height = scene.asset_size_m(asset)
        size = (width * scale, depth * scale, height * scale)
        for attempt in range(group.attempts):
            place = _try(group, f"{name}.try{attempt}", size, draws, supports)
            if place is None:
                continue
            footprint = _settled(place, size, rugs if group.solid else [])
            if place.on_floor and not footprint.within(spec.randomization.region):
                continue
            others = taken if group.solid else rugs
            if any(footprint.collides(other, group.clearance_m) for other in others):
                continue
            others.append(footprint)
            footprints.append(footprint)
            tint = group.tint
            objects.append(
                PlacedObject(
                    name=f"{group.name}_{index:02d}",
                    asset=asset,
                    position_m=(place.x, place.y, to_float32(footprint.bottom)),
                    orientation_wxyz=yaw_quaternion(place.yaw_deg),
                    scale=scale,
                    tint_rgb=None if tint is None else _tint(name, tint, draws),
                )
            )
            break
    return objects, footprints


def _try(
    group: ObjectGroup,
    name: str,
    size_m: Vector3,
    draws: Draws,
    supports: list[Footprint],
) -> Candidate | None:
    def draw(short: str, distribution: Real | None) -> float:
        if distribution is None:
            return draws.stream(f"{name}.{short}").uniform()
        return draws.real(f"{name}.{short}", distribution, keep=False)

    return candidate(group.placement, size_m=size_m, draw=draw, supports=supports)


def _settled(place: Candidate, size_m: Vector3, rugs: list[Footprint]) -> Footprint:
    """The footprint with its base on the floor, or on the highest rug under it."""
    flat = place.footprint(size_m, place.z)
    if not place.on_floor:
        return flat
    bottom = max((rug.top for rug in rugs if flat.covers(rug)), default=place.z)
    return place.footprint(size_m, bottom)


def _tint(name: str, tint: tuple[Real, Real, Real], draws: Draws) -> Vector3:
    red, green, blue = (
        draws.real(f"{name}.tint.{part}", one, keep=False)
        for part, one in zip(("r", "g", "b"), tint, strict=True)
    )
    return red, green, blue
