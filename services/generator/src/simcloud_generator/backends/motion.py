"""Motion vectors: where each pixel's surface point was one step before the frame.

By the hits themselves: the point that a pixel's ray found is moved back with the rigid motion of
its object and projected with the camera as it stood then. So a vector is exact wherever the pixel's
object is, whatever was visible one step earlier.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from simcloud.geometry import (
    Float64,
    affine_inverse,
    as_matrix4,
    matrix4,
    previous_pose,
    to_camera,
    to_pixels,
    transform_points,
)
from simcloud.spec.parameters import CameraView
from simcloud_generator.backends.frame_scene import FrameScene
from simcloud_generator.backends.tracing import ViewTrace

CHANNELS = 4
"""As Replicator has it: x, y and two that mean nothing, here 0."""

FAR_M = 1e7
"""Where a ray that hit nothing ends: so far that only the camera's turning moves it."""


def motion_vectors(
    frame: FrameScene, camera: CameraView, trace: ViewTrace
) -> npt.NDArray[np.float32]:
    """Pixels from where a point is to where it was, float32 (H, W, 4); z and w are 0.

    Replicator's signs: x is positive for what moved to the left, y for what moved up. Where nothing
    was hit, the direction is taken to lie infinitely far away. A point that was behind the camera
    has 0.
    """
    result = np.zeros((camera.height * camera.width, CHANNELS), dtype=np.float32)
    earlier = _earlier(camera)
    group_of = trace.hits.group
    for index in (-1, *range(len(frame.groups))):
        step = frame.groups[index].step if index >= 0 else None
        if step is None and camera.step is None:
            continue  # exactly 0, not rounded
        at = np.flatnonzero(group_of == index)
        points = _points(camera, trace, at)
        if step is not None:
            local2world = frame.groups[index].local2world
            assert local2world is not None  # static geometry makes no step
            back = previous_pose(local2world, step)
            points = transform_points(back, transform_points(affine_inverse(local2world), points))
        result[at, :2] = _shift(camera, earlier, points, at)
    return result.reshape(camera.height, camera.width, CHANNELS)


def _earlier(camera: CameraView) -> CameraView:
    if camera.step is None:
        return camera
    pose = previous_pose(matrix4(camera.cam2world), camera.step)
    return replace(camera, cam2world=as_matrix4(pose))


def _points(camera: CameraView, trace: ViewTrace, at: npt.NDArray[np.int64]) -> Float64:
    """World points (N, 3) that the rays of some pixels end at."""
    distance = trace.hits.distance_m[at].astype(np.float64)
    distance[~np.isfinite(distance)] = FAR_M
    eye = matrix4(camera.cam2world)[:3, 3]
    return eye + trace.directions.reshape(-1, 3)[at] * distance[:, None]


def _shift(
    camera: CameraView, earlier: CameraView, points: Float64, at: npt.NDArray[np.int64]
) -> Float64:
    """Pixels (N, 2) from the centres of the pixels ``at`` to where the points were seen earlier."""
    local = to_camera(earlier, points)
    seen = -local[:, 2] > camera.near_m
    rows, columns = np.divmod(at[seen], camera.width)
    shift = np.zeros((len(at), 2))
    shift[seen] = to_pixels(earlier, local[seen]) - np.stack([columns + 0.5, rows + 0.5], axis=1)
    return shift
