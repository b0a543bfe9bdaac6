"""One frame as a USD stage of its own, for a renderer that reads USD and knows nothing of ours.

The frame's stage has the scene's root layer as its sublayer and says on top what the frame's
parameters say: objects as references to the library's prims, material bindings, lights, cameras.
Z up, metres, like the scenes; a scene in other units is refused.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from pxr import Gf, Sdf, Usd, UsdGeom, UsdLux, UsdShade

from simcloud.geometry import pose_matrix
from simcloud.spec.parameters import CameraView, FrameParameters, MaterialBinding, PlacedObject

OBJECTS = "/World/Objects"
CAMERAS = "/World/Cameras"
_TENTHS_OF_UNIT_PER_MM = 1.0  # metersPerUnit 1: USD's focal lengths count tenths of a stage unit


def write_frame_stage(scene_root: Path, parameters: FrameParameters, path: Path) -> None:
    """Writes the frame's stage.

    Args:
        scene_root: root layer of the scene.
        parameters: what the frame consists of.
        path: file to write, ``.usda``.

    Raises:
        ValueError: the scene is not Z up in metres.
    """
    base = Usd.Stage.Open(str(scene_root))
    if UsdGeom.GetStageUpAxis(base) != "Z" or UsdGeom.GetStageMetersPerUnit(base) != 1.0:
        raise ValueError(f"{scene_root} is not Z up in metres")
    stage = Usd.Stage.CreateNew(str(path))
    stage.GetRootLayer().subLayerPaths.append(os.path.relpath(scene_root, path.parent))
    UsdGeom.SetStageUpAxis(stage, "Z")
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    for item in parameters.objects:
        _place(stage, item)
    for binding in parameters.bindings:
        _bind(stage, binding)
    for camera in parameters.cameras:
        _camera(stage, camera)
    _lights(stage, scene_root, parameters)
    stage.GetRootLayer().Save()


def _place(stage: Any, item: PlacedObject) -> None:
    prim = UsdGeom.Xform.Define(stage, f"{OBJECTS}/{item.name}")
    pose = pose_matrix(item.position_m, item.orientation_wxyz, item.scale)
    prim.AddTransformOp().Set(_gf(pose))
    # The library's prim is a class with a transform of its own: it goes below the pose.
    inner = stage.DefinePrim(f"{OBJECTS}/{item.name}/asset", "Xform")
    inner.GetReferences().AddInternalReference(Sdf.Path(f"/Library/{item.asset}"))


def _bind(stage: Any, binding: MaterialBinding) -> None:
    prim = stage.OverridePrim(binding.prim)
    material = UsdShade.Material(stage.GetPrimAtPath(binding.material))
    UsdShade.MaterialBindingAPI.Apply(prim).Bind(material)


def _camera(stage: Any, view: CameraView) -> None:
    camera = UsdGeom.Camera.Define(stage, f"{CAMERAS}/{view.name}")
    camera.AddTransformOp().Set(_gf(np.array(view.cam2world)))
    camera.CreateFocalLengthAttr(view.focal_length_mm * _TENTHS_OF_UNIT_PER_MM)
    camera.CreateHorizontalApertureAttr(view.horizontal_aperture_mm)
    camera.CreateVerticalApertureAttr(view.horizontal_aperture_mm * view.height / view.width)
    camera.CreateHorizontalApertureOffsetAttr(view.horizontal_aperture_offset_mm)
    camera.CreateVerticalApertureOffsetAttr(view.vertical_aperture_offset_mm)
    camera.CreateClippingRangeAttr(Gf.Vec2f(view.near_m, view.far_m))


def _lights(stage: Any, scene_root: Path, parameters: FrameParameters) -> None:
    if parameters.dome is not None:
        dome = UsdLux.DomeLight.Define(stage, "/World/FrameLights/dome")
        texture = (scene_root.parent / parameters.dome.texture).resolve()
        dome.CreateTextureFileAttr(str(texture))
        dome.CreateIntensityAttr(parameters.dome.intensity)
        dome.AddRotateZOp().Set(parameters.dome.rotation_deg)
    for light in parameters.rect_lights:
        rect = UsdLux.RectLight.Define(stage, f"/World/FrameLights/{light.name}")
        rect.AddTransformOp().Set(_gf(pose_matrix(light.position_m, light.orientation_wxyz, 1.0)))
        rect.CreateWidthAttr(light.width_m)
        rect.CreateHeightAttr(light.height_m)
        peak = max(light.radiance_rgb)
        rect.CreateIntensityAttr(peak)
        rect.CreateColorAttr(Gf.Vec3f(*(part / peak for part in light.radiance_rgb)))


def _gf(matrix: Any) -> Any:
    return Gf.Matrix4d(np.asarray(matrix, dtype=np.float64).T.tolist())
