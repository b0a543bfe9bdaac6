"""What a scene offers: the names, sizes and labels that a spec can refer to.

Needs ``usd-core`` to read a stage (extra ``usd``); a catalog from JSON needs nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from simcloud.errors import Corruption, InvalidRequest
from simcloud.scene.catalog_items import (
    Bounds,
    CatalogAsset,
    CatalogBackground,
    CatalogEnvironment,
)
from simcloud.scene.limits import SceneLimits
from simcloud.scene.pictures import checked_header
from simcloud.scene.stage import open_stage
from simcloud.scene.surfaces import read_triangles
from simcloud.spec.canonical import canonical_bytes
from simcloud.spec.parameters import Vector3
from simcloud.spec.scene_camera import SceneCamera
from simcloud.spec.surface import Triangle


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
    blind_cameras: tuple[tuple[str, str], ...] = ()
    """(prim path, why) of the stage's cameras that cannot see: they are none."""
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

    def blind_camera(self, path: str) -> str | None:
        """Why a camera of the stage cannot see; None for every other prim."""
        return dict(self.blind_cameras).get(path)

    def scene_camera(self, path: str) -> SceneCamera:
        """A camera of the stage by the path of its prim.

        Raises:
            InvalidRequest: there is none; those that there are are listed.
        """
        for camera in self.cameras:
            if camera.path == path:
                return camera
        if reason := self.blind_camera(path):
            raise InvalidRequest("cameras", f"the camera {path} cannot see: {reason}")
        known = ", ".join(sorted(self.camera_paths)) or "none"
        raise InvalidRequest("cameras", f"the stage has no camera {path}; it has {known}")

    def picture_problem(self, path: str) -> str | None:
        """Why a picture, by its path relative to the root layer, can't be drawn; None: it can."""
        if self.root is None:
            return f"{path} can't be looked at without the stage itself"
        if not (self.root.parent / path).is_file():
            return f"the scene has no picture {path}, seen from its root layer {self.root.name}"
        try:
            checked_header(str(self.root.parent / path), f"the picture {path}", SceneLimits())
        except InvalidRequest as error:
            return error.problem
        return None

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
            blind_cameras=tuple((path, why) for path, why in raw["blind_cameras"]),
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
    from simcloud.scene.catalog_reader import CatalogReader  # it makes what is defined here

    return CatalogReader(open_stage(path), path.resolve()).read()
