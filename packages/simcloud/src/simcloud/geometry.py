"""Cameras, poses and projections: the one place that knows the axis and pixel conventions.

World frame: right-handed, Z up, metres. Camera frame: USD's, -Z forward, +Y up. Image frame:
continuous pixel coordinates ``(x, y)``, origin at the upper left corner of the upper left pixel, so
that the centre of pixel (row 0, column 0) is (0.5, 0.5). Matrices are row-major and act on column
vectors.

Products are written out as sums instead of calls to BLAS: BLAS picks its kernel by thread count
and CPU, and these values must not depend on either.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from simcloud.spec.parameters import CameraView, Matrix4, Quaternion, StepMotion, Vector3

_ROWS_AT_ONCE = 16

Float64 = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]


def float32(value: float) -> float:
    """Round to the nearest float32, as a Python float."""
    return float(np.float32(value))


def matrix4(matrix: Matrix4 | npt.NDArray[np.floating]) -> Float64:
    """A (4, 4) float64 array of a row-major matrix."""
    array = np.asarray(matrix, dtype=np.float64)
    if array.shape != (4, 4):
        raise ValueError(f"expected a 4x4 matrix, found shape {array.shape}")
    return array


def as_matrix4(matrix: Float64) -> Matrix4:
    """A matrix as nested tuples, every value rounded to float32."""
    rows = [[float32(value) for value in row] for row in matrix4(matrix)]
    return tuple((row[0], row[1], row[2], row[3]) for row in rows)


def rotation_matrix(orientation_wxyz: Quaternion) -> Float64:
    """(3, 3) rotation of a quaternion, which is normalised first.

    Raises:
        ValueError: the quaternion has no length or is not finite.
    """
    w, x, y, z = orientation_wxyz
    length = math.sqrt(w * w + x * x + y * y + z * z)
    if not math.isfinite(length) or length < 1e-12:
        raise ValueError(f"expected a unit quaternion (w, x, y, z), found {orientation_wxyz}")
    w, x, y, z = w / length, x / length, y / length, z / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def pose_matrix(
    position_m: Vector3,
    orientation_wxyz: Quaternion = (1.0, 0.0, 0.0, 0.0),
    scale: float = 1.0,
) -> Float64:
    """(4, 4) local to world: scale, then rotate, then translate."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation_matrix(orientation_wxyz) * scale
    matrix[:3, 3] = position_m
    return matrix


def previous_pose(local2world: Float64, step: StepMotion) -> Float64:
    """(4, 4) local to world of what made a step: ``R exp(-[w] dt)`` at ``p - R v dt``, scale kept.

    Args:
        local2world: where it stands now; a similarity.
        step: what it did, in its own axes.
    """
    linear = local2world[:3, :3]
    scale = np.sqrt((linear[:, 0] ** 2).sum())
    back = rotation_matrix(step.rotation_wxyz).T
    matrix = np.eye(4)
    matrix[:3, :3] = (linear[:, :, None] * back[None, :, :]).sum(axis=1)
    shift = (linear / scale * np.asarray(step.translation_m)[None, :]).sum(axis=1)
    matrix[:3, 3] = local2world[:3, 3] - shift
    return matrix


def transform_points(matrix: Float64, points: npt.NDArray[np.floating]) -> Float64:
    """Points (N, 3) through an affine matrix (4, 4); float64 (N, 3)."""
    return _transform_rows(matrix, points, offset=True)


def transform_directions(matrix: Float64, vectors: npt.NDArray[np.floating]) -> Float64:
    """Vectors (N, 3) through the upper left 3x3 of a matrix; float64 (N, 3)."""
    return _transform_rows(matrix, vectors, offset=False)


def _transform_rows(matrix: Float64, rows: npt.NDArray[np.floating], *, offset: bool) -> Float64:
    x, y, z = (np.ascontiguousarray(rows[..., axis], dtype=np.float64) for axis in range(3))
    result = np.empty((*x.shape, 3))
    for axis, values in enumerate(transform_planes(matrix, (x, y, z), offset=offset)):
        result[..., axis] = values
    return result


def transform_planes(
    matrix: Float64, planes: Sequence[Float64], *, offset: bool
) -> tuple[Float64, Float64, Float64]:
    """Points or vectors whose coordinates lie in arrays of their own, through a matrix (4, 4).

    For a picture's worth of rays: arithmetic on rows of three takes several times as long.

    Args:
        matrix: affine.
        planes: x, y and z, arrays of one shape.
        offset: whether they are points, which the matrix also shifts.
    """
    x, y, z = planes
    rows = [matrix[row, 0] * x + matrix[row, 1] * y + matrix[row, 2] * z for row in range(3)]
    if offset:
        for row in range(3):
            rows[row] += matrix[row, 3]
    return rows[0], rows[1], rows[2]


def affine_inverse(matrix: Float64) -> Float64:
    """Inverse of an affine matrix by cofactors: no LAPACK, the same on every machine.

    Raises:
        ValueError: the matrix is singular.
    """
    # Python's numbers: a call to NumPy for three of them takes twenty times as long
    a, b, c = (matrix[:3, column].tolist() for column in range(3))
    shift = matrix[:3, 3].tolist()
    cofactors = (_cross(b, c), _cross(c, a), _cross(a, b))
    first = cofactors[0]
    determinant = a[0] * first[0] + a[1] * first[1] + a[2] * first[2]
    if not math.isfinite(determinant) or determinant == 0.0:
        raise ValueError("the matrix is singular")
    inverse = np.eye(4)
    for row, cofactor in enumerate(cofactors):
        x, y, z = (value / determinant for value in cofactor)
        inverse[row] = x, y, z, -(x * shift[0] + y * shift[1] + z * shift[2])
    return inverse


def _cross(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float]:
    """Vector product; NumPy's own takes fifty times as long for three numbers."""
    return (a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def look_at(eye: Vector3, target: Vector3, up: Vector3 = (0.0, 0.0, 1.0)) -> Matrix4:
    """``cam2world`` of a camera at ``eye`` that looks at ``target``.

    Raises:
        ValueError: eye and target coincide, or ``up`` is parallel to the viewing direction.
    """
    back = np.subtract(eye, target).astype(np.float64)
    right = np.cross(np.asarray(up, dtype=np.float64), back)
    back_length, right_length = np.sqrt((back**2).sum()), np.sqrt((right**2).sum())
    if back_length < 1e-9 or right_length < 1e-9:
        raise ValueError(f"cannot look from {eye} at {target} with up {up}")
    back, right = back / back_length, right / right_length
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = right, np.cross(back, right), back
    matrix[:3, 3] = eye
    return as_matrix4(matrix)


def focal_px(camera: CameraView) -> float:
    """Focal length in pixels, the same along x and y."""
    return camera.focal_length_mm * camera.width / camera.horizontal_aperture_mm


def principal_point_px(camera: CameraView) -> tuple[float, float]:
    """Where the viewing axis meets the image, in continuous pixel coordinates."""
    pixels_per_mm = camera.width / camera.horizontal_aperture_mm
    # USD's offsets move the aperture window over the fixed axis: the axis moves the other way.
    return (
        camera.width / 2 - camera.horizontal_aperture_offset_mm * pixels_per_mm,
        camera.height / 2 + camera.vertical_aperture_offset_mm * pixels_per_mm,
    )


def intrinsics(camera: CameraView) -> Float64:
    """(3, 3) matrix K in OpenCV's convention: x right, y down, z forward."""
    focal = focal_px(camera)
    cx, cy = principal_point_px(camera)
    return np.array([[focal, 0.0, cx], [0.0, focal, cy], [0.0, 0.0, 1.0]])


def pixel_rays(
    camera: CameraView, offset: tuple[float, float] = (0.5, 0.5)
) -> tuple[Float64, Float64]:
    """World directions of the rays through the pixels, and their cosine to the viewing axis.

    The last answer is kept, since labels and their check want the same one: it can't be written to.

    Args:
        camera: the camera.
        offset: place within each pixel, (0.5, 0.5) being its centre.

    Returns:
        Unit directions (H, W, 3) and cosines (H, W), both float64.
    """
    return _pixel_rays(
        (camera.width, camera.height),
        focal_px(camera),
        principal_point_px(camera),
        camera.cam2world,
        offset,
    )


@functools.lru_cache(maxsize=1)
def _pixel_rays(
    size: tuple[int, int],
    focal: float,
    centre: tuple[float, float],
    cam2world: Matrix4,
    offset: tuple[float, float],
) -> tuple[Float64, Float64]:
    x = (np.arange(size[0]) + offset[0] - centre[0]) / focal
    y = -(np.arange(size[1]) + offset[1] - centre[1]) / focal
    matrix = matrix4(cam2world)
    directions, cosine = np.empty((size[1], size[0], 3)), np.empty((size[1], size[0]))
    for top in range(0, size[1], _ROWS_AT_ONCE):  # a few, which stay in the CPU's caches
        rows = slice(top, top + _ROWS_AT_ONCE)
        forward = 1.0 / np.sqrt((x**2)[None, :] + (y[rows] ** 2)[:, None] + 1.0)
        local = x[None, :] * forward, y[rows, None] * forward, -forward
        cosine[rows] = forward
        for axis, values in enumerate(transform_planes(matrix, local, offset=False)):
            directions[rows, :, axis] = values
    directions.flags.writeable = cosine.flags.writeable = False
    return directions, cosine


def rays_through(camera: CameraView, pixels: Float64) -> tuple[Float64, Float64]:
    """World directions of the rays through places in the image, and their cosine to the axis.

    Args:
        camera: the camera.
        pixels: continuous pixel coordinates (N, 2).

    Returns:
        Unit directions (N, 3) and cosines (N,), both float64.
    """
    focal = focal_px(camera)
    cx, cy = principal_point_px(camera)
    local = np.empty((len(pixels), 3))
    local[:, 0], local[:, 1] = (pixels[:, 0] - cx) / focal, -(pixels[:, 1] - cy) / focal
    local[:, 2] = -1.0
    cosine = 1.0 / np.sqrt(local[:, 0] ** 2 + local[:, 1] ** 2 + 1.0)
    return transform_directions(matrix4(camera.cam2world), local * cosine[:, None]), cosine


def to_camera(camera: CameraView, points_world: npt.NDArray[np.floating]) -> Float64:
    """World points (N, 3) in the camera's frame."""
    return transform_points(affine_inverse(matrix4(camera.cam2world)), points_world)


def to_pixels(camera: CameraView, points_camera: Float64) -> Float64:
    """Camera points (N, 3) with z < 0 as continuous pixel coordinates (N, 2)."""
    return np.stack(_pixel_planes(camera, points_camera), axis=-1)


def _pixel_planes(camera: CameraView, points_camera: Float64) -> tuple[Float64, Float64]:
    focal = focal_px(camera)
    cx, cy = principal_point_px(camera)
    depth = -points_camera[..., 2]
    x = points_camera[..., 0] / depth * focal + cx
    y = -points_camera[..., 1] / depth * focal + cy
    return x, y


def project(camera: CameraView, points_world: npt.NDArray[np.floating]) -> tuple[Float64, Float64]:
    """World points (N, 3) as pixel coordinates (N, 2) and depth along the axis (N,) in metres.

    Points at or behind the camera have a depth <= 0 and meaningless pixel coordinates.
    """
    local = to_camera(camera, points_world)
    with np.errstate(divide="ignore", invalid="ignore"):
        return to_pixels(camera, local), -local[..., 2]


def box_corners(minimum: Vector3, maximum: Vector3) -> Float64:
    """The eight corners (8, 3) of an axis-aligned box; corner i takes bit k of i for axis k."""
    low, high = np.asarray(minimum, dtype=np.float64), np.asarray(maximum, dtype=np.float64)
    bits = (np.arange(8)[:, None] >> np.arange(3)) & 1
    return np.where(bits == 1, high, low)


BOX_EDGES = np.array(
    [(i, i | bit) for i in range(8) for bit in (1, 2, 4) if not i & bit], dtype=np.int64
)
"""Corner indices (12, 2) of the box's edges, in the order of :func:`box_corners`."""


def projected_extent(
    camera: CameraView, points_world: npt.NDArray[np.floating], edges: npt.NDArray[np.integer]
) -> tuple[float, float, float, float] | None:
    """Bounds of a wireframe's picture on the unbounded image plane, in pixels.

    Edges that cross the near plane are cut there, so the bounds are those of the visible part of
    the hull even for what reaches behind the camera.

    Args:
        camera: the camera.
        points_world: (N, 3) vertices.
        edges: (E, 2) vertex indices.

    Returns:
        ``(x_min, y_min, x_max, y_max)``; None when all of it lies before the near plane.
    """
    local = to_camera(camera, points_world)
    near = camera.near_m
    inside = -local[:, 2] >= near
    kept = local if inside.all() else local[inside]
    if len(kept) and len(kept) < len(local):
        crossing = edges[inside[edges[:, 0]] != inside[edges[:, 1]]]
        start, end = local[crossing[:, 0]], local[crossing[:, 1]]
        fraction = (-near - start[:, 2]) / (end[:, 2] - start[:, 2])
        cut = start + (end - start) * fraction[:, None]
        cut[:, 2] = -near
        kept = np.concatenate([kept, cut])
    if len(kept) == 0:
        return None
    x, y = _pixel_planes(camera, kept)
    return float(x.min()), float(y.min()), float(x.max()), float(y.max())
