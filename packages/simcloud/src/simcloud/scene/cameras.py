"""Cameras of a stage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from simcloud.geometry import Float64, as_matrix4, float32
from simcloud.spec.parameters import Matrix4


@dataclass(frozen=True, slots=True)
class SceneCamera:
    """A camera of the stage."""

    path: str
    cam2world: Matrix4
    focal_length_mm: float
    horizontal_aperture_mm: float
    vertical_aperture_mm: float
    horizontal_aperture_offset_mm: float
    vertical_aperture_offset_mm: float
    near_m: float
    far_m: float


def read_camera(prim: Any, local2world: Float64, metres_per_unit: float) -> SceneCamera:
    """A ``UsdGeom.Camera`` with its rigid pose.

    USD states apertures and the focal length in tenths of a scene unit; only their ratio counts
    for a pinhole camera, so they are taken as millimetres.

    Args:
        prim: the camera.
        local2world: (4, 4) to our world; its scale is dropped.
        metres_per_unit: of the stage, for the clipping range.
    """
    from pxr import UsdGeom

    camera = UsdGeom.Camera(prim)
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
        near_m=float32(near * metres_per_unit),
        far_m=float32(far * metres_per_unit),
    )
