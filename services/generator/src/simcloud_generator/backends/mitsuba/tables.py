"""A frame as tables that one kernel reads: triangles, vertices and materials.

Everything that differs between frames is data in a table and nothing is code. So one kernel draws
every frame of a scene, whatever stands in it: Dr.Jit compiles (about half a second) once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from simcloud.geometry import Float64, transform_directions, transform_points
from simcloud.spec.parameters import Vector3
from simcloud_generator.backends.frame_materials import Part
from simcloud_generator.backends.frame_scene import FrameScene
from simcloud_generator.backends.images import ImageStore
from simcloud_generator.backends.mitsuba.materials import Features, light_row, material_row
from simcloud_generator.backends.mitsuba.texels import TexelStore
from simcloud_generator.backends.shading import transform_uv

Float32Array = npt.NDArray[np.float32]
UInt32Array = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True, eq=False)
class FrameTables:
    """The arrays of one frame; words are 32 bits, floats among them by their bits."""

    positions: Float32Array
    """(V, 3) world."""
    vertices: UInt32Array
    """(V, 4): shading normal as two 16-bit octahedral coordinates, u, v (down), nothing."""
    faces: UInt32Array
    """(F, 8): three vertices, material, unit geometric normal, nothing."""
    tangents: Float32Array
    """(F, 4): direction of u and the handedness; one row where no material is bumped."""
    materials: UInt32Array
    """(M, ``materials.WORDS``), see ``materials.material_row``."""


@dataclass(slots=True)
class TableBuilder:
    """Collects a frame's geometry.

    Args:
        texels: where textures lie.
        images: where they come from.
        features: of the scene.
    """

    texels: TexelStore
    images: ImageStore
    features: Features
    _positions: list[Float32Array] = field(default_factory=list)
    _vertices: list[UInt32Array] = field(default_factory=list)
    _faces: list[UInt32Array] = field(default_factory=list)
    _tangents: list[Float32Array] = field(default_factory=list)
    _materials: list[UInt32Array] = field(default_factory=list)
    _numbers: dict[object, int] = field(default_factory=dict)
    _size: int = 0

    def add_frame(self, frame: FrameScene) -> None:
        """All groups of a frame."""
        for group in frame.groups:
            for part in group.parts:
                self._add_part(part, group.local2world)

    def add_light(self, vertices: Float32Array, faces: UInt32Array, radiance: Vector3) -> None:
        """Triangles that only shine, on the side of their normals, in world."""
        number = self._number(("light", len(self._materials)), light_row(radiance))
        none = np.zeros((len(vertices), 2))
        self._add(vertices, np.zeros_like(vertices), none, faces, number)

    def build(self) -> FrameTables:
        """The tables of all that was added."""
        return FrameTables(
            positions=np.concatenate(self._positions),
            vertices=np.concatenate(self._vertices),
            faces=np.concatenate(self._faces),
            tangents=np.concatenate(self._tangents),
            materials=np.stack(self._materials),
        )

    def _add_part(self, part: Part, local2world: Float64 | None) -> None:
        mesh = part.mesh
        positions, normals = mesh.vertices, mesh.normals
        if local2world is not None:
            positions = transform_points(local2world, positions).astype(np.float32)
            normals = transform_directions(local2world, normals).astype(np.float32)
        uv = np.zeros((len(positions), 2))
        if mesh.uvs is not None:
            uv = transform_uv(mesh.uvs, part.material.uv_transform)
            uv[:, 1] = 1.0 - uv[:, 1]  # images begin at the top
        has_uv = mesh.uvs is not None
        key = (part.material.path, part.tint_rgb, has_uv)
        number = self._numbers.get(key)
        if number is None:
            row = material_row(
                part.material, part.tint_rgb, self.images, self.texels, has_uv=has_uv
            )
            number = self._number(key, row)
        self._add(positions, normals, uv, mesh.faces, number)

    def _number(self, key: object, row: UInt32Array) -> int:
        self._numbers[key] = len(self._materials)
        self._materials.append(row)
        return self._numbers[key]

    def _add(
        self,
        positions: Float32Array,
        normals: Float32Array,
        uv: Float64,
        faces: UInt32Array,
        material: int,
    ) -> None:
        vertices = np.zeros((len(positions), 4), dtype=np.uint32)
        vertices[:, 0] = octahedral(normals)
        vertices[:, 1:3] = uv.astype(np.float32).view(np.uint32)
        corners = [positions[faces[:, corner]] for corner in range(3)]
        table = np.zeros((len(faces), 8), dtype=np.uint32)
        table[:, :3] = faces + np.uint32(self._size)
        table[:, 3] = material
        normals_of_faces = _unit(_cross(corners[1] - corners[0], corners[2] - corners[0]))
        table[:, 4:7] = normals_of_faces.view(np.uint32)
        self._positions.append(positions)
        self._vertices.append(vertices)
        self._faces.append(table)
        if self.features.normal_maps:
            self._tangents.append(_tangents(corners, [uv[faces[:, corner]] for corner in range(3)]))
        elif not self._tangents:
            self._tangents.append(np.zeros((1, 4), dtype=np.float32))
        self._size += len(positions)


def octahedral(normals: Float32Array) -> UInt32Array:
    """Directions (N, 3) of any length as two 16-bit coordinates on an unfolded octahedron.

    Within 1e-4 rad (Cigolle et al., 2014).
    """
    sum_of_sides = np.abs(normals).sum(axis=1, dtype=np.float32)
    flat = normals[:, :2] / np.maximum(sum_of_sides, np.float32(1e-20))[:, None]
    folded = np.where(flat >= 0, np.float32(1), np.float32(-1)) * (1 - np.abs(flat[:, ::-1]))
    flat = np.where(normals[:, 2:] < 0, folded, flat)
    levels = np.rint((flat * np.float32(0.5) + np.float32(0.5)) * np.float32(65535))
    words = np.clip(levels, 0, 65535).astype(np.uint32)
    packed: UInt32Array = words[:, 0] | words[:, 1] << 16
    return packed


def _cross(one: Float32Array, other: Float32Array) -> Float32Array:
    """Vector products of rows (N, 3); NumPy's own moves its axes about, a frame has many meshes."""
    result = np.empty_like(one)
    for axis in range(3):
        after, last = (axis + 1) % 3, (axis + 2) % 3
        result[:, axis] = one[:, after] * other[:, last] - one[:, last] * other[:, after]
    return result


def _unit(vectors: Float32Array) -> Float32Array:
    length = np.sqrt((vectors * vectors).sum(axis=1, keepdims=True))
    return np.asarray(vectors / np.maximum(length, np.float32(1e-30)), dtype=np.float32)


def _tangents(corners: list[Float32Array], uvs: list[Float64]) -> Float32Array:
    """Direction in which u grows, and 1 or -1 where v grows against the right hand's rule."""
    one, two = corners[1] - corners[0], corners[2] - corners[0]
    (u1, v1), (u2, v2) = (uvs[1] - uvs[0]).T, (uvs[2] - uvs[0]).T
    area = u1 * v2 - u2 * v1
    result = np.zeros((len(one), 4), dtype=np.float32)
    sense = np.where(area >= 0, 1.0, -1.0)
    result[:, :3] = _unit(((one * v2[:, None] - two * v1[:, None]) * sense[:, None]).astype("f4"))
    result[:, 3] = -sense  # v counts downwards here
    return result
