"""What in a scene is allowed and probably not meant."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simcloud.scene.catalog import Catalog
from simcloud.scene.translate.types import NeutralScene, static_bounds

LARGE_M = 1000.0
SMALL_M = 0.01
OFF_BASE_SHARE = 0.05
"""Distance of an asset's origin from the centre of its base, relative to its size."""
MANY_TRIANGLES = 5_000_000


def hints_of(scene: NeutralScene, catalog: Catalog | None) -> tuple[str, ...]:
    """Each with what to do about it."""
    return (*_size_hints(scene), *_content_hints(scene, catalog), *_asset_hints(catalog))


def _size_hints(scene: NeutralScene) -> Iterator[str]:
    bounds = static_bounds(scene)
    if bounds is None:
        return
    longest = float((bounds[1] - bounds[0]).max())
    if longest > LARGE_M or longest < SMALL_M:
        yield (
            f"the stage is {longest:.4g} m across: set metersPerUnit to the unit that it was "
            "modelled in (0.01 for centimetres, USD's default; 1 for metres)"
        )
    triangles = sum(len(mesh.faces) for mesh in scene.static)
    if triangles > MANY_TRIANGLES:
        yield f"{triangles} triangles in every frame: simplify what the camera cannot resolve"


def _content_hints(scene: NeutralScene, catalog: Catalog | None) -> Iterator[str]:
    if not scene.static and not scene.assets:
        yield "there is nothing to draw: no geometry below the default prim, and no /Library"
    if not scene.classes:
        yield (
            "nothing is labelled: put UsdSemantics labels, taxonomy `class`, on prims, or masks "
            "and boxes stay empty"
        )
    shining = any(any(material.emissive) for material in scene.materials.values())
    to_choose = catalog is not None and catalog.environments
    lit = scene.mesh_lights or scene.distant_lights or scene.environments
    if not (lit or shining or to_choose):
        yield "the stage has no light: give the spec a dome or lights, or pictures stay black"


def _asset_hints(catalog: Catalog | None) -> Iterator[str]:
    for asset in catalog.assets if catalog is not None else ():
        off = float(np.sqrt(sum(value * value for value in asset.base_m)))
        if off > OFF_BASE_SHARE * max(asset.bounds.size_m):
            yield (
                f"/Library/{asset.name}: its origin is {off:.3g} m from the centre of its base, so "
                "it will stand beside or above where it is placed"
            )
        if asset.label is None:
            yield f"/Library/{asset.name} has no label: it hides other things and is never labelled"
