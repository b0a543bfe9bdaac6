"""What stands behind the objects: a window of a picture, and their contact shadows on it."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from simcloud.geometry import box_corners, matrix4, project, transform_points
from simcloud.spec.parameters import BackgroundView, CameraView
from simcloud_generator.backends.frame_scene import FrameScene, Group
from simcloud_generator.backends.images import (
    Float32Array,
    UInt8Array,
    linear_to_srgb,
    srgb_to_linear,
)

FLOOR_M = 0.05
"""Only what stands within this of the lowest object casts a shadow on the background."""

SHADOW_SPREAD = 1.08
"""Of a shadow against the base of its object."""

SHADOW_BLUR = 0.07
"""Standard deviation of a shadow's edge, as a share of its longer side."""


COARSE_BLUR_PX = 3.0
"""A shadow is drawn coarser until its blur is no wider than this."""


def window(picture: UInt8Array, view: BackgroundView, size: tuple[int, int]) -> UInt8Array:
    """The part of a picture that a view shows, uint8 sRGB (H, W, 3).

    Args:
        picture: uint8 sRGB (H, W, 3 or more).
        view: which part, and what is done to it.
        size: width and height wanted, pixels.
    """
    source_height, source_width = picture.shape[:2]
    width, height = size
    scale = max(width / source_width, height / source_height) * view.zoom
    part = (
        min(source_width, max(1, round(width / scale))),
        min(source_height, max(1, round(height / scale))),
    )
    left = int((source_width - part[0]) * view.offset[0])
    top = int((source_height - part[1]) * view.offset[1])
    cut = picture[top : top + part[1], left : left + part[0], :3]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    shown = cv2.resize(np.ascontiguousarray(cut), size, interpolation=method)
    if view.flipped:
        shown = cv2.flip(shown, 1)
    if view.blur_px > 0:
        shown = cv2.GaussianBlur(shown, (0, 0), view.blur_px, borderType=cv2.BORDER_REFLECT_101)
    linear = srgb_to_linear(np.arange(256) / 255.0)
    table = np.stack([linear_to_srgb(np.clip(linear * gain, 0, 1)) for gain in view.gain_rgb], -1)
    levels = np.rint(table * 255).astype(np.uint8).reshape(1, 256, 3)
    return np.asarray(cv2.LUT(np.ascontiguousarray(shown), levels), dtype=np.uint8)


def contact_shadow(frame: FrameScene, camera: CameraView, strength: float) -> Float32Array:
    """Factor on the background's linear values, float32 (H, W).

    The base of every object that stands on the ground, blurred: what light from everywhere leaves
    dark under things.
    """
    result = np.ones((camera.height, camera.width), dtype=np.float32)
    bases = [(group, _base(group)) for group in frame.groups]
    ground = min((float(base[:, 2].min()) for _, base in bases), default=0.0)
    for _, base in bases:
        if float(base[:, 2].min()) <= ground + FLOOR_M:
            _darken(result, camera, base, strength)
    return result


def _base(group: Group) -> npt.NDArray[np.float64]:
    """The four lowest corners (4, 3) of an object's box, in world."""
    corners = transform_points(matrix4(group.frame), box_corners(*group.box3d))
    return corners[np.argsort(corners[:, 2], kind="stable")[:4]]


def _darken(
    result: Float32Array, camera: CameraView, base: npt.NDArray[np.float64], strength: float
) -> None:
    centre = base.mean(axis=0)
    pixels, depth = project(camera, centre + (base - centre) * SHADOW_SPREAD)
    if (depth < camera.near_m).any():
        return
    hull = cv2.convexHull(pixels.astype(np.float32)).reshape(-1, 2)
    low, high = hull.min(axis=0), hull.max(axis=0)
    blur = max(1.0, SHADOW_BLUR * float((high - low).max()))
    margin = 3 * blur
    left, top = (max(0, int(low[axis] - margin)) for axis in (0, 1))
    right = min(result.shape[1], int(high[0] + margin) + 1)
    bottom = min(result.shape[0], int(high[1] + margin) + 1)
    if right <= left or bottom <= top:
        return
    # what is soft needs few pixels
    step = max(1, int(blur / COARSE_BLUR_PX))
    size = (-(-(right - left) // step), -(-(bottom - top) // step))
    mask = np.zeros((size[1], size[0]), dtype=np.float32)
    cv2.fillConvexPoly(mask, np.rint((hull - (left, top)) / step).astype(np.int32), 1.0)
    soft = cv2.GaussianBlur(mask, (0, 0), blur / step, borderType=cv2.BORDER_REPLICATE)
    if step > 1:
        soft = cv2.resize(soft, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    result[top:bottom, left:right] *= 1.0 - np.float32(strength) * np.asarray(soft)
