"""Cameras of a frame: draws under ``camera.<name>.<field>``."""

from __future__ import annotations

import math

from simcloud.errors import InvalidRequest
from simcloud.geometry import look_at
from simcloud.spec.camera_model import Camera, LookAt, Orbit
from simcloud.spec.distributions import to_float32
from simcloud.spec.draws import Draws, sphere_point
from simcloud.spec.parameters import CameraView, Matrix4


def sample_camera(camera: Camera, draws: Draws) -> CameraView:
    """The camera of a frame.

    Raises:
        InvalidRequest: it looks at its own place.
    """
    name = f"camera.{camera.name}"
    fov_deg = draws.real(f"{name}.horizontal_fov_deg", camera.horizontal_fov_deg)
    focal = camera.horizontal_aperture_mm / (2 * math.tan(math.radians(fov_deg) / 2))
    exposure = camera.exposure_ev
    return CameraView(
        name=camera.name,
        width=camera.width_px,
        height=camera.height_px,
        cam2world=_pose(camera, name, draws),
        focal_length_mm=to_float32(focal),
        horizontal_aperture_mm=to_float32(camera.horizontal_aperture_mm),
        near_m=to_float32(camera.near_m),
        far_m=to_float32(camera.far_m),
        exposure_ev=None if exposure is None else draws.real(f"{name}.exposure_ev", exposure),
    )


def _pose(camera: Camera, name: str, draws: Draws) -> Matrix4:
    placement = camera.placement
    target = draws.vector(f"{name}.target", placement.target)
    match placement:
        case LookAt():
            eye = draws.vector(f"{name}.eye", placement.eye)
        case Orbit():
            distance = draws.real(f"{name}.distance_m", placement.distance_m)
            eye = sphere_point(
                target,
                distance=distance,
                azimuth_deg=draws.real(f"{name}.azimuth_deg", placement.azimuth_deg),
                elevation_deg=draws.real(f"{name}.elevation_deg", placement.elevation_deg),
            )
    roll = draws.real(f"{name}.roll_deg", placement.roll_deg)
    try:
        matrix = look_at(eye, target)
    except ValueError as error:
        raise InvalidRequest(f"cameras[{camera.name}].placement", str(error)) from error
    return matrix if roll == 0.0 else _rolled(matrix, roll)


def _rolled(cam2world: Matrix4, roll_deg: float) -> Matrix4:
    """Turns the camera clockwise about its viewing axis: columns X and Y turn into each other."""
    cosine, sine = math.cos(math.radians(roll_deg)), math.sin(math.radians(roll_deg))
    rows = []
    for x, y, z, w in cam2world:
        rows.append((to_float32(x * cosine - y * sine), to_float32(x * sine + y * cosine), z, w))
    return tuple(rows)
