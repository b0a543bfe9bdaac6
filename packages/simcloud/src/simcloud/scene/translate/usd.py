"""OpenUSD stage to neutral scene: walks the prims and hands each kind to its reader."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from simcloud.errors import InvalidRequest
from simcloud.geometry import Float64, affine_inverse, as_matrix4
from simcloud.scene.cameras import SceneCamera, read_camera
from simcloud.scene.catalog import asset_label
from simcloud.scene.semantics import nearest_label, own_label
from simcloud.scene.stage import (
    OBJECTS_ROOT,
    gf_matrix,
    library_prims,
    normalization,
    open_stage,
)
from simcloud.scene.translate import lights
from simcloud.scene.translate.gprims import read_gprim
from simcloud.scene.translate.instancers import expand_instancer
from simcloud.scene.translate.materials import read_material
from simcloud.scene.translate.meshes import IMPLICIT_SHAPES
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

SILENT_TYPES = frozenset(
    {"", "Xform", "Scope", "Material", "Shader", "NodeGraph", "GeomSubset", "RenderSettings"}
)
"""Prims that hold nothing to draw, or are read through another prim."""

MAX_LABELLED = 65_533
"""Instance ids are uint16, and 0 and 1 are taken."""


def read_scene(path: Path) -> NeutralScene:
    """Reads a stage with its library.

    Args:
        path: the stage's root layer.

    Raises:
        InvalidRequest: the stage, or something in it, cannot be read; the prim is named.
    """
    stage = open_stage(path)
    reader = SceneReader(stage)
    reader.walk(stage.GetPseudoRoot())
    assets = {str(prim.GetName()): reader.asset(prim) for prim in library_prims(stage)}
    content = reader.content
    labelled = reader.labelled_prims()
    if len(labelled) > MAX_LABELLED:
        raise InvalidRequest("scene", f"{len(labelled)} labelled prims; at most {MAX_LABELLED}")
    classes = {prim.label for prim in labelled}
    classes |= {asset.label for asset in assets.values() if asset.label is not None}
    return NeutralScene(
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
        unsupported=tuple(sorted(reader.warnings)),
    )


@dataclass(slots=True)
class Content:
    """What a walk has found."""

    meshes: list[SceneMesh] = field(default_factory=list)
    mesh_lights: list[MeshLight] = field(default_factory=list)
    distant_lights: list[DistantLight] = field(default_factory=list)
    environments: list[Environment] = field(default_factory=list)
    cameras: list[SceneCamera] = field(default_factory=list)


class SceneReader:
    """State of one reading: materials and warnings so far, and the stage's normalisation."""

    def __init__(self, stage: Any) -> None:
        from pxr import Usd, UsdGeom

        self.stage = stage
        self.normalization = normalization(stage)
        self.materials: dict[str, Material] = {}
        self.warnings: set[str] = set()
        self.content = Content()
        time = Usd.TimeCode.EarliestTime()
        self._transforms = UsdGeom.XformCache(time)

    def warn(self, prim: Any, what: str) -> None:
        """Notes what was not understood; the same thing counts once."""
        self.warnings.add(f"{prim.GetPath()}: {what}")

    def local2world(self, prim: Any) -> Float64:
        """(4, 4) from the prim's frame, in its own units, to our world.

        Raises:
            InvalidRequest: the transform holds values that are not finite.
        """
        matrix = gf_matrix(self._transforms.GetLocalToWorldTransform(prim))
        if not np.isfinite(matrix).all():
            raise InvalidRequest("scene", f"the transform of {prim.GetPath()} is not finite")
        return self.normalization @ matrix

    def walk(self, root: Any, *, abstract: bool = False) -> None:
        """Reads everything below ``root`` into :attr:`content`.

        Args:
            root: where to start.
            abstract: whether class prims count, as in the library.
        """
        from pxr import Usd, UsdGeom

        predicate = Usd.PrimIsActive & Usd.PrimIsLoaded & Usd.PrimIsDefined
        if not abstract:
            predicate &= ~Usd.PrimIsAbstract
        # its iterator can prune, the range itself cannot
        prims = iter(Usd.PrimRange(root, Usd.TraverseInstanceProxies(predicate)))
        for prim in prims:
            if str(prim.GetPath()) == OBJECTS_ROOT or _hidden(prim):
                prims.PruneChildren()
                continue
            if prim.GetTypeName() == "PointInstancer":
                prims.PruneChildren()
                expand_instancer(self, prim)
            elif prim.GetTypeName() == "Material":
                self.material(prim)  # frames may bind what the stage itself does not
            elif prim.IsA(UsdGeom.Camera):
                self.camera(prim)
            else:
                self.read(prim, self.local2world(prim))

    def camera(self, prim: Any) -> None:
        """Reads a camera."""
        from pxr import UsdGeom

        if str(UsdGeom.Camera(prim).GetProjectionAttr().Get()) != "perspective":
            self.warn(prim, "orthographic cameras are read as perspective ones")
        unit = float(np.sqrt((self.normalization[:3, 0] ** 2).sum()))
        self.content.cameras.append(read_camera(prim, self.local2world(prim), unit))

    def read(self, prim: Any, local2world: Float64) -> None:
        """Reads one prim that stands at ``local2world``."""
        kind = str(prim.GetTypeName())
        if kind == "Mesh" or kind in IMPLICIT_SHAPES:
            found = nearest_label(prim)
            owner = str(found[0].GetPath()) if found is not None else None
            self.content.meshes += read_gprim(self, prim, local2world, owner)
        elif kind in lights.AREA_LIGHTS:
            self.content.mesh_lights.append(lights.area_light(prim, local2world, self.warn))
        elif kind == "DistantLight":
            self.content.distant_lights.append(lights.distant_light(prim, local2world, self.warn))
        elif kind in lights.DOME_LIGHTS:
            self.content.environments.append(lights.environment(prim, local2world, self.warn))
        elif kind not in SILENT_TYPES and not kind.startswith("Physics"):
            self.warn(prim, f"prims of type {kind}")

    def material(self, prim: Any) -> Material:
        """The neutral material of a UsdShade.Material prim, read once."""
        key = str(prim.GetPath())
        if key not in self.materials:
            self.materials[key] = read_material(prim, self.warn)
        return self.materials[key]

    def asset(self, prim: Any) -> Asset:
        """A class prim of the library as an asset.

        Raises:
            InvalidRequest: it has no geometry.
        """
        outer, self.content = self.content, Content()
        try:
            self.walk(prim, abstract=True)
            meshes = tuple(self.content.meshes)
            if self.content.mesh_lights or self.content.distant_lights:
                self.warn(prim, "lights inside library assets")
        finally:
            self.content = outer
        if not meshes:
            raise InvalidRequest("scene", f"{prim.GetPath()} has no geometry to place")
        low = np.min([mesh.vertices.min(axis=0) for mesh in meshes], axis=0)
        high = np.max([mesh.vertices.max(axis=0) for mesh in meshes], axis=0)
        return Asset(
            name=str(prim.GetName()),
            label=asset_label(prim),
            meshes=meshes,
            minimum=(float(low[0]), float(low[1]), float(low[2])),
            maximum=(float(high[0]), float(high[1]), float(high[2])),
        )

    def labelled_prims(self) -> tuple[LabelledPrim, ...]:
        """The prims that own static geometry, ordered by path."""
        owners = sorted({mesh.owner for mesh in self.content.meshes if mesh.owner is not None})
        result = []
        for path in owners:
            prim = self.stage.GetPrimAtPath(path)
            label = own_label(prim)
            assert label is not None
            frame = self.local2world(prim) @ affine_inverse(self.normalization)
            result.append(LabelledPrim(path=path, label=label, local2world=as_matrix4(frame)))
        return tuple(result)


def _hidden(prim: Any) -> bool:
    from pxr import UsdGeom

    if not prim.IsA(UsdGeom.Imageable):
        return False
    imageable = UsdGeom.Imageable(prim)
    if str(imageable.GetVisibilityAttr().Get()) == "invisible":
        return True
    return str(imageable.ComputePurpose()) in {"guide", "proxy"}
