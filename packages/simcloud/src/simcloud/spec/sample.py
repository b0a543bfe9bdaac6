"""(spec, frame index) to the parameters of a frame: pure, equal everywhere, a few milliseconds.

Names of the draws are stable: ``camera.<name>.<field>``, ``dome.<field>``,
``light.<name>.<field>``, ``material.<name>`` and those of ``sample_objects``.
"""

from __future__ import annotations

from simcloud.spec.color import black_body_rgb
from simcloud.spec.distributions import to_float32
from simcloud.spec.draws import Draws, yaw_quaternion
from simcloud.spec.model import Spec
from simcloud.spec.parameters import (
    DomeLight,
    FrameParameters,
    MaterialBinding,
    RectLight,
)
from simcloud.spec.sample_camera import sample_camera
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
        cameras=tuple(sample_camera(camera, draws) for camera in spec.cameras),
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
