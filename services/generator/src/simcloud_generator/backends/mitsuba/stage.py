"""A frame on the renderer's device: its tables, and what rays find in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import drjit as dr
import mitsuba as mi
import numpy as np

from simcloud.geometry import Float64
from simcloud_generator.backends.mitsuba.device import upload
from simcloud_generator.backends.mitsuba.lights import CELLS, EnvironmentTable, LightTable
from simcloud_generator.backends.mitsuba.materials import (
    BUMPED,
    MAX_ALBEDO,
    MIN_ROUGHNESS,
    PLAIN_METALLIC,
    PLAIN_ROUGHNESS,
    SEE_THROUGH,
    TEXTURED,
    Features,
)
from simcloud_generator.backends.mitsuba.surface import Jit, Surface
from simcloud_generator.backends.mitsuba.tables import Float32Array, FrameTables, UInt32Array
from simcloud_generator.backends.mitsuba.texels import LEVELS

RAY_OFFSET = 1e-4
"""How far from a surface a ray begins, in metres near the origin and relative to the distance from
it elsewhere: float32 positions are not more exact."""

MIN_COSINE = 1e-3
"""Of the angle between the viewer and a shading normal."""


@dataclass(frozen=True, slots=True, eq=False)
class Hit:
    """Where rays meet a triangle, before its material is looked at."""

    valid: Jit
    distance: Jit
    face: Jit
    weights: Any
    """Of the second and third corner."""
    corners: Any
    material: Jit
    normal: Any
    """Geometric, unit, to the outside."""


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """What rays find there."""

    surface: Surface
    opacity: Jit
    flags: Jit
    frame: Any
    """Shading frame, towards the viewer."""
    face: Any
    """Geometric normal, towards the viewer: light comes from this side alone."""


class Stage:
    """All tables of one frame.

    Args:
        tables: triangles and materials.
        texels: the buffer of textures.
        lights: what shines.
        environment: what is around.
        radiance: factor on the environment, linear RGB.
        turn: (3, 3) the environment's axes to world, its pole +Y.
        features: of the scene; they decide which kernel is made.
    """

    def __init__(
        self,
        *,
        tables: FrameTables,
        texels: Any,
        lights: LightTable,
        environment: EnvironmentTable,
        radiance: tuple[float, float, float],
        turn: Float64,
        features: Features,
    ) -> None:
        self.features = features
        self.scene = _traced(tables.positions, tables.faces[:, :3])
        self.panes = self.scene
        if features.see_through:
            flags = tables.materials[tables.faces[:, 3], 7]
            panes = tables.faces[(flags & SEE_THROUGH) != 0, :3]
            if not len(panes):  # a triangle without area: the kernel stays the same
                panes = np.zeros((1, 3), dtype=np.uint32)
            used, numbers = np.unique(panes, return_inverse=True)
            self.panes = _traced(tables.positions[used], numbers.reshape(-1, 3).astype(np.uint32))
        self._faces = upload(mi.UInt32, tables.faces)
        self._vertices = upload(mi.UInt32, tables.vertices)
        self._tangents = upload(mi.Float, tables.tangents)
        self._materials = upload(mi.UInt32, tables.materials)
        self._texels = texels
        self.light_rows = upload(mi.Float, lights.rows)
        self.light_alias = upload(mi.UInt32, lights.alias)
        self.light_count = dr.opaque(mi.UInt32, len(lights.alias))
        self.light_share = dr.opaque(mi.Float, lights.share)
        self._environment = upload(mi.Float, environment.texels)
        self.cells = upload(mi.UInt32, environment.choices)
        self._cell_density = upload(mi.Float, environment.density)
        self._width = dr.opaque(mi.UInt32, environment.width)
        self._height = dr.opaque(mi.UInt32, environment.height)
        factor = np.asarray(radiance, dtype=np.float32)
        self._radiance = mi.Color3f(*(dr.opaque(mi.Float, value) for value in factor))
        rows = np.asarray(turn, dtype=np.float32)
        self._turn = [mi.Vector3f(*(dr.opaque(mi.Float, value) for value in row)) for row in rows]
        self._turn_back = [
            mi.Vector3f(*(dr.opaque(mi.Float, value) for value in row)) for row in rows.T
        ]

    def intersect(self, ray: Any, active: Jit, *, coherent: bool = False) -> Hit:
        """The first triangle along rays."""
        found = self.scene.ray_intersect_preliminary(ray, coherent=coherent, active=active)
        valid = active & found.is_valid()
        face = dr.select(valid, found.prim_index, 0)
        corners = dr.gather(mi.Vector4u, self._faces, 2 * face, valid)
        normal = dr.gather(mi.Vector4u, self._faces, 2 * face + 1, valid)
        return Hit(
            valid=valid,
            distance=found.t,
            face=face,
            weights=found.prim_uv,
            corners=corners,
            material=corners.w,
            normal=mi.Normal3f(_floats(mi.Vector3u(normal.x, normal.y, normal.z))),
        )

    def point(self, hit: Hit, direction: Any) -> Point:
        """Material and shading frame at hits.

        Args:
            hit: where.
            direction: of the rays, unit.
        """
        vertices = [
            dr.gather(mi.Vector4u, self._vertices, corner, hit.valid)
            for corner in (hit.corners.x, hit.corners.y, hit.corners.z)
        ]
        second, third = hit.weights.x, hit.weights.y
        weights = (1.0 - second - third, second, third)
        uv = self._uv(vertices, weights)
        row = 5 * hit.material
        one, two = (self._material(row + offset, hit.valid) for offset in (0, 1))
        places: Any = dr.gather(mi.Vector4u, self._materials, row + 3, hit.valid)
        flags: Any = dr.reinterpret_array(mi.UInt32, two.w)
        base = self._texel(places.x, places.y, flags & 3, uv, hit.valid)
        base = dr.minimum(base * mi.Color3f(one.x, one.y, one.z), MAX_ALBEDO)
        roughness, metallic, opacity = one.w, two.x, two.z
        if self.features.parameter_textures:
            textured = hit.valid & ((flags & TEXTURED) != 0)
            found = self._texel(places.z, places.w, (flags >> 2) & 3, uv, textured)
            rough = textured & ((flags & PLAIN_ROUGHNESS) == 0)
            roughness = dr.select(rough, dr.maximum(found.x, MIN_ROUGHNESS), roughness)
            metallic = dr.select(textured & ((flags & PLAIN_METALLIC) == 0), found.y, metallic)
            opacity = dr.select(textured, opacity * found.z, opacity)
        normal = self._shading_normal(vertices, weights, hit)
        if self.features.normal_maps:
            normal = self._bumped(normal, hit, flags, uv)
        normal, face = _towards_viewer(normal, hit.normal, direction)
        return Point(
            surface=Surface(base_color=base, roughness=roughness, metallic=metallic, eta=two.y),
            opacity=opacity,
            flags=flags,
            frame=mi.Frame3f(normal),
            face=face,
        )

    def opacity(self, hit: Hit) -> tuple[Jit, Jit, Jit]:
        """Opacity, flags and index of refraction at hits, and nothing else."""
        row = 5 * hit.material
        two = self._material(row + 1, hit.valid)
        flags: Any = dr.reinterpret_array(mi.UInt32, two.w)
        opacity = two.z
        if self.features.parameter_textures:
            textured = hit.valid & ((flags & TEXTURED) != 0)
            vertices = [
                dr.gather(mi.Vector4u, self._vertices, corner, textured)
                for corner in (hit.corners.x, hit.corners.y, hit.corners.z)
            ]
            second, third = hit.weights.x, hit.weights.y
            uv = self._uv(vertices, (1.0 - second - third, second, third))
            places: Any = dr.gather(mi.Vector4u, self._materials, row + 3, textured)
            found = self._texel(places.z, places.w, (flags >> 2) & 3, uv, textured)
            opacity = dr.select(textured, opacity * found.z, opacity)
        return opacity, flags, two.y

    def emission(self, hit: Hit, direction: Any) -> tuple[Any, Jit, Jit]:
        """Radiance that hits send back, its density per area, and the cosine at the light."""
        row = self._material(5 * hit.material + 2, hit.valid)
        cosine = -dr.dot(hit.normal, direction)
        lit = hit.valid & (cosine > 0.0)
        return dr.select(lit, mi.Color3f(row.x, row.y, row.z), 0.0), row.w, cosine

    def surroundings(self, direction: Any, active: Jit) -> tuple[Any, Jit]:
        """Radiance from outside along directions, and the density of choosing them."""
        local = mi.Vector3f(*(dr.dot(row, direction) for row in self._turn_back))
        u = dr.atan2(local.x, -local.z) * (0.5 * dr.inv_pi)
        u = u - dr.floor(u)
        v = dr.safe_acos(local.y) * dr.inv_pi
        cell = dr.minimum(mi.UInt32(v * CELLS[0]), CELLS[0] - 1) * CELLS[1]
        cell += dr.minimum(mi.UInt32(u * CELLS[1]), CELLS[1] - 1)
        # not by local.y, which is 1 to the last bits around the pole
        sine = dr.sqrt(dr.fma(local.x, local.x, local.z * local.z))
        density = dr.gather(mi.Float, self._cell_density, cell, active)
        density *= dr.rcp(dr.maximum(2.0 * dr.square(dr.pi) * sine, 1e-6))
        return self._around(u, v, active), density

    def choose_around(self, sample: Any, jitter: Any, active: Jit) -> tuple[Any, Any, Jit]:
        """Directions towards the environment: direction, radiance, density."""
        place = mi.UInt32(sample * mi.Float(dr.width(self.cells)))
        cell = dr.gather(mi.UInt32, self.cells, place, active)
        u = (mi.Float(cell % CELLS[1]) + jitter.x) * (1.0 / CELLS[1])
        v = (mi.Float(cell // CELLS[1]) + jitter.y) * (1.0 / CELLS[0])
        sine, cosine = dr.sincos(v * dr.pi)
        sine_u, cosine_u = dr.sincos(u * (2.0 * dr.pi))
        local = mi.Vector3f(sine_u * sine, cosine, -cosine_u * sine)
        direction = mi.Vector3f(*(dr.dot(row, local) for row in self._turn))
        density = dr.gather(mi.Float, self._cell_density, cell, active)
        density *= dr.rcp(dr.maximum(2.0 * dr.square(dr.pi) * sine, 1e-6))
        return direction, self._around(u, v, active), density

    def _around(self, u: Jit, v: Jit, active: Jit) -> Any:
        """Bilinear radiance at the image's coordinates in 0..1."""
        x = u * mi.Float(self._width) - 0.5
        y = dr.clip(v * mi.Float(self._height) - 0.5, 0.0, mi.Float(self._height) - 1.0)
        left, top = dr.floor(x), dr.floor(y)
        fx, fy = x - left, y - top
        column = mi.UInt32(dr.select(left < 0.0, left + mi.Float(self._width), left))
        beside = dr.select(column + 1 == self._width, 0, column + 1)
        row = mi.UInt32(top)
        below = dr.minimum(row + 1, self._height - 1)
        taps = []
        for line in (row, below):
            pair = [
                dr.gather(mi.Vector4f, self._environment, line * self._width + at, active)
                for at in (column, beside)
            ]
            taps.append(dr.lerp(pair[0], pair[1], fx))
        found = dr.lerp(taps[0], taps[1], fy)
        return mi.Color3f(found.x, found.y, found.z) * self._radiance

    def _material(self, group: Jit, active: Jit) -> Any:
        return _floats(dr.gather(mi.Vector4u, self._materials, group, active))

    @staticmethod
    def _uv(vertices: list[Any], weights: tuple[Jit, Jit, Jit]) -> Any:
        pairs = [_floats(mi.Vector2u(vertex.y, vertex.z)) for vertex in vertices]
        return pairs[0] * weights[0] + pairs[1] * weights[1] + pairs[2] * weights[2]

    def _texel(self, offset: Jit, size: Jit, wrap: Jit, uv: Any, active: Jit) -> Any:
        """Bilinear samples of the buffer, linear RGB."""
        width, height = size & 0xFFFF, size >> 16
        columns, fx = _taps(uv.x, width, wrap)
        rows, fy = _taps(uv.y, height, wrap)
        lines = []
        for row in rows:
            begin = offset + row * width
            pair = [self._decoded(begin + column, active) for column in columns]
            lines.append(dr.lerp(pair[0], pair[1], fx))
        return mi.Color3f(dr.lerp(lines[0], lines[1], fy))

    def _decoded(self, index: Jit, active: Jit) -> Any:
        word = dr.gather(mi.UInt32, self._texels, index, active)
        root = mi.Vector3f(
            mi.Float(word & 1023), mi.Float((word >> 10) & 1023), mi.Float(word >> 20)
        )
        root *= 1.0 / LEVELS
        return root * root

    def _shading_normal(self, vertices: list[Any], weights: tuple[Jit, Jit, Jit], hit: Hit) -> Any:
        normals = [_unfolded(vertex.x) for vertex in vertices]
        mixed = normals[0] * weights[0] + normals[1] * weights[1] + normals[2] * weights[2]
        length2 = dr.squared_norm(mixed)
        return dr.select(length2 > 1e-12, mixed * dr.rsqrt(length2), mi.Vector3f(hit.normal))

    def _bumped(self, normal: Any, hit: Hit, flags: Jit, uv: Any) -> Any:
        active = hit.valid & ((flags & BUMPED) != 0)
        place = dr.gather(mi.Vector4u, self._materials, 5 * hit.material + 4, active)
        found = self._texel(place.x, place.y, (flags >> 4) & 3, uv, active) * 2.0 - 1.0
        along = dr.gather(mi.Vector4f, self._tangents, hit.face, active)
        tangent = mi.Vector3f(along.x, along.y, along.z)
        tangent = dr.normalize(tangent - normal * dr.dot(normal, tangent))
        other = dr.cross(normal, tangent) * along.w
        turned = dr.normalize(tangent * found.x + other * found.y + normal * found.z)
        return dr.select(active & dr.isfinite(turned.x), turned, normal)


def offset_origin(position: Any, normal: Any, direction: Any) -> Any:
    """Where a ray leaves a surface, on the side that it goes to."""
    scale = (1.0 + dr.max(dr.abs(position))) * RAY_OFFSET
    return position + normal * _mulsign(scale, dr.dot(normal, direction))


def _towards_viewer(normal: Any, face: Any, direction: Any) -> tuple[Any, Any]:
    """Shading and geometric normal on the side that is looked at.

    A shading normal of that side may still look away, at edges and on bumps: it is bent until it
    does not, or the pixel would be lit from behind the surface.
    """
    face = dr.select(dr.dot(face, direction) > 0.0, -face, face)
    normal = dr.select(dr.dot(normal, face) < 0.0, -normal, normal)
    cosine = -dr.dot(normal, direction)
    bent = dr.normalize(normal - direction * (MIN_COSINE - cosine))
    return dr.select(cosine < MIN_COSINE, bent, normal), face


_mulsign: Any = dr.mulsign  # its stub has no types


def _floats(words: Any) -> Any:
    kind = {2: mi.Point2f, 3: mi.Vector3f, 4: mi.Vector4f}[len(words)]
    return kind(*(dr.reinterpret_array(mi.Float, word) for word in words))


def _unfolded(word: Jit) -> Any:
    """A unit direction of two octahedral coordinates."""
    x = mi.Float(word & 0xFFFF) * (2.0 / 65535.0) - 1.0
    y = mi.Float(word >> 16) * (2.0 / 65535.0) - 1.0
    z = 1.0 - dr.abs(x) - dr.abs(y)
    folded = dr.maximum(-z, 0.0)
    return dr.normalize(mi.Vector3f(x - _mulsign(folded, x), y - _mulsign(folded, y), z))


def _taps(coordinate: Jit, size: Jit, wrap: Jit) -> tuple[list[Jit], Jit]:
    """The two texels beside a coordinate, and how near the second one is."""
    whole = mi.Float(size)
    folded = coordinate - dr.floor(coordinate)
    half = coordinate * 0.5
    mirrored = 1.0 - dr.abs(2.0 * (half - dr.floor(half)) - 1.0)
    inside = dr.select(wrap == 0, folded, dr.select(wrap == 1, mirrored, coordinate))
    place = dr.select(
        wrap == 0, inside * whole - 0.5, dr.clip(inside * whole - 0.5, 0.0, whole - 1.0)
    )
    low = dr.floor(place)
    last = size - 1
    first = mi.UInt32(dr.select(low < 0.0, low + whole, low))
    first = dr.minimum(first, last)
    after = first + 1
    second = dr.select(after > last, dr.select(wrap == 0, 0, last), after)
    return [first, second], place - low


def _traced(positions: Float32Array, faces: UInt32Array) -> Any:
    """Triangles as a Mitsuba scene that rays can be sent through."""
    mesh = mi.Mesh("frame", len(positions), len(faces))
    parameters = mi.traverse(mesh)
    parameters["vertex_positions"] = positions.ravel()
    parameters["faces"] = np.ascontiguousarray(faces).ravel()
    parameters.update()
    return mi.load_dict({"type": "scene", "frame": mesh})
