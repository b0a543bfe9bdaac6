"""Cameras of a frame: draws under ``camera.<name>.<field>``."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Protocol

from simcloud.errors import InvalidRequest
from simcloud.geometry import look_at
from simcloud.spec.camera_model import (
    Camera,
    Handheld,
    InsideVolume,
    LookAt,
    Mounted,
    OfStage,
    Orbit,
    UnknownStanding,
)
from simcloud.spec.distributions import to_float32
from simcloud.spec.draws import Draws
from simcloud.spec.parameters import CameraView, Matrix4, PlacedObject, Vector3
from simcloud.spec.pose import depth, distance_to_box, shifted, turned
from simcloud.spec.sample_lens import sample_lens
from simcloud.spec.sample_sensor import sample_sensor
from simcloud.spec.scene_camera import SceneCamera
from simcloud.spec.streams import RandomStream

_STANDARD_NORMAL = NormalDist()
_STEADY = ("pitch_deg", "yaw_deg", "roll_deg", "right_mm", "up_mm", "back_mm")
"""What a hand does to a camera, in the order in which it is applied."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A camera's pose, and the point that it was aimed at."""

    cam2world: Matrix4
    target: Vector3 | None
    own: SceneCamera | None = None
    """Camera of the stage that it is."""


class StageCameras(Protocol):
    """What the sampler must know of a stage's cameras."""

    def scene_camera(self, path: str) -> SceneCamera:
        """A camera of the stage by the path of its prim."""
        ...


def sample_cameras(
    cameras: Sequence[Camera],
    draws: Draws,
    *,
    stage: StageCameras | None = None,
    objects: Sequence[PlacedObject] = (),
    size_m: Callable[[str], Vector3] | None = None,
) -> tuple[CameraView, ...]:
    """The cameras of a frame, in the order of the spec.

    Args:
        cameras: of the spec.
        draws: of the frame.
        stage: where cameras of the stage are looked up; needed where the spec names one.
        objects: what has been placed: cameras inside a volume keep clear of it.
        size_m: extent of an asset by name; needed where there are objects.

    Raises:
        InvalidRequest: a camera looks at its own place, or focuses on a point behind it, or the
            stage has no such camera.
    """

    def clearance_m(point: Vector3) -> float:
        distances = [_distance(point, item, size_m) for item in objects] if size_m else []
        return min(distances, default=math.inf)

    own = {
        camera.name: _steadied(camera, _stand(camera, draws, clearance_m, stage), draws)
        for camera in cameras
        if not isinstance(camera.placement, Mounted)
    }
    return tuple(
        _view(
            camera,
            _mounted(camera, own[camera.placement.carrier].cam2world, draws)
            if isinstance(camera.placement, Mounted)
            else own[camera.name],
            draws,
        )
        for camera in cameras
    )


def _distance(point: Vector3, item: PlacedObject, size_m: Callable[[str], Vector3]) -> float:
    width, deep, height = size_m(item.asset)
    return distance_to_box(
        point,
        origin=item.position_m,
        orientation_wxyz=item.orientation_wxyz,
        size_m=(width * item.scale, deep * item.scale, height * item.scale),
    )


def _stand(
    camera: Camera,
    draws: Draws,
    clearance_m: Callable[[Vector3], float],
    stage: StageCameras | None,
) -> Standing:
    name = f"camera.{camera.name}"
    placement = camera.placement
    if isinstance(placement, OfStage):
        path = draws.text(f"{name}.prim", placement.prim)
        if stage is None:
            raise InvalidRequest(
                f"cameras[{camera.name}].placement", f"there is no stage of {path}"
            )
        own = stage.scene_camera(path)
        return Standing(own.cam2world, None, own)
    # Frames of imported runs are never sampled: no generator takes their specs.
    assert not isinstance(placement, Mounted | UnknownStanding)
    target = None if placement.target is None else draws.vector(f"{name}.target", placement.target)
    match placement:
        case LookAt():
            eye = draws.vector(f"{name}.eye", placement.eye)
        case Orbit():
            assert target is not None
            eye = _orbit_eye(placement, name, target, draws)
        case InsideVolume():
            eye = _clear_eye(placement, name, draws, clearance_m)
            if target is None:
                yaw = draws.real(f"{name}.yaw_deg", placement.yaw_deg)
                pitch = draws.real(f"{name}.pitch_deg", placement.pitch_deg)
                ahead = _ahead(eye, yaw, pitch)
                return Standing(_looking(camera, eye, ahead, draws), None)
    assert target is not None
    return Standing(_looking(camera, eye, target, draws), target)


def _looking(camera: Camera, eye: Vector3, target: Vector3, draws: Draws) -> Matrix4:
    placement = camera.placement
    # Frames of imported runs are never sampled: no generator takes their specs.
    assert not isinstance(placement, Mounted | OfStage | UnknownStanding)
    roll = draws.real(f"camera.{camera.name}.roll_deg", placement.roll_deg)
    try:
        matrix = look_at(eye, target)
    except ValueError as error:
        raise InvalidRequest(f"cameras[{camera.name}].placement", str(error)) from error
    return turned(matrix, pitch_deg=0.0, yaw_deg=0.0, roll_deg=roll)


def _orbit_eye(placement: Orbit, name: str, target: Vector3, draws: Draws) -> Vector3:
    azimuth = math.radians(draws.real(f"{name}.azimuth_deg", placement.azimuth_deg))
    elevation = math.radians(draws.real(f"{name}.elevation_deg", placement.elevation_deg))
    distance = draws.real(f"{name}.distance_m", placement.distance_m)
    flat = distance * math.cos(elevation)
    return (
        to_float32(target[0] + flat * math.sin(azimuth)),
        to_float32(target[1] - flat * math.cos(azimuth)),
        to_float32(target[2] + distance * math.sin(elevation)),
    )


def _ahead(eye: Vector3, yaw_deg: float, pitch_deg: float) -> Vector3:
    """A point one metre ahead."""
    yaw, pitch = math.radians(yaw_deg), math.radians(pitch_deg)
    return (
        eye[0] - math.sin(yaw) * math.cos(pitch),
        eye[1] + math.cos(yaw) * math.cos(pitch),
        eye[2] + math.sin(pitch),
    )


def _clear_eye(
    placement: InsideVolume,
    name: str,
    draws: Draws,
    clearance_m: Callable[[Vector3], float],
) -> Vector3:
    """The first try that keeps its distance, else the one that keeps the most."""
    best: tuple[float, Vector3] | None = None
    for attempt in range(placement.attempts):
        x, y, z = (
            to_float32(low + (high - low) * draws.stream(f"{name}.try{attempt}.{axis}").uniform())
            for axis, (low, high) in zip(
                "xyz", (placement.x_m, placement.y_m, placement.z_m), strict=True
            )
        )
        distance = clearance_m((x, y, z))
        if best is None or distance > best[0]:
            best = distance, (x, y, z)
        if distance >= placement.clearance_m:
            break
    assert best is not None
    for axis, value in zip("xyz", best[1], strict=True):
        draws.values[f"{name}.eye.{axis}"] = value
    return best[1]


def _mounted(camera: Camera, carrier: Matrix4, draws: Draws) -> Standing:
    placement = camera.placement
    assert isinstance(placement, Mounted)
    name = f"camera.{camera.name}"
    offset = draws.vector(f"{name}.offset", placement.offset_m)
    pitch, yaw, roll = draws.vector(f"{name}.rotation_deg", placement.rotation_deg)
    moved = shifted(carrier, offset)
    matrix = turned(moved, pitch_deg=pitch, yaw_deg=yaw, roll_deg=roll)
    return _steadied(camera, Standing(matrix, None), draws)


def _steadied(camera: Camera, standing: Standing, draws: Draws) -> Standing:
    if camera.handheld is None:
        return standing
    name = f"camera.{camera.name}.handheld"
    deviations = (
        *(draws.real(f"{name}.rotation_deg", camera.handheld.rotation_deg),) * 3,
        *(draws.real(f"{name}.translation_mm", camera.handheld.translation_mm),) * 3,
    )
    jitter = []
    for field, deviation in zip(_STEADY, deviations, strict=True):
        value = to_float32(deviation * _drift(camera.handheld, f"{name}.{field}", draws))
        draws.values[f"{name}.{field}"] = value
        jitter.append(value)
    pitch, yaw, roll, right, up, back = jitter
    moved = shifted(standing.cam2world, (right / 1e3, up / 1e3, back / 1e3))
    matrix = turned(moved, pitch_deg=pitch, yaw_deg=yaw, roll_deg=roll)
    return replace(standing, cam2world=matrix)


def _drift(handheld: Handheld, name: str, draws: Draws) -> float:
    """A standard normal value that drifts from one draw to the next over some frames.

    The draws are keyed by their own count, not by the frame, so that any frame can be had alone;
    a sine and a cosine as weights keep the variance at 1 on the way.
    """
    count, step = divmod(draws.frame, handheld.correlation_frames)
    here = _normal(RandomStream(seed=draws.seed, frame=count, name=f"{name}.knot"))
    if step == 0:
        return here
    there = _normal(RandomStream(seed=draws.seed, frame=count + 1, name=f"{name}.knot"))
    share = math.pi / 2 * step / handheld.correlation_frames
    return here * math.cos(share) + there * math.sin(share)


def _normal(stream: RandomStream) -> float:
    return _STANDARD_NORMAL.inv_cdf(stream.uniform() + 2.0**-54)


def _view(camera: Camera, standing: Standing, draws: Draws) -> CameraView:
    name = f"camera.{camera.name}"
    exposure = camera.exposure_ev
    f_stop = None if camera.f_stop is None else draws.real(f"{name}.f_stop", camera.f_stop)
    lens = sample_lens(camera, standing.own, draws)
    return CameraView(
        name=camera.name,
        width=camera.width_px,
        height=camera.height_px,
        cam2world=standing.cam2world,
        focal_length_mm=lens.focal_length_mm,
        horizontal_aperture_mm=lens.horizontal_aperture_mm,
        horizontal_aperture_offset_mm=lens.offsets_mm[0],
        vertical_aperture_offset_mm=lens.offsets_mm[1],
        near_m=to_float32(camera.near_m),
        far_m=to_float32(camera.far_m),
        exposure_ev=None if exposure is None else draws.real(f"{name}.exposure_ev", exposure),
        f_stop=f_stop,
        focus_distance_m=None if f_stop is None else _focus_m(camera, standing, draws),
        sensor=None if camera.sensor is None else sample_sensor(camera.sensor, name, draws),
    )


def _focus_m(camera: Camera, standing: Standing, draws: Draws) -> float:
    name = f"camera.{camera.name}.focus_distance_m"
    if camera.focus_distance_m is not None:
        return draws.real(name, camera.focus_distance_m)
    assert standing.target is not None  # the model asks for one
    distance = to_float32(depth(standing.cam2world, standing.target))
    if distance <= 0:
        raise InvalidRequest(f"cameras[{camera.name}].focus", "the target is behind the camera")
    draws.values[name] = distance
    return distance
