"""UsdGeom cameras to neutral ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from simcloud.geometry import Float64, as_matrix4, float32

from simcloud_generator.scene.types import SceneCamera

if TYPE_CHECKING:
    from simcloud_generator.scene.usd import SceneReader


def read_camera(prim: Any, local2world: Float64, reader: SceneReader) -> SceneCamera:
    """A camera with its rigid pose; apertures are millimetres whatever the stage's unit.

    USD states apertures and the focal length in tenths of a scene unit; only their ratio counts,
    so they are taken as millimetres.
    """
    from pxr import UsdGeom

    camera = UsdGeom.Camera(prim)
    if str(camera.GetProjectionAttr().Get()) != "perspective":
        reader.warn(prim, "orthographic cameras are read as perspective ones")
    unit = float(np.sqrt((reader.normalization[:3, 0] ** 2).sum()))
    pose = local2world.copy()
    pose[:3, :3] /= np.sqrt((local2world[:3, :3] ** 2).sum(axis=0))
    near, far = camera.GetClippingRangeAttr().Get()
    return SceneCamera(
        path=str(prim.GetPath()),
        cam2world=as_matrix4(pose),
        focal_length_mm=float32(camera.GetFocalLengthAttr().Get()),
        horizontal_aperture_mm=float32(camera.GetHorizontalApertureAttr().Get()),
        vertical_aperture_mm=float32(camera.GetVerticalApertureAttr().Get()),
        horizontal_aperture_offset_mm=float32(camera.GetHorizontalApertureOffsetAttr().Get()),
        vertical_aperture_offset_mm=float32(camera.GetVerticalApertureOffsetAttr().Get()),
        near_m=float32(near * unit),
        far_m=float32(far * unit),
    )
