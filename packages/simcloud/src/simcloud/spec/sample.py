"""(spec, frame index) to the parameters of a frame: pure, equal everywhere, a few milliseconds.

Names of the draws are stable: ``camera.<name>.<field>``, ``dome.<field>``,
``light.<name>.<field>``, ``material.<name>``, ``<joint>.<column>``, ``plugin.<name>.<value>``, the
plain names of shared values and those of ``sample_objects``.
"""

from __future__ import annotations

from dataclasses import replace

from simcloud.spec.distributions import to_float32
from simcloud.spec.draws import Draws
from simcloud.spec.kinds import power_of_two
from simcloud.spec.light_model import Dome
from simcloud.spec.model import Spec
from simcloud.spec.parameters import (
    DomeLight,
    FrameParameters,
)
from simcloud.spec.plugins import randomized
from simcloud.spec.references import shared_names
from simcloud.spec.sample_backgrounds import sample_backgrounds
from simcloud.spec.sample_camera import sample_cameras
from simcloud.spec.sample_lights import sample_lights, sample_rect_lights
from simcloud.spec.sample_materials import (
    check_inside,
    sample_bindings,
    sample_material_changes,
)
from simcloud.spec.sample_motion import moved_cameras, moved_objects
from simcloud.spec.sample_objects import sample_objects
from simcloud.spec.scene_contents import SceneContents


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
            intensity=_dome_intensity(randomization.dome, draws),
        )
    bindings = sample_bindings(randomization.materials, draws)
    materials = sample_material_changes(randomization.materials, scene, draws)
    for finish in (*(one.finish for one in bindings), *(one.finish for one in materials)):
        if finish is not None and finish.texture is not None:
            check_inside(finish.texture, spec.scene.root, "randomization.materials")
    objects = sample_objects(spec, scene, draws)
    parameters = FrameParameters(
        frame=frame,
        render_seed=draws.stream("render_seed").word() >> 32,
        dome=dome,
        rect_lights=sample_rect_lights(randomization.rect_lights, draws),
        lights=sample_lights(randomization.lights, draws),
        bindings=tuple(bindings),
        materials=tuple(materials),
        objects=tuple(objects),
        cameras=sample_cameras(
            spec.cameras, draws, stage=scene, objects=objects, size_m=scene.asset_size_m
        ),
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


def _dome_intensity(dome: Dome, draws: Draws) -> float:
    intensity = draws.real("dome.intensity", dome.intensity)
    return to_float32(intensity * power_of_two(draws.real("dome.exposure_ev", dome.exposure_ev)))
