"""(spec, frame index) to the parameters of a frame: pure, equal everywhere, a few milliseconds.

Names of the draws are stable: ``camera.<name>.<field>``, ``dome.<field>``,
``light.<name>.<field>``, ``material.<name>`` and those of ``sample_objects``.
"""

from __future__ import annotations

from dataclasses import replace

from simcloud.spec.color import black_body_rgb
from simcloud.spec.distributions import to_float32
from simcloud.spec.draws import Draws, facing_quaternion, sphere_point, yaw_quaternion
from simcloud.spec.light_model import RectLightSpec
from simcloud.spec.model import Spec
from simcloud.spec.parameters import (
    DomeLight,
    FrameParameters,
    MaterialBinding,
    Quaternion,
    RectLight,
    Vector3,
)
from simcloud.spec.plugins import randomized
from simcloud.spec.references import shared_names
from simcloud.spec.sample_backgrounds import sample_backgrounds
from simcloud.spec.sample_camera import sample_cameras
from simcloud.spec.sample_motion import moved_cameras, moved_objects
from simcloud.spec.sample_objects import SceneContents, sample_objects


def sample(spec: Spec, scene: SceneContents, frame: int) -> FrameParameters:
    """Draws everything that is random in a frame.

    Args:
        spec: the spec.
        scene: what the scene holds.
        frame: frame index, 0 or more.

    Raises:
        InvalidRequest: the spec names something that the scene doesn't hold, a camera looks at its
            own place, or a plug-in failed.
        PreconditionFailed: a plug-in is not installed here with the source that the spec says.
    """
    draws = Draws(spec.seed, frame, spec=spec)
    randomization = spec.randomization
    for name in shared_names(randomization):
        draws.keep(name)
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
    objects = sample_objects(spec, scene, draws)
    parameters = FrameParameters(
        frame=frame,
        render_seed=draws.stream("render_seed").word() >> 32,
        dome=dome,
        rect_lights=tuple(_rect_lights(spec, draws)),
        bindings=tuple(bindings),
        objects=tuple(objects),
        cameras=sample_cameras(spec.cameras, draws, objects=objects, size_m=scene.asset_size_m),
    )
    return _completed(parameters, spec, scene, draws)


def _completed(
    parameters: FrameParameters, spec: Spec, scene: SceneContents, draws: Draws
) -> FrameParameters:
    """With what is drawn apart from the poses, and the values of all draws."""
    completed = replace(
        parameters,
        objects=moved_objects(spec, parameters.objects, draws),
        cameras=moved_cameras(spec, parameters.cameras, draws),
        backgrounds=sample_backgrounds(spec, scene, draws),
    )
    draws.check()
    return randomized(spec, replace(completed, values=dict(sorted(draws.values.items()))))


def _rect_lights(spec: Spec, draws: Draws) -> list[RectLight]:
    lights = []
    for light in spec.randomization.rect_lights:
        name = f"light.{light.name}"
        radiance = draws.real(f"{name}.radiance", light.radiance)
        colour = black_body_rgb(draws.real(f"{name}.temperature_k", light.temperature_k))
        red, green, blue = (to_float32(radiance * part) for part in colour)
        position, orientation = _light_pose(light, name, draws)
        lights.append(
            RectLight(
                name=light.name,
                position_m=position,
                orientation_wxyz=orientation,
                width_m=draws.real(f"{name}.width_m", light.width_m),
                height_m=draws.real(f"{name}.height_m", light.height_m),
                radiance_rgb=(red, green, blue),
            )
        )
    return lights


def _light_pose(light: RectLightSpec, name: str, draws: Draws) -> tuple[Vector3, Quaternion]:
    yaw_deg = draws.real(f"{name}.yaw_deg", light.yaw_deg)
    if light.position_m is not None:
        return draws.vector(f"{name}.position", light.position_m), yaw_quaternion(yaw_deg)
    orbit = light.orbit
    assert orbit is not None  # the spec's own rule: one of the two
    azimuth_deg = draws.real(f"{name}.azimuth_deg", orbit.azimuth_deg)
    elevation_deg = draws.real(f"{name}.elevation_deg", orbit.elevation_deg)
    position = sphere_point(
        draws.vector(f"{name}.target", orbit.target),
        distance=draws.real(f"{name}.distance_m", orbit.distance_m),
        azimuth_deg=azimuth_deg,
        elevation_deg=elevation_deg,
    )
    orientation = facing_quaternion(
        azimuth_deg=azimuth_deg, elevation_deg=elevation_deg, yaw_deg=yaw_deg
    )
    return position, orientation
