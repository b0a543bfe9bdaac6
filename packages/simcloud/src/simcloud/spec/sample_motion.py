"""How cameras and objects moved within the step that leads to the frame.

Draws under ``camera.<name>.motion.<field>`` and ``objects.<group>.<i>.motion.<field>``: whatever
places an object or a camera, its motion is drawn apart and changes nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from simcloud.spec.distributions import Real, to_float32
from simcloud.spec.draws import Draws
from simcloud.spec.model import Spec
from simcloud.spec.motion_model import Motion
from simcloud.spec.parameters import CameraView, PlacedObject, StepMotion, Vector3


def moved_objects(
    spec: Spec, objects: Sequence[PlacedObject], draws: Draws
) -> tuple[PlacedObject, ...]:
    """The objects, those whose group has a motion with what they did within the last step."""
    motions = {group.name: group.motion for group in spec.randomization.objects}
    result = []
    for item in objects:
        group, _, index = item.name.rpartition("_")
        motion = motions.get(group)
        if motion is None:
            result.append(item)
            continue
        name = f"objects.{group}.{int(index)}.motion"
        velocity, turning = _drawn(motion, name, draws, keep=False)
        result.append(
            replace(
                item,
                step=_step(velocity, turning, spec.fps),
                velocity_m_s=velocity,
                angular_deg_s=turning,
            )
        )
    return tuple(result)


def moved_cameras(
    spec: Spec, cameras: Sequence[CameraView], draws: Draws
) -> tuple[CameraView, ...]:
    """The cameras, those that have a motion with what they did within the last step."""
    motions = {camera.name: camera.motion for camera in spec.cameras}
    result = []
    for view in cameras:
        motion = motions.get(view.name)
        if motion is None:
            result.append(view)
            continue
        name = f"camera.{view.name}.motion"
        velocity, turning = _drawn(motion, name, draws, keep=True)
        result.append(replace(view, step=_step(velocity, turning, spec.fps)))
    return tuple(result)


def _drawn(motion: Motion, name: str, draws: Draws, *, keep: bool) -> tuple[Vector3, Vector3]:
    """Velocity and rotation vector, metres and degrees per second."""

    def drawn(field: str, parts: tuple[Real, Real, Real]) -> Vector3:
        x, y, z = (
            draws.real(f"{name}.{field}.{axis}", part, keep=keep)
            for axis, part in zip("xyz", parts, strict=True)
        )
        return x, y, z

    return (
        drawn("velocity_m_s", motion.velocity_m_s),
        drawn("angular_deg_s", motion.angular_deg_s),
    )


def _step(velocity: Vector3, turning: Vector3, fps: float) -> StepMotion:
    """A motion over one step; float32."""
    x, y, z = (math.radians(part) / fps for part in turning)
    angle = math.sqrt(x * x + y * y + z * z)
    factor = math.sin(angle / 2) / angle if angle > 0 else 0.0
    return StepMotion(
        translation_m=(
            to_float32(velocity[0] / fps),
            to_float32(velocity[1] / fps),
            to_float32(velocity[2] / fps),
        ),
        rotation_wxyz=(
            to_float32(math.cos(angle / 2)),
            to_float32(x * factor),
            to_float32(y * factor),
            to_float32(z * factor),
        ),
    )
