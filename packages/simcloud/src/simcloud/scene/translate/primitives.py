"""Triangles of USD's implicit shapes, in the shape's own frame and stage units."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simcloud.scene.translate.normals import unit

SEGMENTS = 48
"""Sides of round shapes: below a pixel of error up to 400 pixels of radius."""
RINGS = 24


@dataclass(frozen=True, slots=True, eq=False)
class Triangles:
    """Corners that share no vertex across creases: positions, normals, uvs, faces."""

    vertices: npt.NDArray[np.float64]
    normals: npt.NDArray[np.float32]
    uvs: npt.NDArray[np.float64] | None
    faces: npt.NDArray[np.uint32]


def join(parts: list[Triangles]) -> Triangles:
    """One set of triangles of several; uvs survive when all parts have them."""
    offsets = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    uvs = [part.uvs for part in parts if part.uvs is not None]
    return Triangles(
        vertices=np.concatenate([part.vertices for part in parts]),
        normals=np.concatenate([part.normals for part in parts]),
        uvs=np.concatenate(uvs) if len(uvs) == len(parts) else None,
        faces=np.concatenate(
            [part.faces + np.uint32(o) for part, o in zip(parts, offsets, strict=True)]
        ),
    )


def grid(rows: int, columns: int) -> npt.NDArray[np.uint32]:
    """Faces of a (rows + 1) x (columns + 1) grid of vertices, row by row."""
    first = (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)).ravel()
    a, b, c, d = first, first + 1, first + columns + 2, first + columns + 1
    return np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)]).astype(np.uint32)


def revolve(
    profile: list[tuple[float, float]], profile_normals: list[tuple[float, float]]
) -> Triangles:
    """Surface of revolution about +Z of a profile of (radius, z), from bottom to top."""
    angle = np.linspace(0.0, 2 * math.pi, SEGMENTS + 1)
    angle[-1] = 0.0  # the seam's two columns are the same points
    cosine, sine = np.cos(angle), np.sin(angle)

    def sweep(pairs: list[tuple[float, float]]) -> npt.NDArray[np.float64]:
        values = np.asarray(pairs, dtype=np.float64)
        radius, height = values[:, :1], values[:, 1:]
        spread = np.broadcast_to(height, (len(values), SEGMENTS + 1))
        return np.stack([radius * cosine, radius * sine, spread], axis=-1).reshape(-1, 3)

    u, v = np.meshgrid(np.linspace(0, 1, SEGMENTS + 1), np.linspace(0, 1, len(profile)))
    return Triangles(
        vertices=sweep(profile),
        normals=unit(sweep(profile_normals)),
        uvs=np.stack([u.ravel(), v.ravel()], axis=-1),
        faces=grid(len(profile) - 1, SEGMENTS),
    )


def plane(width: float, length: float, axis: str = "Z") -> Triangles:
    """A rectangle through the origin; its normal is ``axis`` (USD's Plane)."""
    # USD: width is along X except for axis X (along Z); length along Y except for axis Y (along Z).
    right, up = {"X": (2, 1), "Y": (0, 2), "Z": (0, 1)}[axis]
    corners = np.zeros((4, 3))
    corners[:, right] = np.array([-0.5, 0.5, 0.5, -0.5]) * width
    corners[:, up] = np.array([-0.5, -0.5, 0.5, 0.5]) * length
    normal = np.zeros((4, 3))
    normal[:, "XYZ".index(axis)] = 1.0
    faces = np.array([[0, 1, 2], [0, 2, 3]], dtype=np.uint32)
    if np.cross(corners[1] - corners[0], corners[2] - corners[0]) @ normal[0] < 0:
        faces = faces[:, ::-1].copy()
    uvs = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64)
    return Triangles(vertices=corners, normals=unit(normal), uvs=uvs, faces=faces)


def cube(size: float) -> Triangles:
    """A cube centred at the origin; every side has the whole texture."""
    sides = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            normal = np.zeros(3)
            normal[axis] = sign
            right = np.zeros(3)
            right[(axis + 1) % 3] = 1.0
            up = np.cross(normal, right)
            signs = ((-1, -1), (1, -1), (1, 1), (-1, 1))
            corners = np.array([normal + x * right + y * up for x, y in signs]) * size / 2
            sides.append(
                Triangles(
                    vertices=corners,
                    normals=unit(np.tile(normal, (4, 1))),
                    uvs=np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float64),
                    faces=np.array([[0, 1, 2], [0, 2, 3]], dtype=np.uint32),
                )
            )
    return join(sides)


def sphere(radius: float) -> Triangles:
    """A sphere centred at the origin, its poles on Z."""
    latitudes = np.linspace(-math.pi / 2, math.pi / 2, RINGS + 1)
    unit_profile = [(max(math.cos(a), 0.0), math.sin(a)) for a in latitudes]
    return revolve([(radius * r, radius * z) for r, z in unit_profile], unit_profile)


def disk(radius: float, z: float, *, up: bool) -> Triangles:
    """A disk at height ``z`` whose normal is +Z, or -Z."""
    side = 1.0 if up else -1.0
    profile = [(radius, z), (0.0, z)] if up else [(0.0, z), (radius, z)]
    return revolve(profile, [(0.0, side), (0.0, side)])


def cylinder(radius: float, height: float) -> Triangles:
    """A capped cylinder about Z."""
    wall = revolve([(radius, -height / 2), (radius, height / 2)], [(1.0, 0.0), (1.0, 0.0)])
    return join([wall, disk(radius, -height / 2, up=False), disk(radius, height / 2, up=True)])


def cone(radius: float, height: float) -> Triangles:
    """A capped cone about Z, its tip at +Z."""
    slope = (height, radius)
    wall = revolve([(radius, -height / 2), (0.0, height / 2)], [slope, slope])
    return join([wall, disk(radius, -height / 2, up=False)])


def capsule(radius: float, height: float) -> Triangles:
    """A capsule about Z; ``height`` leaves the two round ends out, as in USD."""
    angles = np.linspace(0.0, math.pi / 2, RINGS // 2 + 1)
    lower = [(max(math.cos(a), 0.0), -math.sin(a)) for a in angles[::-1]]
    upper = [(max(math.cos(a), 0.0), math.sin(a)) for a in angles]
    profile = [(radius * r, radius * z - height / 2) for r, z in lower]
    profile += [(radius * r, radius * z + height / 2) for r, z in upper]
    return revolve(profile, lower + upper)


def along(axis: str, shape: Triangles) -> Triangles:
    """A shape made about Z, turned so that its axis is X, Y or Z (a cyclic permutation)."""
    order = {"X": [2, 0, 1], "Y": [1, 2, 0], "Z": [0, 1, 2]}[axis]
    return Triangles(
        vertices=shape.vertices[:, order],
        normals=shape.normals[:, order],
        uvs=shape.uvs,
        faces=shape.faces,
    )
