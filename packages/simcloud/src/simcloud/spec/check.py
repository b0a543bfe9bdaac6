"""Does a spec fit its scene? Every name that could ever be drawn is looked up before any work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from simcloud.errors import InvalidRequest
from simcloud.spec.balance import assets_of_classes
from simcloud.spec.camera_model import OfStage
from simcloud.spec.drop_fit import too_large
from simcloud.spec.material_model import MaterialChoice, materials_of
from simcloud.spec.model import Spec
from simcloud.spec.object_model import ObjectGroup
from simcloud.spec.parameters import Vector3
from simcloud.spec.placement_model import stage_prims
from simcloud.spec.references import resolved
from simcloud.spec.sample_materials import check_inside

_SHOWN = 60
"""Names listed in a message."""


class SceneNames(Protocol):
    """The names that a spec may use (``simcloud.scene.catalog.Catalog`` has them)."""

    @property
    def asset_names(self) -> frozenset[str]:
        """Names below /Library."""
        ...

    def asset_size_m(self, name: str) -> Vector3:
        """Extent of a library asset in its own frame, metres."""
        ...

    def prim_extent_m(self, path: str) -> tuple[Vector3, Vector3]:
        """Corners of the box around a prim of the stage, world frame, metres."""
        ...

    def asset_label(self, name: str) -> str | None:
        """Class of an asset; None without one."""
        ...

    @property
    def environment_names(self) -> frozenset[str]:
        """Names below /Environments."""
        ...

    @property
    def background_names(self) -> frozenset[str]:
        """Names below /Backgrounds."""
        ...

    @property
    def material_paths(self) -> frozenset[str]:
        """Paths of materials."""
        ...

    def picture_problem(self, path: str) -> str | None:
        """Why a picture, by its path relative to the root layer, can't be drawn; None: it can."""
        ...

    @property
    def geometry_paths(self) -> frozenset[str]:
        """Paths of prims that a material can be bound to."""
        ...

    @property
    def camera_paths(self) -> frozenset[str]:
        """Paths of cameras that can see."""
        ...

    def blind_camera(self, path: str) -> str | None:
        """Why a camera of the stage cannot see; None for every other prim."""
        ...


def check_against_scene(spec: Spec, scene: SceneNames) -> list[tuple[str, str]]:
    """Every reason why a spec does not fit its scene, as (field, what is wrong)."""
    return list(_problems(resolved(spec), scene))


def _problems(spec: Spec, scene: SceneNames) -> Iterator[tuple[str, str]]:
    part = spec.randomization
    for index, camera in enumerate(spec.cameras):
        if isinstance(camera.placement, OfStage):
            yield from _blind(f"cameras[{index}].placement.prim", camera.placement, scene)
    if part.dome is not None:
        names = part.dome.environments.support()
        yield from _missing(
            "randomization.dome.environments", "environment", names, scene.environment_names
        )
    if part.backgrounds is not None and spec.renderer.mode == "composite":
        names = part.backgrounds.pictures.support()
        yield from _missing(
            "randomization.backgrounds.pictures", "background", names, scene.background_names
        )
    for index, choice in enumerate(part.materials):
        yield from _unfit(f"randomization.materials[{index}]", choice, spec, scene)
    for index, group in enumerate(part.objects):
        field = f"randomization.objects[{index}].assets"
        missing = list(_missing(field, "asset", group.assets.support(), scene.asset_names))
        yield from missing
        if group.balance is not None and not missing:
            yield from _unbalanced(group, scene)
        prims = stage_prims(group.placement)
        field = f"randomization.objects[{index}].placement"
        yield from _missing(field, "geometry prim", prims, scene.geometry_paths)
    yield from too_large(part.objects, scene, scene.asset_names)
    if not part.objects and not scene.geometry_paths:
        yield "scene", "is empty: the stage has no geometry below its default prim, nor objects"


def _blind(field: str, placement: OfStage, scene: SceneNames) -> Iterator[tuple[str, str]]:
    for path in map(str, placement.prim.support()):
        if reason := scene.blind_camera(path):
            yield field, f"the camera {path} cannot see: {reason}"
        else:
            yield from _missing(field, "camera", [path], scene.camera_paths)


def _unfit(
    field: str, choice: MaterialChoice, spec: Spec, scene: SceneNames
) -> Iterator[tuple[str, str]]:
    if choice.material is not None:
        paths = choice.material.support()
        yield from _missing(f"{field}.material", "material", paths, scene.material_paths)
    yield from _missing(f"{field}.prims", "geometry prim", choice.prims, scene.geometry_paths)
    for position, pattern in enumerate(choice.of or ()):
        if not materials_of([pattern], scene.material_paths):
            where = f"{field}.of[{position}]"
            yield from _missing(where, "material", [pattern], scene.material_paths)
    for texture in () if choice.texture is None else choice.texture.support():
        try:
            check_inside(str(texture), spec.scene.root, f"{field}.texture")
        except InvalidRequest as error:
            yield error.field, error.problem
            continue
        if problem := scene.picture_problem(str(texture)):
            yield f"{field}.texture", problem


def _unbalanced(group: ObjectGroup, scene: SceneNames) -> Iterator[tuple[str, str]]:
    try:
        assets_of_classes(
            group, {str(name): scene.asset_label(str(name)) for name in group.assets.support()}
        )
    except InvalidRequest as error:
        yield error.field, error.problem


def _missing(
    field: str, kind: str, wanted: Iterable[object], known: frozenset[str]
) -> Iterator[tuple[str, str]]:
    for name in wanted:
        if name not in known:
            some = ", ".join(sorted(known)[:_SHOWN]) or "none"
            yield field, f"the scene has no {kind} {name!r}; it has: {some}"
