"""Camera poses as products written out: equal on every machine, whatever BLAS is there."""

from __future__ import annotations

import math
from collections.abc import Sequence

from simcloud.spec.distributions import to_float32
from simcloud.spec.parameters import Matrix4, Quaternion, Vector3

Rows = Sequence[Sequence[float]]


def turned(cam2world: Matrix4, *, pitch_deg: float, yaw_deg: float, roll_deg: float) -> Matrix4:
    """The camera turned about its own X (up), then Y (left), then its viewing axis (clockwise).

    Its position stays; float32 values.
    """
    matrix: Rows = cam2world
    for angle_deg, (first, second) in (
        (pitch_deg, (1, 2)),
        (yaw_deg, (2, 0)),
        (-roll_deg, (0, 1)),
    ):
        if angle_deg != 0.0:
            matrix = _columns_turned(matrix, first, second, math.radians(angle_deg))
    return _as_matrix4(matrix)


def shifted(cam2world: Matrix4, offset_m: Vector3) -> Matrix4:
    """The camera moved along its own axes: right, up, backwards; float32 values."""
    rows = []
    for x, y, z, w in cam2world:
        rows.append((x, y, z, w + x * offset_m[0] + y * offset_m[1] + z * offset_m[2]))
    return _as_matrix4((*rows[:3], cam2world[3]))


def position(cam2world: Matrix4) -> Vector3:
    """Where the camera stands."""
    return cam2world[0][3], cam2world[1][3], cam2world[2][3]


def depth(cam2world: Matrix4, point: Vector3) -> float:
    """Distance of a world point along the viewing axis; negative behind the camera."""
    eye = position(cam2world)
    return -sum((point[axis] - eye[axis]) * cam2world[axis][2] for axis in range(3))


def distance_to_box(
    point: Vector3, *, origin: Vector3, orientation_wxyz: Quaternion, size_m: Vector3
) -> float:
    """Distance from a point to a solid box that stands on its origin; 0 inside.

    Args:
        point: world.
        origin: world position of the centre of the box's base.
        orientation_wxyz: unit quaternion, box to world.
        size_m: extent along the box's own axes.
    """
    w, x, y, z = orientation_wxyz
    local = _rotated(
        (w, -x, -y, -z), (point[0] - origin[0], point[1] - origin[1], point[2] - origin[2])
    )
    outside = (
        max(abs(local[0]) - size_m[0] / 2, 0.0),
        max(abs(local[1]) - size_m[1] / 2, 0.0),
        max(local[2] - size_m[2], -local[2], 0.0),
    )
    return math.sqrt(sum(part * part for part in outside))


def _rotated(quaternion: Quaternion, vector: Vector3) -> Vector3:
    """The vector turned by a unit quaternion (w, q): v + 2 w (q x v) + 2 q x (q x v)."""
    w, *axis = quaternion
    once = _cross(axis, vector)
    twice = _cross(axis, once)
    x, y, z = (vector[i] + 2.0 * (w * once[i] + twice[i]) for i in range(3))
    return x, y, z


def _cross(a: Sequence[float], b: Sequence[float]) -> Vector3:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _columns_turned(matrix: Rows, first: int, second: int, angle: float) -> Rows:
    """Rotation in the plane of two of the camera's own axes, from the first to the second."""
    cosine, sine = math.cos(angle), math.sin(angle)
    rows = []
    for row in matrix:
        changed = list(row)
        changed[first] = row[first] * cosine + row[second] * sine
        changed[second] = row[second] * cosine - row[first] * sine
        rows.append(changed)
    return rows


def _as_matrix4(matrix: Rows) -> Matrix4:
    return tuple(
        (to_float32(row[0]), to_float32(row[1]), to_float32(row[2]), to_float32(row[3]))
        for row in matrix
    )
