"""What a scene offers: the names, sizes and labels that a spec can refer to.

Needs ``usd-core`` to read a stage (extra ``usd``); a catalog from JSON needs nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from simcloud.errors import Corruption, InvalidRequest
from simcloud.geometry import Float64, float32, transform_points
from simcloud.scene.cameras import read_camera
from simcloud.scene.semantics import nearest_label, own_label
from simcloud.scene.stage import (
    background_prims,
    drawn_prims,
    environment_prims,
    gf_matrix,
    library_prims,
    normalization,
    open_stage,
    value,
)
from simcloud.scene.surfaces import read_triangles
from simcloud.spec.canonical import canonical_bytes
from simcloud.spec.parameters import Vector3
from simcloud.spec.scene_camera import SceneCamera
from simcloud.spec.surface import Triangle

ROOM_ROOT = "/World/Room"
PLACEMENT_KEY = "simcloud:placement"
LEVELS_KEY = "simcloud:levels"
ANYWHERE = "any"
PICTURE_ATTRIBUTE = "simcloud:picture"
"""Asset-valued attribute of a class prim below ``/Backgrounds``: an 8-bit picture."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """An axis-aligned box in metres, Z up."""

    minimum: Vector3
    maximum: Vector3

    @property
    def size_m(self) -> Vector3:
        """Extent along x, y and z."""
        size = [float32(b - a) for a, b in zip(self.minimum, self.maximum, strict=True)]
        return size[0], size[1], size[2]


@dataclass(frozen=True, slots=True)
class CatalogAsset:
    """A class prim below ``/Library``."""

    name: str
    label: str | None
    bounds: Bounds
    """In the asset's own frame; its origin should be the centre of its base."""
    placement: str
    """Hint of the asset's author (custom data ``simcloud:placement``); ``any`` without one."""
    levels: tuple[tuple[str, float], ...] = ()
    """(name, height above its base) of its shelf levels, metres, from the lowest up: the custom
    data ``simcloud:levels``, a dictionary of heights above the asset's origin in its own unit."""

    @property
    def base_m(self) -> Vector3:
        """Centre of the base in the asset's frame: zero where its origin is where it should be."""
        low, high = self.bounds.minimum, self.bounds.maximum
        return (float32((low[0] + high[0]) / 2), float32((low[1] + high[1]) / 2), low[2])


@dataclass(frozen=True, slots=True)
class CatalogEnvironment:
    """A class prim below ``/Environments``."""

    name: str
    texture: str
    """Path of its image relative to the root layer's folder."""


@dataclass(frozen=True, slots=True)
class CatalogBackground:
    """A class prim below ``/Backgrounds``: a picture to composite objects on."""

    name: str
    picture: str
    """Path of its image relative to the root layer's folder."""


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything of a scene that has a name; every tuple is in a fixed order."""

    assets: tuple[CatalogAsset, ...]
    environments: tuple[CatalogEnvironment, ...]
    materials: tuple[str, ...]
    """Paths of all materials."""
    geometry: tuple[str, ...]
    """Paths of the prims of the stage that a material can be bound to."""
    classes: tuple[str, ...]
    """All labels of the stage and its library, in alphabetic order."""
    static_labels: tuple[tuple[str, str], ...]
    """(prim path, label) of the labelled prims of the stage that hold geometry."""
    cameras: tuple[SceneCamera, ...]
    room: Bounds | None
    """Of ``/World/Room``; None when there is none."""
    extents: tuple[tuple[str, Bounds], ...] = ()
    """(prim path, world box) of the prims of the stage with geometry of their own or below."""
    backgrounds: tuple[CatalogBackground, ...] = ()
    root: Path | None = field(default=None, repr=False, compare=False)
    """Root layer that it was read from; None for a catalog from JSON."""
    _by_name: dict[str, CatalogAsset] = field(init=False, repr=False, compare=False)
    _extents: dict[str, Bounds] = field(init=False, repr=False, compare=False)
    _triangles: dict[str, tuple[Triangle, ...]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {asset.name: asset for asset in self.assets})
        object.__setattr__(self, "_extents", dict(self.extents))
        object.__setattr__(self, "_triangles", {})

    @property
    def asset_names(self) -> frozenset[str]:
        """Names below ``/Library``."""
        return frozenset(self._by_name)

    @property
    def environment_names(self) -> frozenset[str]:
        """Names below ``/Environments``."""
        return frozenset(item.name for item in self.environments)

    @property
    def background_names(self) -> frozenset[str]:
        """Names below ``/Backgrounds``."""
        return frozenset(item.name for item in self.backgrounds)

    @property
    def material_paths(self) -> frozenset[str]:
        """Paths of materials."""
        return frozenset(self.materials)

    @property
    def geometry_paths(self) -> frozenset[str]:
        """Paths of prims that a material can be bound to."""
        return frozenset(self.geometry)

    @property
    def camera_paths(self) -> frozenset[str]:
        """Paths of the stage's cameras, without those that cannot see."""
        return frozenset(camera.path for camera in self.cameras)

    def scene_camera(self, path: str) -> SceneCamera:
        """A camera of the stage by the path of its prim.

        Raises:
            InvalidRequest: there is none; those that there are are listed.
        """
        for camera in self.cameras:
            if camera.path == path:
                return camera
        known = ", ".join(sorted(self.camera_paths)) or "none"
        raise InvalidRequest("cameras", f"the stage has no camera {path}; it has {known}")

    def asset(self, name: str) -> CatalogAsset:
        """An asset by name.

        Raises:
            InvalidRequest: there is none.
        """
        found = self._by_name.get(name)
        if found is None:
            known = ", ".join(sorted(self._by_name)) or "none"
            raise InvalidRequest("asset", f"the scene has no {name}; it has {known}")
        return found

    def asset_label(self, name: str) -> str | None:
        """Class of an asset; None without one.

        Raises:
            InvalidRequest: there is no such asset.
        """
        return self.asset(name).label

    def asset_size_m(self, name: str) -> Vector3:
        """Extent of an asset in its own frame.

        Raises:
            InvalidRequest: there is none.
        """
        return self.asset(name).bounds.size_m

    def asset_levels_m(self, name: str) -> tuple[tuple[str, float], ...]:
        """(name, height above its base) of an asset's shelf levels, metres.

        Raises:
            InvalidRequest: there is no such asset.
        """
        return self.asset(name).levels

    def prim_triangles(self, path: str) -> tuple[Triangle, ...]:
        """Triangles of a prim of the stage and what is below it, world frame; read once.

        Raises:
            InvalidRequest: it has no geometry, or the catalog came from JSON.
        """
        if path not in self._triangles:
            if self.root is None:
                raise InvalidRequest("prim", f"the surface of {path} needs the stage itself")
            self._triangles[path] = read_triangles(self.root, path)
        return self._triangles[path]

    def prim_extent_m(self, path: str) -> tuple[Vector3, Vector3]:
        """Corners of the box around a prim of the stage, world frame.

        Raises:
            InvalidRequest: it has no geometry.
        """
        found = self._extents.get(path)
        if found is None:
            raise InvalidRequest("prim", f"the stage has no geometry at or below {path}")
        return found.minimum, found.maximum

    def environment_texture(self, name: str) -> str:
        """Image of an environment, relative to the root layer's folder.

        Raises:
            InvalidRequest: there is none.
        """
        for item in self.environments:
            if item.name == name:
                return item.texture
        known = ", ".join(sorted(self.environment_names)) or "none"
        raise InvalidRequest("environment", f"the scene has no {name}; it has {known}")

    def background_picture(self, name: str) -> str:
        """Image of a background, relative to the root layer's folder.

        Raises:
            InvalidRequest: there is none.
        """
        for item in self.backgrounds:
            if item.name == name:
                return item.picture
        known = ", ".join(sorted(self.background_names)) or "none"
        raise InvalidRequest("background", f"the scene has no {name}; it has {known}")

    def to_json(self) -> bytes:
        """RFC 8785 JSON; equal catalogs give equal bytes."""
        content = asdict(self)
        for name in ("root", "_by_name", "_extents", "_triangles"):
            del content[name]
        return canonical_bytes(content)


def catalog_from_json(data: bytes) -> Catalog:
    """Reads what :meth:`Catalog.to_json` wrote.

    Raises:
        Corruption: it is no catalog.
    """
    try:
        raw = json.loads(data)
        return Catalog(
            assets=tuple(
                CatalogAsset(
                    **{
                        **item,
                        "bounds": _bounds(item["bounds"]),
                        "levels": tuple((name, height) for name, height in item["levels"]),
                    }
                )
                for item in raw["assets"]
            ),
            environments=tuple(CatalogEnvironment(**item) for item in raw["environments"]),
            backgrounds=tuple(CatalogBackground(**item) for item in raw["backgrounds"]),
            materials=tuple(raw["materials"]),
            geometry=tuple(raw["geometry"]),
            classes=tuple(raw["classes"]),
            static_labels=tuple((path, label) for path, label in raw["static_labels"]),
            cameras=tuple(
                SceneCamera(**{**item, "cam2world": tuple(tuple(row) for row in item["cam2world"])})
                for item in raw["cameras"]
            ),
            room=_bounds(raw["room"]) if raw["room"] is not None else None,
            extents=tuple((path, _bounds(box)) for path, box in raw["extents"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise Corruption(f"this is no catalog of a scene: {error}") from error


def _bounds(raw: dict[str, list[float]]) -> Bounds:
    low, high = raw["minimum"], raw["maximum"]
    return Bounds(minimum=(low[0], low[1], low[2]), maximum=(high[0], high[1], high[2]))


def read_catalog(path: Path) -> Catalog:
    """Reads the catalog of a stage.

    Args:
        path: the stage's root layer.

    Raises:
        InvalidRequest: the stage, or something in it, cannot be read.
    """
    return _Reader(open_stage(path), path.resolve()).read()


class _Reader:
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
        self.boxes: dict[str, tuple[Float64, Float64]] = {}

    def read(self) -> Catalog:
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
            # one that cannot see is left out; the translator names it
            with contextlib.suppress(InvalidRequest):
                self.cameras.append(read_camera(prim, self._local2world(prim), unit))
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


def asset_label(prim: Any) -> str | None:
    """Label of a library asset: its own, or that of the one child that has one."""
    label = own_label(prim)
    if label is not None:
        return label
    found = [label for label in map(own_label, prim.GetAllChildren()) if label is not None]
    return found[0] if len(found) == 1 else None


def _corners(extent: Any) -> list[tuple[float, float, float]]:
    low, high = extent
    return [(x[0], y[1], z[2]) for x in (low, high) for y in (low, high) for z in (low, high)]
