"""Reads the catalog of a stage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from simcloud.errors import InvalidRequest
from simcloud.geometry import Float64, float32, transform_points
from simcloud.scene.cameras import read_camera
from simcloud.scene.catalog import Catalog
from simcloud.scene.catalog_items import (
    Bounds,
    CatalogAsset,
    CatalogBackground,
    CatalogEnvironment,
)
from simcloud.scene.semantics import asset_label, nearest_label, own_label
from simcloud.scene.stage import (
    PICTURE_ATTRIBUTE,
    ROOM_ROOT,
    background_prims,
    drawn_prims,
    environment_prims,
    gf_matrix,
    library_prims,
    normalization,
    value,
)
from simcloud.spec.scene_camera import SceneCamera

PLACEMENT_KEY = "simcloud:placement"
LEVELS_KEY = "simcloud:levels"
ANYWHERE = "any"


class CatalogReader:
    """One reading of an opened stage.

    Args:
        stage: ``pxr.Usd.Stage``.
        root: path of its root layer.
    """

    def __init__(self, stage: Any, root: Path) -> None:
        from pxr import Usd, UsdGeom

        self.stage = stage
        self.root = root
        self.folder = root.parent
        self.normalization = normalization(stage)
        self.transforms = UsdGeom.XformCache(Usd.TimeCode.EarliestTime())
        self.materials: set[str] = set()
        self.geometry: set[str] = set()
        self.labels: dict[str, str] = {}
        self.cameras: list[SceneCamera] = []
        self.blind_cameras: dict[str, str] = {}
        self.boxes: dict[str, tuple[Float64, Float64]] = {}

    def read(self) -> Catalog:
        """Everything of the stage that has a name.

        Raises:
            InvalidRequest: something in it cannot be read.
        """
        for prim in drawn_prims(self.stage.GetPseudoRoot()):
            self._visit(prim)
        assets = tuple(self._asset(prim) for prim in library_prims(self.stage))
        classes = set(self.labels.values())
        classes |= {asset.label for asset in assets if asset.label is not None}
        room = self.stage.GetPrimAtPath(ROOM_ROOT)
        return Catalog(
            assets=assets,
            environments=tuple(self._environment(p) for p in environment_prims(self.stage)),
            backgrounds=tuple(self._background(p) for p in background_prims(self.stage)),
            materials=tuple(sorted(self.materials)),
            geometry=tuple(sorted(self.geometry)),
            classes=tuple(sorted(classes)),
            static_labels=tuple(sorted(self.labels.items())),
            cameras=tuple(sorted(self.cameras, key=lambda camera: camera.path)),
            blind_cameras=tuple(sorted(self.blind_cameras.items())),
            room=self._extent(drawn_prims(room)) if room else None,
            extents=tuple((path, _as_bounds(*box)) for path, box in sorted(self.boxes.items())),
            root=self.root,
        )

    def _visit(self, prim: Any) -> None:
        from pxr import UsdGeom

        if prim.GetTypeName() == "Material":
            self.materials.add(str(prim.GetPath()))
        elif prim.IsA(UsdGeom.Camera):
            unit = float(np.sqrt((self.normalization[:3, 0] ** 2).sum()))
            try:
                self.cameras.append(read_camera(prim, self._local2world(prim), unit))
            except InvalidRequest as error:  # left out; the translator names it too
                self.blind_cameras[str(prim.GetPath())] = error.problem
        elif prim.IsA(UsdGeom.Gprim) or prim.IsA(UsdGeom.PointInstancer):
            found = nearest_label(prim)
            if found is not None:
                self.labels[str(found[0].GetPath())] = found[1]
            if prim.IsA(UsdGeom.PointInstancer):
                self._label_prototypes(prim)
            self._bindable(prim)
            self._enlarge(prim)

    def _enlarge(self, prim: Any) -> None:
        """A prim's geometry counts for the boxes of all prims above it."""
        found = self._box(prim)
        while found is not None and not prim.IsPseudoRoot():
            low, high = self.boxes.get(str(prim.GetPath()), found)
            self.boxes[str(prim.GetPath())] = np.minimum(low, found[0]), np.maximum(high, found[1])
            prim = prim.GetParent()

    def _label_prototypes(self, prim: Any) -> None:
        """Labels below prototypes count: each instance is an object of its own."""
        for target in prim.GetRelationship("prototypes").GetForwardedTargets():
            root = self.stage.GetPrimAtPath(target)
            for below in drawn_prims(root, abstract=True) if root else ():
                label = own_label(below)
                if label is not None:
                    self.labels[str(below.GetPath())] = label

    def _bindable(self, prim: Any) -> None:
        """A material can be bound to geometry, to its subsets and to every prim above it."""
        self.geometry |= {
            str(child.GetPath())
            for child in prim.GetChildren()
            if child.GetTypeName() == "GeomSubset"
        }
        while not prim.IsPseudoRoot():
            self.geometry.add(str(prim.GetPath()))
            prim = prim.GetParent()

    def _asset(self, prim: Any) -> CatalogAsset:
        prims = list(drawn_prims(prim, abstract=True))
        self.materials |= {str(p.GetPath()) for p in prims if p.GetTypeName() == "Material"}
        bounds = self._extent(prims)
        if bounds is None:
            raise InvalidRequest("scene", f"{prim.GetPath()} has no geometry to place")
        hint = prim.GetCustomDataByKey(PLACEMENT_KEY)
        return CatalogAsset(
            name=str(prim.GetName()),
            label=asset_label(prim),
            bounds=bounds,
            placement=str(hint) if hint else ANYWHERE,
            levels=self._levels(prim, bounds),
        )

    def _levels(self, prim: Any, bounds: Bounds) -> tuple[tuple[str, float], ...]:
        found = prim.GetCustomDataByKey(LEVELS_KEY)
        unit = float(np.sqrt((self.normalization[:3, 0] ** 2).sum()))
        try:
            heights = {
                str(name): float32(float(height) * unit - bounds.minimum[2])
                for name, height in (found or {}).items()
            }
        except (AttributeError, TypeError, ValueError) as error:
            raise InvalidRequest(
                "scene", f"{LEVELS_KEY} of {prim.GetPath()} is no dictionary of heights"
            ) from error
        return tuple(sorted(heights.items(), key=lambda item: (item[1], item[0])))

    def _environment(self, prim: Any) -> CatalogEnvironment:
        texture = self._image(prim, "inputs:texture:file", "texture")
        return CatalogEnvironment(name=str(prim.GetName()), texture=texture)

    def _background(self, prim: Any) -> CatalogBackground:
        picture = self._image(prim, PICTURE_ATTRIBUTE, "picture")
        return CatalogBackground(name=str(prim.GetName()), picture=picture)

    def _image(self, prim: Any, name: str, role: str) -> str:
        """Path of the image that an attribute names, relative to the root layer's folder."""
        attribute = prim.GetAttribute(name)
        asset = value(attribute)
        resolved = str(asset.resolvedPath) if asset is not None else ""
        if not resolved:
            named = asset.path if asset is not None and asset.path else "no file"
            raise InvalidRequest(
                "scene", f"{prim.GetPath()} names {named} as its {role}, which is not there"
            )
        return Path(os.path.relpath(Path(resolved).resolve(), self.folder)).as_posix()

    def _local2world(self, prim: Any) -> Float64:
        matrix = gf_matrix(self.transforms.GetLocalToWorldTransform(prim))
        if not np.isfinite(matrix).all():
            raise InvalidRequest("scene", f"the transform of {prim.GetPath()} is not finite")
        return self.normalization @ matrix

    def _extent(self, prims: Any) -> Bounds | None:
        """Exact bounds of the points of all gprims; those of its box for an implicit shape."""
        boxes = [box for box in map(self._box, prims) if box is not None]
        if not boxes:
            return None
        lows, highs = zip(*boxes, strict=True)
        return _as_bounds(np.min(lows, axis=0), np.max(highs, axis=0))

    def _box(self, prim: Any) -> tuple[Float64, Float64] | None:
        """World bounds of a gprim's own points; None for what has none."""
        from pxr import Usd, UsdGeom

        if not (prim.IsA(UsdGeom.Gprim) or prim.IsA(UsdGeom.PointInstancer)):
            return None
        mesh = UsdGeom.Mesh(prim)
        points = value(mesh.GetPointsAttr()) if mesh else None
        if points is None:
            extent = UsdGeom.Boundable.ComputeExtentFromPlugins(
                UsdGeom.Boundable(prim), Usd.TimeCode.EarliestTime()
            )
            points = _corners(extent) if extent else []
        if len(points) == 0:
            return None
        placed = transform_points(self._local2world(prim), np.asarray(points))
        return placed.min(axis=0), placed.max(axis=0)


def _as_bounds(low: Float64, high: Float64) -> Bounds:
    return Bounds(
        minimum=(float32(low[0]), float32(low[1]), float32(low[2])),
        maximum=(float32(high[0]), float32(high[1]), float32(high[2])),
    )


def _corners(extent: Any) -> list[tuple[float, float, float]]:
    low, high = extent
    return [(x[0], y[1], z[2]) for x in (low, high) for y in (low, high) for z in (low, high)]
