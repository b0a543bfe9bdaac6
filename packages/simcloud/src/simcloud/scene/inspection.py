"""What a scene is, as it was understood: for people who bring their own, and before any work.

The translator itself is asked, so nothing here can be said that a picture would not show.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from simcloud.errors import InvalidRequest
from simcloud.scene.catalog import Catalog, read_catalog
from simcloud.scene.files import file_size, outer_path
from simcloud.scene.hints import hints_of
from simcloud.scene.inspected import (
    LISTED,
    InspectedAsset,
    InspectedCamera,
    InspectedLight,
    InspectedTexture,
    SceneInspection,
)
from simcloud.scene.limits import SceneLimits
from simcloud.scene.pictures import checked_header
from simcloud.scene.stage import NONSENSE, plain_words
from simcloud.scene.translate.reading import Reading
from simcloud.scene.translate.types import LOOK_PREFIX, NeutralScene, static_bounds
from simcloud.scene.translate.usd import translate
from simcloud.spec.parameters import Vector3


def inspect_stage(
    path: Path, *, root: Path | None = None, limits: SceneLimits | None = None
) -> SceneInspection:
    """Looks at a stage; what is wrong with it is in the answer.

    Untrusted stages are looked at in a process of their own: ``simcloud.scene.apart``.

    Args:
        path: the root layer.
        root: folder that every file must lie below; None: anywhere.
        limits: bounds; the defaults when None.
    """
    limits = limits or SceneLimits()
    try:
        _check_size(path, limits)
        scene, reading = translate(path, root=root, limits=limits)
        catalog = None if reading.problems else read_catalog(path)
    except InvalidRequest as error:
        return SceneInspection(stage=str(path), problems=(error.problem,))
    except NONSENSE as error:
        problem = f"{path} cannot be read: {plain_words(error)}"
        return SceneInspection(stage=str(path), problems=(problem,))
    return _report(path, _Found(scene, reading, catalog), limits)


def _check_size(path: Path, limits: SceneLimits) -> None:
    if path.is_file() and path.stat().st_size > limits.max_bytes:
        raise InvalidRequest(
            "scene",
            f"{path} has {path.stat().st_size} bytes, at most {limits.max_bytes} are taken "
            "(scene_limits.max_bytes)",
        )


def _textures(reading: Reading, folder: Path, limits: SceneLimits) -> tuple[InspectedTexture, ...]:
    found: list[InspectedTexture] = []
    total = 0
    for use in reading.textures.values():
        try:
            where = f"{use.prim} names the texture {use.path}"
            header = checked_header(use.path, where, limits, environment=use.environment)
        except InvalidRequest as error:
            reading.problem(error)
            continue
        total += header.pixels
        found.append(
            InspectedTexture(
                path=_relative(use.path, folder),
                prim=use.prim,
                kind=header.kind,
                width_px=header.width_px,
                height_px=header.height_px,
                size_bytes=file_size(use.path),
            )
        )
    if total > limits.max_texture_total_px:
        reading.problem(
            f"all textures together have {total} pixels, at most {limits.max_texture_total_px} are "
            "taken (scene_limits.max_texture_total_px): make them smaller, or raise the limit"
        )
    return tuple(sorted(found, key=lambda texture: texture.path))


@dataclass(frozen=True, slots=True)
class _Found:
    scene: NeutralScene
    reading: Reading
    catalog: Catalog | None


def _report(path: Path, found: _Found, limits: SceneLimits) -> SceneInspection:
    scene, reading, catalog = found.scene, found.reading, found.catalog
    textures = _textures(reading, path.resolve().parent, limits)
    facts = reading.facts
    assert facts is not None  # the stage was opened
    files = {*map(Path, facts.layers), *(outer_path(use.path) for use in reading.textures.values())}
    total = sum(file.stat().st_size for file in files)
    _check_files(reading, len(files), total, limits)
    return SceneInspection(
        stage=str(path),
        up_axis=facts.up_axis,
        metres_per_unit=facts.metres_per_unit,
        default_prim=facts.default_prim,
        meshes=len(scene.static) + sum(len(asset.meshes) for asset in scene.assets.values()),
        triangles=sum(len(mesh.faces) for mesh in scene.static),
        size_m=_size(scene),
        materials=tuple(sorted(m for m in scene.materials if not m.startswith(LOOK_PREFIX)))[
            :LISTED
        ],
        textures=textures[:LISTED],
        lights=_lights(scene)[:LISTED],
        cameras=_cameras(scene)[:LISTED],
        assets=_assets(scene, catalog)[:LISTED],
        environments=tuple(sorted(catalog.environment_names)) if catalog else (),
        backgrounds=tuple(item.name for item in catalog.backgrounds) if catalog else (),
        labels={
            **dict.fromkeys(scene.classes, 0),
            **Counter(prim.label for prim in scene.labelled),
        },
        files=len(files),
        total_bytes=total,
        unsupported=scene.unsupported[:LISTED],
        hints=hints_of(scene, catalog),
        problems=tuple(reading.problems)[:LISTED],
    )


def _check_files(reading: Reading, files: int, total: int, limits: SceneLimits) -> None:
    for found, most, what, setting in (
        (files, limits.max_files, "files", "max_files"),
        (total, limits.max_bytes, "bytes", "max_bytes"),
    ):
        if found > most:
            reading.problem(
                f"the scene has {found} {what}, at most {most} are taken (scene_limits.{setting})"
            )


def _size(scene: NeutralScene) -> Vector3 | None:
    bounds = static_bounds(scene)
    if bounds is None:
        return None
    low, high = bounds
    return float(high[0] - low[0]), float(high[1] - low[1]), float(high[2] - low[2])


def _lights(scene: NeutralScene) -> tuple[InspectedLight, ...]:
    area = [InspectedLight(item.path, "area", item.radiance) for item in scene.mesh_lights]
    distant = [
        InspectedLight(item.path, "distant", item.irradiance) for item in scene.distant_lights
    ]
    domes = [InspectedLight(item.path, "dome", item.color) for item in scene.environments]
    return (*area, *distant, *domes)


def _cameras(scene: NeutralScene) -> tuple[InspectedCamera, ...]:
    def degrees(aperture: float, focal: float) -> float:
        return float(np.degrees(2 * np.arctan(aperture / 2 / focal)))

    return tuple(
        InspectedCamera(
            path=camera.path,
            horizontal_fov_deg=degrees(camera.horizontal_aperture_mm, camera.focal_length_mm),
            vertical_fov_deg=degrees(camera.vertical_aperture_mm, camera.focal_length_mm),
            position_m=(
                camera.cam2world[0][3],
                camera.cam2world[1][3],
                camera.cam2world[2][3],
            ),
        )
        for camera in sorted(scene.cameras, key=lambda camera: camera.path)
    )


def _assets(scene: NeutralScene, catalog: Catalog | None) -> tuple[InspectedAsset, ...]:
    if catalog is None:
        return ()
    return tuple(
        InspectedAsset(
            name=asset.name,
            label=asset.label,
            size_m=asset.bounds.size_m,
            base_m=asset.base_m,
            placement=asset.placement,
            triangles=sum(len(mesh.faces) for mesh in scene.assets[asset.name].meshes),
        )
        for asset in catalog.assets
        if asset.name in scene.assets
    )


def _relative(path: str, folder: Path) -> str:
    outer = outer_path(path)
    return Path(os.path.relpath(outer, folder)).as_posix() + path[len(str(outer)) :]
