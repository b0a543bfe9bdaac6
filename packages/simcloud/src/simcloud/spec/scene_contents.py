"""What the sampler must know of a scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from simcloud.spec.parameters import Vector3
from simcloud.spec.scene_camera import SceneCamera
from simcloud.spec.surface import Triangle


class SceneContents(Protocol):
    """What the sampler must know of a scene (``simcloud.scene.catalog.Catalog`` is one)."""

    def asset_size_m(self, name: str) -> Vector3:
        """Extent of a library asset in its own frame, metres."""
        ...

    def asset_label(self, name: str) -> str | None:
        """Class of a library asset; None without one."""
        ...

    def asset_levels_m(self, name: str) -> tuple[tuple[str, float], ...]:
        """(name, height above its base) of the shelf levels of a library asset."""
        ...

    def prim_triangles(self, path: str) -> Sequence[Triangle]:
        """Triangles of a prim of the stage and what is below it, world frame, metres."""
        ...

    def prim_extent_m(self, path: str) -> tuple[Vector3, Vector3]:
        """Corners of the box around a prim of the stage, world frame, metres."""
        ...

    @property
    def material_paths(self) -> frozenset[str]:
        """Paths of materials."""
        ...

    def scene_camera(self, path: str) -> SceneCamera:
        """A camera of the stage by the path of its prim."""
        ...

    def environment_texture(self, name: str) -> str:
        """Image of an environment, relative to the scene's root layer."""
        ...

    def background_picture(self, name: str) -> str:
        """Image of a background, relative to the scene's root layer."""
        ...
