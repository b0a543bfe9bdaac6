"""What the rays hit: places, normals and materials, in float32, part by part."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from simcloud.geometry import Float64, box_corners, matrix4, transform_points
from simcloud.scene.translate.types import SceneMesh, Texture
from simcloud_generator.backends.compositing.texels import Texels
from simcloud_generator.backends.frame_materials import Part
from simcloud_generator.backends.frame_scene import FrameScene, Group
from simcloud_generator.backends.hits import Hits
from simcloud_generator.backends.images import Float32Array
from simcloud_generator.backends.shading import transform_uv

MIN_ROUGHNESS = 0.08
MAX_ALBEDO = 0.95

Levels = dict[tuple[int, int, str], int]
"""Level of detail of each texture by group and part."""


@dataclass(slots=True, eq=False)
class Surfaces:
    """Surfaces at N hits; components come first, so that sums over them run along memory."""

    position: Float32Array
    """(3, N) world, metres."""
    normal: Float32Array
    """(3, N) unit shading normals, world, facing the viewer."""
    view: Float32Array
    """(3, N) unit, towards the viewer."""
    albedo: Float32Array
    """(3, N) linear."""
    roughness: Float32Array
    metallic: Float32Array
    specular: Float32Array
    """(N,) as the principled model counts it."""
    emission: Float32Array
    """(3, N) radiance."""
    height: Float32Array
    """(N,) above the lowest point of the object, metres."""


@dataclass(slots=True)
class SurfaceReader:
    """Reads surfaces of one view.

    The first reading, of whole pixels, finds each texture's level of detail; later ones use it.
    """

    frame: FrameScene
    eye: Float64
    texels: Texels
    levels: Levels = field(default_factory=dict)

    def read(self, hits: Hits, directions: Float64, at: npt.NDArray[np.int64]) -> Surfaces:
        """Surfaces at the hits ``at`` (N,), all of which hit something.

        Args:
            hits: of all rays.
            directions: of all rays, unit, world, (R, 3).
            at: indices of the rays that are wanted, ascending.
        """
        towards = np.ascontiguousarray(directions[at].T, dtype=np.float32)
        count = len(at)
        result = Surfaces(
            position=self.eye.astype(np.float32)[:, None] + towards * hits.distance_m[at],
            normal=np.empty((3, count), np.float32),
            view=-towards,
            albedo=np.empty((3, count), np.float32),
            roughness=np.empty(count, np.float32),
            metallic=np.empty(count, np.float32),
            specular=np.empty(count, np.float32),
            emission=np.empty((3, count), np.float32),
            height=np.empty(count, np.float32),
        )
        key = hits.group[at].astype(np.int64) << 16 | hits.part[at]
        order = np.argsort(key, kind="stable")
        bounds = np.flatnonzero(np.diff(key[order], prepend=-1))
        for begin, end in zip(bounds, [*bounds[1:], count], strict=True):
            rows = order[begin:end]
            index = int(hits.group[at[rows[0]]])
            number = int(hits.part[at[rows[0]]])
            self._part(result, hits, rows, at[rows], (index, number))
        length = np.sqrt(np.maximum(dot(result.normal, result.normal), 1e-24))
        result.normal /= np.where(dot(result.normal, result.view) < 0, -length, length)
        return result

    def _part(
        self,
        result: Surfaces,
        hits: Hits,
        rows: npt.NDArray[np.int64],
        rays: npt.NDArray[np.int64],
        place: tuple[int, int],
    ) -> None:
        group = self.frame.groups[place[0]]
        part = group.parts[place[1]]
        mesh, material = part.mesh, part.material
        corners = mesh.faces[hits.primitive[rays]]
        weights = (hits.u[rays], hits.v[rays])
        normal = _mixed(mesh.normals, corners, weights)
        if group.local2world is not None:
            normal = rotated(group.local2world[:3, :3], normal)
        result.normal[:, rows] = normal
        uv = self._coordinates(mesh, part, corners, weights)

        def read(texture: Texture | None, plain: object, width: int) -> Float32Array:
            if texture is None or uv is None:
                return np.asarray(plain, dtype=np.float32).reshape(width, 1)
            key = (*place, texture.path)
            if key not in self.levels:
                self.levels[key] = self.texels.level(texture, uv, rays)
            return self.texels.sample(texture, uv, self.levels[key])[:width]

        tint = np.asarray(part.tint_rgb or (1.0, 1.0, 1.0), dtype=np.float32)[:, None]
        albedo = read(material.base_color_texture, material.base_color, 3)
        result.albedo[:, rows] = np.clip(albedo * tint, 0.0, MAX_ALBEDO)
        result.roughness[rows] = read(material.roughness_texture, material.roughness, 1)[0]
        result.metallic[rows] = read(material.metallic_texture, material.metallic, 1)[0]
        result.specular[rows] = np.float32(material.specular)
        result.emission[:, rows] = read(material.emissive_texture, material.emissive, 3)
        result.height[rows] = result.position[2, rows] - np.float32(lowest_z(group))

    def _coordinates(
        self,
        mesh: SceneMesh,
        part: Part,
        corners: npt.NDArray[np.uint32],
        weights: tuple[Float32Array, Float32Array],
    ) -> Float32Array | None:
        if mesh.uvs is None:
            return None
        uv = _mixed(mesh.uvs, corners, weights)
        if part.material.uv_transform is None:
            return uv
        return transform_uv(uv.T, part.material.uv_transform).astype(np.float32).T


def lowest_z(group: Group) -> float:
    """Height of the lowest corner of an object's box, world, metres."""
    corners = transform_points(matrix4(group.frame), box_corners(*group.box3d))
    return float(corners[:, 2].min())


def dot(left: Float32Array, right: Float32Array) -> Float32Array:
    """Products (N,) of vectors (3, N)."""
    product: Float32Array = left[0] * right[0] + left[1] * right[1] + left[2] * right[2]
    return product


def rotated(rotation: Float64, vectors: Float32Array) -> Float32Array:
    """Vectors (3, N) through a (3, 3) matrix: sums, not BLAS."""
    m = rotation.astype(np.float32)
    x, y, z = vectors
    return np.stack([m[row, 0] * x + m[row, 1] * y + m[row, 2] * z for row in range(3)])


def _mixed(
    values: Float32Array,
    corners: npt.NDArray[np.uint32],
    weights: tuple[Float32Array, Float32Array],
) -> Float32Array:
    """Vertex values (V, C) at barycentric places of triangles (N, 3); (C, N)."""
    u, v = weights
    first, second, third = (values[corners[:, corner]].T for corner in range(3))
    mixed: Float32Array = first * (1.0 - u - v) + second * u + third * v
    return mixed
