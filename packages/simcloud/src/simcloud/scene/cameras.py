"""Cameras of a stage."""

from __future__ import annotations

from typing import Any

import numpy as np

from simcloud.errors import InvalidRequest
from simcloud.geometry import Float64, as_matrix4, float32
from simcloud.scene.stage import value
from simcloud.spec.scene_camera import SceneCamera


def read_camera(prim: Any, local2world: Float64, metres_per_unit: float) -> SceneCamera:
    """A ``UsdGeom.Camera`` with its rigid pose.

    USD states apertures and the focal length in tenths of a scene unit; only their ratio counts
    for a pinhole camera, so they are taken as millimetres.

    Args:
        prim: the camera.
        local2world: (4, 4) to our world; its scale is dropped.
        metres_per_unit: of the stage, for the clipping range.

    Raises:
        InvalidRequest: its focal length or an aperture is not above 0, its clipping range is
            empty, or its transform has a scale of zero.
    """
    from pxr import UsdGeom

    camera = UsdGeom.Camera(prim)
    pose = local2world.copy()
    lengths = np.sqrt((local2world[:3, :3] ** 2).sum(axis=0))
    if not lengths.all():
        raise InvalidRequest("scene", f"{prim.GetPath()} has a scale of zero")
    pose[:3, :3] /= lengths
    for name in ("focalLength", "horizontalAperture", "verticalAperture"):
        size = float(value(prim.GetAttribute(name)))
        if not np.isfinite(size) or size <= 0:
            raise InvalidRequest("scene", f"{prim.GetPath()}.{name} must be above 0, found {size}")
    near, far = value(camera.GetClippingRangeAttr())
    if not 0 <= near < far:
        raise InvalidRequest("scene", f"{prim.GetPath()}.clippingRange is empty: {near} to {far}")
    return SceneCamera(
        path=str(prim.GetPath()),
        cam2world=as_matrix4(pose),
        focal_length_mm=float32(value(camera.GetFocalLengthAttr())),
        horizontal_aperture_mm=float32(value(camera.GetHorizontalApertureAttr())),
        vertical_aperture_mm=float32(value(camera.GetVerticalApertureAttr())),
        horizontal_aperture_offset_mm=float32(value(camera.GetHorizontalApertureOffsetAttr())),
        vertical_aperture_offset_mm=float32(value(camera.GetVerticalApertureOffsetAttr())),
        near_m=float32(near * metres_per_unit),
        far_m=float32(far * metres_per_unit),
    )
