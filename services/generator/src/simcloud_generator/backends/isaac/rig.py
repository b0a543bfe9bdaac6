"""Cameras and lights of a frame as prims below one root of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from simcloud.geometry import Float64, matrix4, pose_matrix
from simcloud.spec.parameters import (
    CameraView,
    DiskLight,
    DistantLight,
    DomeLight,
    FrameParameters,
    RectLight,
    ShapeLight,
    Vector3,
)
from simcloud_generator.backends.isaac.authoring import define, put, put_transform, rigid

ROOT = "/Simcloud"
"""Prim of the frame's cameras and lights."""

FOCUS_STEP = 2.0**-20
"""Relative change of the focus distance from one capture to the next: it can be told apart in
float32 and cannot be seen. It comes back in ``camera_params``, so data of an earlier frame are
recognised even when nothing else has moved."""

FOCUS_STEPS = 256

PINHOLE_FOCUS_M = 10.0
"""Focus distance of a camera without a lens; it has no effect, since its f-stop is 0."""

POLE_TO_Z = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=np.float64)
"""Turns a dome's pole (+Y, as UsdLux has it) to world +Z; its centre then lies towards -Y."""


class FrameRig:
    """Writes cameras and lights into a layer.

    Args:
        layer: to write into.
        world2stage: (4, 4) from our world to the stage's frame and units.
        folder: that textures are named from.
    """

    def __init__(self, layer: Any, world2stage: Float64, folder: Path) -> None:
        self.layer = layer
        self.world2stage = world2stage
        self.metres_per_unit = 1.0 / float(np.sqrt((world2stage[:3, 0] ** 2).sum()))
        self._folder = folder
        for scope in (ROOT, f"{ROOT}/Cameras", f"{ROOT}/Lights"):
            define(layer, scope, "Scope")  # what lies below a mere `over` is not drawn

    def apply(self, parameters: FrameParameters, serial: int) -> set[str]:
        """Writes a frame's cameras and lights; returns their paths."""
        written = {self._camera(camera, serial) for camera in parameters.cameras}
        written |= {self._rect_light(light) for light in parameters.rect_lights}
        written |= {self._shape_light(light) for light in parameters.lights}
        if parameters.dome is not None:
            written.add(self._dome(parameters.dome))
        return written

    def image(self, dome: DomeLight) -> Path:
        """The file of a dome's texture, there or not."""
        return (self._folder / dome.texture).resolve()

    def camera_matrix(self, camera: CameraView) -> Float64:
        """(4, 4) from the camera's frame to the stage's, in stage units, without scale."""
        return rigid(self.world2stage @ matrix4(camera.cam2world))

    def _camera(self, camera: CameraView, serial: int) -> str:
        from pxr import Gf, Sdf

        kinds = Sdf.ValueTypeNames
        path = camera_path(camera.name)
        spec = define(self.layer, path, "Camera")
        put_transform(spec, self.camera_matrix(camera))
        # USD counts these in tenths of a scene unit; for a pinhole only their ratio matters, and
        # Replicator returns them as they are written.
        vertical = camera.horizontal_aperture_mm * camera.height / camera.width
        put(spec, "focalLength", kinds.Float, camera.focal_length_mm)
        put(spec, "horizontalAperture", kinds.Float, camera.horizontal_aperture_mm)
        put(spec, "verticalAperture", kinds.Float, vertical)
        put(spec, "horizontalApertureOffset", kinds.Float, camera.horizontal_aperture_offset_mm)
        put(spec, "verticalApertureOffset", kinds.Float, camera.vertical_aperture_offset_mm)
        # Replicator's own cameras begin at a whole unit: a metre.
        units = Gf.Vec2f(camera.near_m / self.metres_per_unit, camera.far_m / self.metres_per_unit)
        put(spec, "clippingRange", kinds.Float2, units)
        put(spec, "fStop", kinds.Float, camera.f_stop or 0.0)
        put(spec, "focusDistance", kinds.Float, self.focus_distance(camera, serial))
        put(spec, "exposure", kinds.Float, camera.exposure_ev or 0.0)
        return path

    def focus_distance(self, camera: CameraView, serial: int) -> float:
        """What ``camera_params`` must say for a capture, stage units, as float32."""
        metres = camera.focus_distance_m or PINHOLE_FOCUS_M
        marked = metres / self.metres_per_unit * (1.0 + FOCUS_STEP * (serial % FOCUS_STEPS))
        return float(np.float32(marked))

    def _rect_light(self, light: RectLight) -> str:
        from pxr import Sdf

        kinds = Sdf.ValueTypeNames
        path = f"{ROOT}/Lights/{_identifier(light.name)}"
        spec = define(self.layer, path, "RectLight")
        pose = pose_matrix(light.position_m, light.orientation_wxyz)
        put_transform(spec, rigid(self.world2stage @ pose))
        put(spec, "inputs:width", kinds.Float, light.width_m / self.metres_per_unit)
        put(spec, "inputs:height", kinds.Float, light.height_m / self.metres_per_unit)
        _put_emission(spec, light.radiance_rgb, normalized=False)
        return path

    def _shape_light(self, light: ShapeLight) -> str:
        from pxr import Sdf

        path = f"{ROOT}/Lights/{_identifier(light.name)}"
        kinds = Sdf.ValueTypeNames
        if isinstance(light, DistantLight):
            spec = define(self.layer, path, "DistantLight")
            pose = np.eye(4)
            pose[:3, :3] = _facing(light.direction)
            # no angle and normalized: the intensity is the irradiance, the shadows are sharp
            put(spec, "inputs:angle", kinds.Float, 0.0)
            _put_emission(spec, light.irradiance_rgb, normalized=True)
        else:
            spec = define(self.layer, path, type(light).__name__)
            turned = (
                light.orientation_wxyz if isinstance(light, DiskLight) else (1.0, 0.0, 0.0, 0.0)
            )
            pose = pose_matrix(light.position_m, turned)
            put(spec, "inputs:radius", kinds.Float, light.radius_m / self.metres_per_unit)
            _put_emission(spec, light.radiance_rgb, normalized=False)
        put_transform(spec, rigid(self.world2stage @ pose))
        return path

    def _dome(self, dome: DomeLight) -> str:
        from pxr import Sdf

        kinds = Sdf.ValueTypeNames
        path = f"{ROOT}/Lights/simcloud_dome"
        spec = define(self.layer, path, "DomeLight")
        angle = np.radians(dome.rotation_deg)
        turn = np.eye(4)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        put_transform(spec, rigid(self.world2stage @ turn @ POLE_TO_Z))
        put(spec, "inputs:intensity", kinds.Float, dome.intensity)
        put(spec, "inputs:texture:file", kinds.Asset, Sdf.AssetPath(str(self.image(dome))))
        put(spec, "inputs:texture:format", kinds.Token, "latlong")
        return path


def camera_path(name: str) -> str:
    """Prim of a frame's camera."""
    return f"{ROOT}/Cameras/{_identifier(name)}"


def _put_emission(spec: Any, emission: Vector3, *, normalized: bool) -> None:
    """Intensity and colour of a light."""
    from pxr import Gf, Sdf

    kinds = Sdf.ValueTypeNames
    brightest = max(*emission, 1e-12)
    put(spec, "inputs:intensity", kinds.Float, brightest)
    put(spec, "inputs:color", kinds.Color3f, Gf.Vec3f(*(value / brightest for value in emission)))
    put(spec, "inputs:normalize", kinds.Bool, normalized)


def _facing(direction: Vector3) -> Float64:
    """(3, 3) rotation that turns -Z, the way a light shines, to a direction."""
    back = -np.asarray(direction, dtype=np.float64)
    back = back / np.sqrt((back**2).sum())
    side = np.array([0.0, 1.0, 0.0]) if abs(back[1]) < 0.9 else np.array([1.0, 0.0, 0.0])
    across = np.cross(side, back)
    across = across / np.sqrt((across**2).sum())
    return np.stack([across, np.cross(back, across), back], axis=1)


def _identifier(name: str) -> str:
    from pxr import Tf

    return str(Tf.MakeValidIdentifier(name))
