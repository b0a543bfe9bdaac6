"""(spec, frame index) to the parameters of a frame: pure, equal everywhere, a few milliseconds.

Names of the draws are stable: ``camera.<name>.<field>``, ``dome.<field>``,
``light.<name>.<field>``, ``material.<name>`` and those of ``sample_objects``.
"""

from __future__ import annotations

import math

from simcloud.errors import InvalidRequest
from simcloud.geometry import look_at
from simcloud.spec.color import black_body_rgb
from simcloud.spec.distributions import to_float32
from simcloud.spec.draws import Draws, yaw_quaternion
from simcloud.spec.model import Camera, LookAt, Orbit, Spec
from simcloud.spec.parameters import (
    CameraView,
    DomeLight,
    FrameParameters,
    MaterialBinding,
    Matrix4,
    RectLight,
)
from simcloud.spec.sample_objects import SceneContents, sample_objects


def sample(spec: Spec, scene: SceneContents, frame: int) -> FrameParameters:
    """Draws everything that is random in a frame.

    Args:
        spec: the spec.
        scene: what the scene holds.
        frame: frame index, 0 or more.

    Raises:
        InvalidRequest: the spec names something that the scene doesn't hold, or a camera that looks
            at its own place.
    """
    draws = Draws(spec.seed, frame)
    randomization = spec.randomization
    dome = None
    if randomization.dome is not None:
        name = draws.text("dome.environment", randomization.dome.environments)
        dome = DomeLight(
            texture=scene.environment_texture(name),
            rotation_deg=draws.real("dome.rotation_deg", randomization.dome.rotation_deg),
            intensity=draws.real("dome.intensity", randomization.dome.intensity),
        )
    bindings = []
    for choice in randomization.materials:
        material = draws.text(f"material.{choice.name}", choice.material)
        bindings += [MaterialBinding(prim=prim, material=material) for prim in choice.prims]
    return FrameParameters(
        frame=frame,
        render_seed=draws.stream("render_seed").word() >> 32,
        dome=dome,
        rect_lights=tuple(_rect_lights(spec, draws)),
        bindings=tuple(bindings),
        objects=tuple(sample_objects(spec, scene, draws)),
        cameras=tuple(_camera(camera, draws) for camera in spec.cameras),
        values=dict(sorted(draws.values.items())),
    )


def _rect_lights(spec: Spec, draws: Draws) -> list[RectLight]:
    lights = []
    for light in spec.randomization.rect_lights:
        name = f"light.{light.name}"
        radiance = draws.real(f"{name}.radiance", light.radiance)
        colour = black_body_rgb(draws.real(f"{name}.temperature_k", light.temperature_k))
        red, green, blue = (to_float32(radiance * part) for part in colour)
        lights.append(
            RectLight(
                name=light.name,
                position_m=draws.vector(f"{name}.position", light.position_m),
                orientation_wxyz=yaw_quaternion(draws.real(f"{name}.yaw_deg", light.yaw_deg)),
                width_m=draws.real(f"{name}.width_m", light.width_m),
                height_m=draws.real(f"{name}.height_m", light.height_m),
                radiance_rgb=(red, green, blue),
            )
        )
    return lights


def _camera(camera: Camera, draws: Draws) -> CameraView:
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
            azimuth = math.radians(draws.real(f"{name}.azimuth_deg", placement.azimuth_deg))
            elevation = math.radians(draws.real(f"{name}.elevation_deg", placement.elevation_deg))
            distance = draws.real(f"{name}.distance_m", placement.distance_m)
            flat = distance * math.cos(elevation)
            eye = (
                to_float32(target[0] + flat * math.sin(azimuth)),
                to_float32(target[1] - flat * math.cos(azimuth)),
                to_float32(target[2] + distance * math.sin(elevation)),
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
