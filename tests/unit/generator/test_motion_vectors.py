"""Motion vectors of motions that can be worked out on paper."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from simcloud.geometry import pixel_rays
from simcloud.labels.qa import check_view
from simcloud.scene.translate.usd import read_scene
from simcloud.spec.parameters import CameraView, PlacedObject, Quaternion, StepMotion, Vector3
from simcloud_generator.backends.frame_scene import FrameResolver
from simcloud_generator.backends.images import ImageStore
from simcloud_generator.backends.labelling import label_arrays, object_labels
from simcloud_generator.backends.tracing import Tracer
from support import scenes

NO_TURN: Quaternion = (1.0, 0.0, 0.0, 0.0)
TOLERANCE_PX = 1e-3


def turn(degrees: float, axis: int) -> Quaternion:
    """Unit quaternion about an axis."""
    half = math.radians(degrees) / 2
    parts = [math.cos(half), 0.0, 0.0, 0.0]
    parts[1 + axis] = math.sin(half)
    return parts[0], parts[1], parts[2], parts[3]


def step(translation_m: Vector3 = (0.0, 0.0, 0.0), rotation: Quaternion = NO_TURN) -> StepMotion:
    return StepMotion(translation_m=translation_m, rotation_wxyz=rotation)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with a square of one metre."""
    made = scenes.new_stage()
    scenes.add_library_asset(made, "plate", "plate")
    scenes.add_quad(made, "/Library/plate/Body")
    return scenes.save(made, tmp_path_factory.mktemp("motion"))


def motion_of(
    stage: Path, camera: CameraView, *objects: PlacedObject
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Motion vectors (H, W, 4), and the pixels on an object; label QA must pass."""
    images = ImageStore(limit_bytes=1 << 20, max_side_px=64, environment_size=(16, 8))
    frame = FrameResolver(read_scene(stage)).resolve(scenes.frame(camera, objects=objects))
    trace = Tracer(images, limit_faces=10_000).trace(frame, camera)
    arrays = label_arrays(frame, camera, trace, motion=True)
    assert check_view(camera, arrays, object_labels(frame, camera, trace, arrays)) == []
    motion = arrays["motion_vectors"]
    assert motion.dtype == np.float32
    assert motion.shape == (camera.height, camera.width, 4)
    assert (motion[..., 2:] == 0).all()
    return motion, arrays["instance_segmentation"] > 0


def plate(**changes: Any) -> PlacedObject:
    return replace(PlacedObject(name="a", asset="plate", position_m=(0.0, 0.0, 0.0)), **changes)


def test_what_stands_still_has_exactly_no_motion(stage: Path) -> None:
    motion, seen = motion_of(stage, scenes.camera(), plate())
    assert seen.any()
    assert (motion == 0).all()


def test_camera_that_went_right_and_up_saw_things_go_left_and_down(stage: Path) -> None:
    # 4 m away at 24 mm and 64 px: 16 px per metre
    view = replace(scenes.camera(), step=step((0.05, 0.02, 0.0)))
    motion, seen = motion_of(stage, view, plate())
    expected = (0.05 * 16, -0.02 * 16)
    assert np.abs(motion[seen][:, :2] - expected).max() <= TOLERANCE_PX
    # infinitely far away nothing moves with the camera's place
    assert np.abs(motion[~seen]).max() <= TOLERANCE_PX


def test_camera_that_came_closer_sees_things_grow_from_the_middle(stage: Path) -> None:
    view = replace(scenes.camera(), step=step((0.0, 0.0, -0.5)))
    motion, seen = motion_of(stage, view, plate())
    rows, columns = np.nonzero(seen)
    offset = np.stack([columns + 0.5 - 32, rows + 0.5 - 24], axis=1)
    # half a metre earlier it was 4.5 m away instead of 4
    assert np.abs(motion[seen][:, :2] - offset * (4 / 4.5 - 1)).max() <= TOLERANCE_PX


def test_turning_camera_moves_what_is_infinitely_far_away(stage: Path) -> None:
    view = replace(scenes.camera(), step=step(rotation=turn(1.5, axis=1)))
    motion, _ = motion_of(stage, view)
    x = (np.arange(64) + 0.5 - 32) / 64  # tangents of the columns
    # counter-clockwise about up is a turn to the left: what is seen was further to the left
    was = np.tan(np.arctan(x) - math.radians(1.5)) * 64 + 32
    assert np.abs(motion[24, :, 0] - (was - (np.arange(64) + 0.5))).max() <= TOLERANCE_PX


@pytest.mark.parametrize("stands", [0.0, 37.0, -120.0])
def test_turning_object_moves_each_point_about_its_origin(stage: Path, stands: float) -> None:
    moving = plate(
        position_m=(0.3, -0.2, 0.0),
        orientation_wxyz=turn(stands, 2),
        step=step(rotation=turn(3, 2)),
    )
    motion, seen = motion_of(stage, scenes.camera(), moving)
    rows, columns = np.nonzero(seen)
    x = (columns + 0.5 - 32) / 16 - 0.3
    y = -(rows + 0.5 - 24) / 16 + 0.2
    cosine, sine = math.cos(math.radians(-3)), math.sin(math.radians(-3))
    dx, dy = x * cosine - y * sine - x, x * sine + y * cosine - y
    assert np.abs(motion[seen][:, :2] - np.stack([dx * 16, -dy * 16], axis=1)).max() <= TOLERANCE_PX
    assert (motion[~seen] == 0).all()


def test_object_moves_along_its_own_axes_and_scale_does_not_matter(stage: Path) -> None:
    moving = plate(orientation_wxyz=turn(90, 2), scale=1.5, step=step((0.1, 0.0, 0.0)))
    motion, seen = motion_of(stage, scenes.camera(), moving)
    # its own X lies along the world's Y, which is up in the picture: it moved up by 1.6 px
    assert np.abs(motion[seen][:, :2] - (0.0, 1.6)).max() <= TOLERANCE_PX


def test_object_that_is_carried_along_by_the_camera_does_not_move(stage: Path) -> None:
    view = replace(scenes.camera(), step=step((0.25, 0.0, 0.0)))
    motion, seen = motion_of(stage, view, plate(step=step((0.25, 0.0, 0.0))))
    assert np.abs(motion[seen]).max() <= TOLERANCE_PX


def test_point_that_was_behind_the_camera_has_no_vector(stage: Path) -> None:
    view = replace(scenes.camera(), step=step((0.0, 0.0, 5.0)))
    motion, seen = motion_of(stage, view, plate())
    assert seen.any()
    assert (motion[seen] == 0).all()


def test_vectors_lead_to_where_the_earlier_camera_saw_the_point(stage: Path) -> None:
    """A tilted view, checked by projecting with the earlier camera from its own rays."""
    view = replace(
        scenes.camera((1.0, -3.0, 2.0), (0.0, 0.0, 0.0), up=(0.0, 0.0, 1.0)),
        step=step((0.03, -0.02, 0.04), turn(0.7, 0)),
    )
    motion, seen = motion_of(stage, view, plate())
    directions, _ = pixel_rays(view)
    eye = np.asarray(view.cam2world)[:3, 3]
    reach = -eye[2] / directions[..., 2]
    points = (eye + directions * reach[..., None])[seen]
    now = np.asarray(view.cam2world)
    back = np.eye(4)
    angle = math.radians(-0.7)
    back[1:3, 1:3] = [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
    then = now @ back
    then[:3, 3] = eye - now[:3, :3] @ np.array([0.03, -0.02, 0.04])
    local = (np.linalg.inv(then) @ np.c_[points, np.ones(len(points))].T).T
    was = np.stack([local[:, 0], -local[:, 1]], axis=1) / -local[:, 2:3] * 64 + (32, 24)
    rows, columns = np.nonzero(seen)
    expected = was - np.stack([columns + 0.5, rows + 0.5], axis=1)
    assert np.abs(motion[seen][:, :2] - expected).max() <= TOLERANCE_PX
