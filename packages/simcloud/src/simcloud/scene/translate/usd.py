"""OpenUSD stage to neutral scene: walks the prims and hands each kind to its reader."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from simcloud.errors import InvalidRequest
from simcloud.geometry import Float64, affine_inverse
from simcloud.scene.cameras import read_camera
from simcloud.scene.limits import SceneLimits
from simcloud.scene.semantics import asset_label, nearest_label, own_label
from simcloud.scene.stage import (
    NONSENSE,
    PICTURE_ATTRIBUTE,
    background_prims,
    drawn_prims,
    environment_prims,
    gf_matrix,
    library_prims,
    normalization,
    open_stage,
    plain_words,
)
from simcloud.scene.stage import value as value_of
from simcloud.scene.translate import lights
from simcloud.scene.translate.census import take_census
from simcloud.scene.translate.gprims import read_gprim
from simcloud.scene.translate.instancers import (
    MAX_LABELLED,
    determinants,
    read_instancer,
    relative_matrix,
)
from simcloud.scene.translate.materials import read_material
from simcloud.scene.translate.meshes import IMPLICIT_SHAPES
from simcloud.scene.translate.reading import Reading, stage_facts
from simcloud.scene.translate.textures import texture_path
from simcloud.scene.translate.types import (
    Asset,
    DistantLight,
    Environment,
    LabelledPrim,
    Material,
    MeshLight,
    NeutralScene,
    SceneMesh,
)
from simcloud.spec.scene_camera import SceneCamera

SILENT_TYPES = frozenset(
    {"", "Xform", "Scope", "Material", "Shader", "NodeGraph", "GeomSubset", "RenderSettings"}
)
"""Prims that hold nothing to draw, or are read through another prim."""


def read_scene(
    path: Path, *, root: Path | None = None, limits: SceneLimits | None = None
) -> NeutralScene:
    """Reads a stage with its library.

    Args:
        path: the stage's root layer.
        root: folder that every file must lie below; None: anywhere.
        limits: bounds that are checked before anything is expanded; None: a scene that was
            looked at before.

    Raises:
        InvalidRequest: the stage, or something in it, cannot be read; every prim is named.
    """
    scene, reading = translate(path, root=root, limits=limits)
    reading.raise_problems()
    return scene


def translate(
    path: Path, *, root: Path | None = None, limits: SceneLimits | None = None
) -> tuple[NeutralScene, Reading]:
    """Reads a stage as far as it can be read, with notes of what is odd and what is wrong.

    Args:
        path: the stage's root layer.
        root: folder that every file must lie below; None: anywhere.
        limits: bounds that are checked before anything is expanded.

    Raises:
        InvalidRequest: it is no stage, does not compose, or goes beyond a limit.
    """
    stage = open_stage(path, root)
    if limits is not None:
        take_census(stage, limits)
    notes = Reading(root.resolve() if root is not None else None, facts=stage_facts(stage))
    reader = SceneReader(stage, notes)
    reader.walk(stage.GetPseudoRoot())
    assets = {}
    for prim in library_prims(stage):
        asset = reader.asset(prim)
        if asset is not None:
            assets[asset.name] = asset
    content, reading = reader.content, reader.reading
    for prim in environment_prims(stage):
        texture_path(prim, prim.GetAttribute("inputs:texture:file"), reading, environment=True)
    for prim in background_prims(stage):
        texture_path(prim, prim.GetAttribute(PICTURE_ATTRIBUTE), reading)
    labelled = reader.labelled_prims()
    if len(labelled) > MAX_LABELLED:
        reading.problem(f"{len(labelled)} labelled prims; at most {MAX_LABELLED}")
    for extra in content.environments[1:]:
        reading.warnings.add(
            f"{extra.path}: a second dome light; only {content.environments[0].path} shines"
        )
    classes = {prim.label for prim in labelled}
    classes |= {asset.label for asset in assets.values() if asset.label is not None}
    scene = NeutralScene(
        root=str(path.resolve()),
        static=tuple(content.meshes),
        labelled=labelled,
        assets=assets,
        materials=reader.materials,
        mesh_lights=tuple(content.mesh_lights),
        distant_lights=tuple(content.distant_lights),
        environments=tuple(content.environments),
        cameras=tuple(content.cameras),
        classes=tuple(sorted(classes)),
        unsupported=tuple(sorted(reading.warnings)),
    )
    return scene, reading


@dataclass(slots=True)
class Content:
    """What a walk has found."""

    meshes: list[SceneMesh] = field(default_factory=list)
    mesh_lights: list[MeshLight] = field(default_factory=list)
    distant_lights: list[DistantLight] = field(default_factory=list)
    environments: list[Environment] = field(default_factory=list)
    cameras: list[SceneCamera] = field(default_factory=list)
    instances: dict[str, tuple[str, Float64]] = field(default_factory=dict)
    """Labelled instances of PointInstancers: path to label and local2world, in stage units."""


class SceneReader:
    """State of one reading: materials and notes so far, and the stage's normalisation."""

    def __init__(self, stage: Any, reading: Reading) -> None:
        from pxr import Usd, UsdGeom

        self.stage = stage
        self.reading = reading
        self.normalization = normalization(stage)
        self.materials: dict[str, Material] = {}
        self.content = Content()
        self._transforms = UsdGeom.XformCache(Usd.TimeCode.EarliestTime())

    def local2world(self, prim: Any) -> Float64:
        """(4, 4) from the prim's frame, in its own units, to our world.

        Raises:
            InvalidRequest: the transform holds values that are not finite.
        """
        matrix = gf_matrix(self._transforms.GetLocalToWorldTransform(prim))
        if not np.isfinite(matrix).all():
            raise InvalidRequest("scene", f"the transform of {prim.GetPath()} is not finite")
        return self.normalization @ matrix

    def relative(self, prim: Any, ancestor: Any) -> Float64:
        """(4, 4) from the prim's frame to that of a prim above it.

        Raises:
            InvalidRequest: the transform holds values that are not finite.
        """
        matrix = relative_matrix(self._transforms, prim, ancestor)
        if not np.isfinite(matrix).all():
            raise InvalidRequest("scene", f"the transform of {prim.GetPath()} is not finite")
        return matrix

    def walk(self, root: Any, *, abstract: bool = False) -> None:
        """Reads everything below ``root`` into :attr:`content`; what is broken is noted.

        Args:
            root: where to start.
            abstract: whether class prims count, as in the library.
        """
        for prim in drawn_prims(root, abstract=abstract):
            try:
                self._read(prim)
            except InvalidRequest as error:
                self.reading.problem(error)
            except NONSENSE as error:
                self.reading.problem(f"{prim.GetPath()} cannot be read: {plain_words(error)}")

    def _read(self, prim: Any) -> None:
        kind = str(prim.GetTypeName())
        self._name_motion(prim)
        if kind in SILENT_TYPES:
            if kind == "Material":
                self.material(prim)  # frames may bind what the stage itself does not
            return
        local2world = self.local2world(prim) if _is_placed(prim) else self.normalization
        if kind == "PointInstancer":
            self._instancer(prim, local2world)
        elif kind == "Camera":
            self._camera(prim, local2world)
        elif kind == "Mesh" or kind in IMPLICIT_SHAPES:
            found = nearest_label(prim)
            owner = str(found[0].GetPath()) if found is not None else None
            self.content.meshes += read_gprim(self, prim, local2world, owner)
        elif self.is_light(prim):
            self._light(prim, kind, local2world)
        elif not kind.startswith("Physics"):
            self.reading.warn(prim, f"prims of type {kind}")

    def is_light(self, prim: Any) -> bool:
        """Whether the prim is a light of a kind that is drawn."""
        kind = str(prim.GetTypeName())
        return kind in (*lights.AREA_LIGHTS, "DistantLight", *lights.DOME_LIGHTS)

    def _light(self, prim: Any, kind: str, local2world: Float64) -> None:
        content, reading = self.content, self.reading
        if kind in lights.AREA_LIGHTS:
            content.mesh_lights.append(lights.area_light(prim, local2world, reading))
        elif kind == "DistantLight":
            content.distant_lights.append(lights.distant_light(prim, local2world, reading))
        else:
            content.environments.append(lights.environment(prim, local2world, reading))

    def _instancer(self, prim: Any, local2world: Float64) -> None:
        found = nearest_label(prim)
        owner = str(found[0].GetPath()) if found is not None else None
        instances = read_instancer(self, prim, local2world)
        self.content.meshes += [
            mesh if mesh.owner is not None or owner is None else replace(mesh, owner=owner)
            for mesh in instances.meshes
        ]
        self.content.instances |= instances.labels

    def _camera(self, prim: Any, local2world: Float64) -> None:
        from pxr import UsdGeom

        if str(value_of(UsdGeom.Camera(prim).GetProjectionAttr())) != "perspective":
            self.reading.warn(prim, "orthographic cameras are read as perspective ones")
        unit = float(np.sqrt((self.normalization[:3, 0] ** 2).sum()))
        try:
            self.content.cameras.append(read_camera(prim, local2world, unit))
        except InvalidRequest as error:  # no frame needs it unless a spec asks for it by name
            self.reading.warn(prim, f"a camera that cannot see is left out: {error.problem}")

    def _name_motion(self, prim: Any) -> None:
        from pxr import UsdGeom

        placed = UsdGeom.Xformable(prim)
        moving = bool(placed) and placed.TransformMightBeTimeVarying()
        points = prim.GetAttribute("points") if prim.GetTypeName() == "Mesh" else None
        if moving or (points and points.ValueMightBeTimeVarying()):
            self.reading.warn(prim, "motion: the earliest time sample is drawn")

    def material(self, prim: Any) -> Material:
        """The neutral material of a UsdShade.Material prim, read once."""
        key = str(prim.GetPath())
        if key not in self.materials:
            self.materials[key] = read_material(prim, self.reading)
        return self.materials[key]

    def asset(self, prim: Any) -> Asset | None:
        """A class prim of the library as an asset; None, and a problem, without geometry."""
        outer, self.content = self.content, Content()
        try:
            self.walk(prim, abstract=True)
            found = self.content
        finally:
            self.content = outer
        if found.mesh_lights or found.distant_lights or found.environments:
            self.reading.warn(prim, "lights inside library assets")
        if found.instances:
            self.reading.warn(prim, "labels of instances inside library assets")
        if not found.meshes:
            self.reading.problem(f"{prim.GetPath()} has no geometry to place")
            return None
        low = np.min([mesh.vertices.min(axis=0) for mesh in found.meshes], axis=0)
        high = np.max([mesh.vertices.max(axis=0) for mesh in found.meshes], axis=0)
        return Asset(
            name=str(prim.GetName()),
            label=asset_label(prim),
            meshes=tuple(found.meshes),
            minimum=(float(low[0]), float(low[1]), float(low[2])),
            maximum=(float(high[0]), float(high[1]), float(high[2])),
        )

    def labelled_prims(self) -> tuple[LabelledPrim, ...]:
        """The prims and instances that own static geometry, ordered by path."""
        owners = sorted({mesh.owner for mesh in self.content.meshes if mesh.owner is not None})
        named: list[tuple[str, str]] = []
        frames: list[Float64] = []
        for path in owners:
            try:
                label, frame = self._owner(path)
            except InvalidRequest as error:
                self.reading.problem(error)
                continue
            named.append((path, label))
            frames.append(frame)
        if not named:
            return ()
        stacked = np.stack(frames)
        regular = determinants(stacked)
        # at once: for each of thousands of instances alone it takes longer than all the rest
        placed = (stacked @ affine_inverse(self.normalization)).astype(np.float32).tolist()
        result = []
        for (path, label), determinant, matrix in zip(named, regular, placed, strict=True):
            if not np.isfinite(determinant) or determinant == 0:  # boxes are measured in it
                self.reading.problem(
                    f"{path} is labelled, and its transform cannot be inverted: give it a scale "
                    "other than zero"
                )
                continue
            one, two, three, four = (tuple(row) for row in matrix)
            result.append(LabelledPrim(path, label, local2world=(one, two, three, four)))
        return tuple(result)

    def _owner(self, path: str) -> tuple[str, Float64]:
        found = self.content.instances.get(path)
        if found is not None:
            return found
        prim = self.stage.GetPrimAtPath(path)
        label = own_label(prim)
        assert label is not None
        return label, self.local2world(prim)


def _is_placed(prim: Any) -> bool:
    from pxr import UsdGeom

    return bool(UsdGeom.Imageable(prim))
