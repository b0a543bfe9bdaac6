"""What every renderer asks of a frame's cameras."""

from __future__ import annotations

import numpy as np

from simcloud.errors import InvalidRequest
from simcloud.spec.parameters import CameraView


def check_camera(index: int, camera: CameraView) -> None:
    """Checks a camera of a frame.

    Args:
        index: of the camera in the frame.
        camera: to be checked.

    Raises:
        InvalidRequest: naming the field that no renderer can draw.
    """
    field = f"cameras[{index}]"
    if camera.width < 1 or camera.height < 1:
        raise InvalidRequest(field, f"a picture of {camera.width}x{camera.height} pixels")
    if not np.isfinite(np.asarray(camera.cam2world)).all():
        raise InvalidRequest(f"{field}.cam2world", "it is not finite")
    rotation = np.asarray(camera.cam2world)[:3, :3]
    if np.abs((rotation[:, :, None] * rotation[:, None, :]).sum(axis=0) - np.eye(3)).max() > 1e-4:
        raise InvalidRequest(f"{field}.cam2world", "its upper left 3x3 is no rotation")
    if camera.focal_length_mm <= 0 or camera.horizontal_aperture_mm <= 0:
        raise InvalidRequest(field, "focal length and aperture must be above 0")
    if not 0 < camera.near_m < camera.far_m:
        raise InvalidRequest(field, f"near {camera.near_m} and far {camera.far_m} are no range")
