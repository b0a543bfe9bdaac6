"""Simple solids for our own props: triangles and texture coordinates, normals by crease later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from mesh_ops import FloatArray, face_normals

Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Shape:
    """A triangle soup in the asset frame."""

    triangles: FloatArray
    """(T, 3, 3), metres, counter-clockwise seen from outside."""
    texcoords: FloatArray
    """(T, 3, 2), V upwards."""


def join(*shapes: Shape) -> Shape:
    """One shape of several."""
    return Shape(
        np.concatenate([shape.triangles for shape in shapes]),
        np.concatenate([shape.texcoords for shape in shapes]),
    )


def moved(shape: Shape, offset: Point, yaw_deg: float = 0.0) -> Shape:
    """The shape turned about Z, then moved."""
    yaw = np.radians(yaw_deg)
    cosine, sine = np.cos(yaw), np.sin(yaw)
    rotation = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return Shape(shape.triangles @ rotation.T + np.array(offset), shape.texcoords)


def projected(triangles: FloatArray, repeat_m: float, *, turned: bool = False) -> FloatArray:
    """(T, 3, 2) texture coordinates along the two axes each face is most parallel to.

    Args:
        triangles: (T, 3, 3), metres.
        repeat_m: physical width of the texture.
        turned: swaps U and V, so that grain that runs along U stands upright.
    """
    axis = np.abs(face_normals(triangles)).argmax(1)
    choices = np.array([[1, 2], [0, 2], [0, 1]])[axis]
    texcoords = np.take_along_axis(triangles, choices[:, None, :].repeat(3, axis=1), axis=2)
    return np.asarray((texcoords[..., ::-1] if turned else texcoords) / repeat_m)


def box(
    low: Point, high: Point, *, repeat_m: float = 1.0, bevel_m: float = 0.0, turned: bool = False
) -> Shape:
    """A box between two corners with chamfered edges, which is what catches the light."""
    middle = (np.array(low) + np.array(high)) / 2.0
    half = (np.array(high) - np.array(low)) / 2.0
    inner = half - bevel_m
    polygons: list[list[FloatArray]] = []
    signs = [np.array([x, y, z], np.float64) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    # Each corner of the box has three points, one on each of its faces.
    on_face = {
        (tuple(sign), axis): np.where(np.arange(3) == axis, sign * half, sign * inner)
        for sign in signs
        for axis in range(3)
    }
    for axis in range(3):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        for side in (-1.0, 1.0):
            ring = _ring(axis, first, second, side)
            polygons.append([on_face[tuple(sign), axis] for sign in ring])
    if bevel_m > 0.0:
        polygons += _chamfers(on_face, signs)
    triangles = np.array([tri for polygon in polygons for tri in _fan(polygon)]) + middle
    outward = (face_normals(triangles) * (triangles.mean(1) - middle)).sum(1) < 0.0
    triangles[outward] = triangles[outward][:, ::-1]
    return Shape(triangles, projected(triangles, repeat_m, turned=turned))


def _ring(axis: int, first: int, second: int, side: float) -> list[FloatArray]:
    ring = []
    for along, across in ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)):
        sign = np.zeros(3)
        sign[axis], sign[first], sign[second] = side, along, across
        ring.append(sign)
    return ring


def _chamfers(
    on_face: dict[tuple[tuple[float, ...], int], FloatArray], signs: list[FloatArray]
) -> list[list[FloatArray]]:
    polygons = [[on_face[tuple(sign), axis] for axis in range(3)] for sign in signs]
    for axis in range(3):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        for sign in signs:
            if sign[axis] < 0:
                other = sign.copy()
                other[axis] = 1.0
                start, end = tuple(sign), tuple(other)
                polygons.append(
                    [
                        on_face[start, first],
                        on_face[end, first],
                        on_face[end, second],
                        on_face[start, second],
                    ]
                )
    return polygons


def _fan(polygon: list[FloatArray]) -> list[list[FloatArray]]:
    return [[polygon[0], polygon[i], polygon[i + 1]] for i in range(1, len(polygon) - 1)]


def lathe(profile: list[tuple[float, float]], *, segments: int = 32, wraps: float = 1.0) -> Shape:
    """A profile of (radius, height) turned about Z; U goes around ``wraps`` times, V along it.

    The profile runs from the bottom to the top on the outside.
    """
    radius, height = np.array(profile).T
    angle = np.linspace(0.0, 2.0 * np.pi, segments + 1)
    # The last column lies exactly on the first, so that the seam welds.
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    circle[-1] = circle[0]
    points = np.concatenate(
        [
            radius[:, None, None] * circle[None],
            np.broadcast_to(height[:, None, None], (len(radius), segments + 1, 1)),
        ],
        axis=2,
    )
    length = np.r_[0.0, np.cumsum(np.hypot(np.diff(radius), np.diff(height)))]
    u = np.broadcast_to(angle / (2.0 * np.pi) * wraps, (len(radius), segments + 1))
    v = np.broadcast_to((length / length[-1])[:, None], u.shape)
    coordinates = np.stack([u, v], axis=2)
    triangles: list[FloatArray] = []
    texcoords: list[FloatArray] = []
    for values, target in ((points, triangles), (coordinates, texcoords)):
        a, b = values[:-1, :-1], values[:-1, 1:]
        c, d = values[1:, 1:], values[1:, :-1]
        for corners in ((a, b, c), (a, c, d)):
            target.append(np.stack(corners, axis=2).reshape(-1, 3, values.shape[2]))
    joined = np.concatenate(triangles)
    proper = np.linalg.norm(face_normals(joined), axis=1) > 1e-12
    return Shape(joined[proper], np.concatenate(texcoords)[proper])


def rod(start: Point, end: Point, radius_m: tuple[float, float], *, segments: int = 16) -> Shape:
    """A round bar, tapering from one radius to the other."""
    direction = np.array(end) - np.array(start)
    length = float(np.linalg.norm(direction))
    upright = lathe(
        [(0.0, 0.0), (radius_m[0], 0.0), (radius_m[1], length), (0.0, length)], segments=segments
    )
    z_axis = direction / length
    helper = np.array([1.0, 0.0, 0.0]) if abs(z_axis[0]) < 0.9 else np.array([0.0, 1.0, 0.0])
    x_axis = np.cross(helper, z_axis)
    x_axis /= np.linalg.norm(x_axis)
    frame = np.stack([x_axis, np.cross(z_axis, x_axis), z_axis])
    return Shape(upright.triangles @ frame + np.array(start), upright.texcoords)


def panel(corners: tuple[Point, Point, Point, Point]) -> Shape:
    """A flat quad that shows its texture once; corners from the lower left, counter-clockwise."""
    quad = np.array(corners)
    square = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    order = [[0, 1, 2], [0, 2, 3]]
    return Shape(quad[order], square[order])


def tube(path: list[Point], radius_m: float, *, sides: int = 8) -> Shape:
    """A round cord along a path, open at its ends."""
    points = np.array(path, np.float64)
    along = np.gradient(points, axis=0)
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    helper = (
        np.array([0.0, 0.0, 1.0]) if abs(along[:, 2]).max() < 0.9 else np.array([0.3, 1.0, 0.0])
    )
    across = np.cross(along, helper)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    third = np.cross(across, along)
    angle = np.linspace(0.0, 2.0 * np.pi, sides + 1)
    angle[-1] = 0.0
    ring = across[:, None] * np.cos(angle)[:, None] + third[:, None] * np.sin(angle)[:, None]
    return _grid(points[:, None] + radius_m * ring)


def sheet(
    upper: list[tuple[float, float]],
    top_m: float,
    lower: list[tuple[float, float]],
    bottom_m: float,
) -> Shape:
    """A hanging cloth between two lines of (x, y), one point of each below the other."""
    rows = [
        np.column_stack([np.array(lower), np.full(len(lower), bottom_m)]),
        np.column_stack([np.array(upper), np.full(len(upper), top_m)]),
    ]
    return _grid(np.array(rows))


def _grid(points: FloatArray) -> Shape:
    """A surface over (rows, columns, 3) points; U along the columns, V the rows, in metres."""
    steps = np.linalg.norm(np.diff(points, axis=1), axis=2).mean(axis=0)
    climbs = np.linalg.norm(np.diff(points, axis=0), axis=2).mean(axis=1)
    u, v = np.r_[0.0, np.cumsum(steps)], np.r_[0.0, np.cumsum(climbs)]
    coordinates = np.stack(np.meshgrid(u, v), axis=2)
    corners: list[FloatArray] = []
    for values in (points, coordinates):
        a, b, c, d = values[:-1, :-1], values[:-1, 1:], values[1:, 1:], values[1:, :-1]
        both = [np.stack(three, axis=2) for three in ((a, b, c), (a, c, d))]
        corners.append(np.concatenate([part.reshape(-1, 3, values.shape[2]) for part in both]))
    return Shape(corners[0], corners[1])
