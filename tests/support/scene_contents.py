"""A scene as far as sampler and check know it, to be filled by tests."""

from __future__ import annotations

from collections.abc import Sequence

from simcloud.errors import InvalidRequest
from simcloud.spec.parameters import Vector3
from simcloud.spec.scene_camera import SceneCamera
from simcloud.spec.surface import Triangle


class EmptyScene:
    """Nothing is there; what a test's scene holds it overrides."""

    asset_names: frozenset[str] = frozenset()
    environment_names: frozenset[str] = frozenset()
    background_names: frozenset[str] = frozenset()
    material_paths: frozenset[str] = frozenset()
    geometry_paths: frozenset[str] = frozenset()
    camera_paths: frozenset[str] = frozenset()

    def asset_label(self, name: str) -> str | None:
        return None

    def asset_size_m(self, name: str) -> Vector3:
        raise InvalidRequest("asset", f"no asset {name}")

    def asset_levels_m(self, name: str) -> tuple[tuple[str, float], ...]:
        return ()

    def prim_triangles(self, path: str) -> Sequence[Triangle]:
        raise InvalidRequest("prim", f"no prim {path}")

    def prim_extent_m(self, path: str) -> tuple[Vector3, Vector3]:
        raise InvalidRequest("prim", f"no prim {path}")

    def blind_camera(self, path: str) -> str | None:
        return None

    def scene_camera(self, path: str) -> SceneCamera:
        raise InvalidRequest("cameras", f"no camera {path}")

    def picture_problem(self, path: str) -> str | None:
        return f"no picture {path}"

    def environment_texture(self, name: str) -> str:
        raise InvalidRequest("environment", f"no environment {name}")

    def background_picture(self, name: str) -> str:
        raise InvalidRequest("background", f"no background {name}")
