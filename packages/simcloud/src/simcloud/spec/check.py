"""Does a spec fit its scene? Every name that could ever be drawn is looked up before any work."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from simcloud.spec.model import Spec
from simcloud.spec.placement_model import stage_prims
from simcloud.spec.references import resolved

_SHOWN = 60
"""Names listed in a message."""


class SceneNames(Protocol):
    """The names that a spec may use (``simcloud.scene.catalog.Catalog`` has them)."""

    @property
    def asset_names(self) -> frozenset[str]:
        """Names below /Library."""
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

    @property
    def geometry_paths(self) -> frozenset[str]:
        """Paths of prims that a material can be bound to."""
        ...


def check_against_scene(spec: Spec, scene: SceneNames) -> list[tuple[str, str]]:
    """Every reason why a spec does not fit its scene, as (field, what is wrong)."""
    return list(_problems(resolved(spec), scene))


def _problems(spec: Spec, scene: SceneNames) -> Iterator[tuple[str, str]]:
    part = spec.randomization
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
        field = f"randomization.materials[{index}]"
        paths = choice.material.support()
        yield from _missing(f"{field}.material", "material", paths, scene.material_paths)
        yield from _missing(f"{field}.prims", "geometry prim", choice.prims, scene.geometry_paths)
    for index, group in enumerate(part.objects):
        field = f"randomization.objects[{index}].assets"
        yield from _missing(field, "asset", group.assets.support(), scene.asset_names)
        prims = stage_prims(group.placement)
        field = f"randomization.objects[{index}].placement"
        yield from _missing(field, "geometry prim", prims, scene.geometry_paths)
    if not part.objects and not scene.geometry_paths:
        yield "scene", "is empty: the stage has no geometry below its default prim, nor objects"


def _missing(
    field: str, kind: str, wanted: Iterable[object], known: frozenset[str]
) -> Iterator[tuple[str, str]]:
    for name in wanted:
        if name not in known:
            some = ", ".join(sorted(known)[:_SHOWN]) or "none"
            yield field, f"the scene has no {kind} {name!r}; it has: {some}"
