"""What is drawn of motions and backgrounds, and that nothing else changes by it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from simcloud.geometry import pose_matrix, previous_pose
from simcloud.spec.check import check_against_scene
from simcloud.spec.model import Spec
from simcloud.spec.parameters import Quaternion, StepMotion, Vector3
from simcloud.spec.sample import sample
from support.scene_contents import EmptyScene


@dataclass(frozen=True)
class Contents(EmptyScene):
    """A scene with one asset and one background."""

    asset_names: frozenset[str] = frozenset({"crate"})
    background_names: frozenset[str] = frozenset({"hall"})

    def asset_size_m(self, name: str) -> Vector3:
        del name
        return 0.5, 0.5, 0.5

    def background_picture(self, name: str) -> str:
        return f"pictures/{name}.jpg"


SCENE: Any = Contents()
PLACEMENT = {"kind": "scatter", "x_m": {"uniform": [-3, 3]}, "y_m": {"uniform": [-3, 3]}}
MOTION = {"velocity_m_s": [0, {"uniform": [-3, -1]}, 0], "angular_deg_s": [0, 0, 90]}


def spec(
    *, group: dict[str, Any] | None = None, camera: dict[str, Any] | None = None, **changes: Any
) -> Spec:
    raw: dict[str, Any] = {
        "seed": 11,
        "scene": {"root": "stage.usda"},
        "cameras": [
            {
                "name": "main",
                "width_px": 64,
                "height_px": 48,
                "placement": {"kind": "look_at", "eye": [0, -4, 2], "target": [0, 0, 0]},
                **(camera or {}),
            }
        ],
        "randomization": {
            "objects": [
                {
                    "name": "crates",
                    "assets": "crate",
                    "count": 3,
                    "placement": PLACEMENT,
                    **(group or {}),
                }
            ]
        },
    }
    return Spec.model_validate({**raw, **changes})


def composite(**backgrounds: Any) -> dict[str, Any]:
    randomization = spec().randomization.model_dump(mode="json")
    randomization["backgrounds"] = {"pictures": "hall", **backgrounds}
    return {"renderer": {"mode": "composite"}, "randomization": randomization}


def test_motion_covers_one_step_of_the_spec() -> None:
    at_30 = sample(spec(group={"motion": MOTION}), SCENE, 4)
    at_60 = sample(spec(group={"motion": MOTION}, fps=60), SCENE, 4)
    assert len(at_30.objects) == 3
    for one, other in zip(at_30.objects, at_60.objects, strict=True):
        assert one.velocity_m_s == other.velocity_m_s  # what the index says of it
        assert one.velocity_m_s is not None
        assert -3 <= one.velocity_m_s[1] <= -1
        assert one.angular_deg_s == (0, 0, 90)
    for slow, fast in zip(at_30.objects, at_60.objects, strict=True):
        assert slow.step is not None
        assert fast.step is not None
        assert -3 / 30 <= slow.step.translation_m[1] <= -1 / 30
        assert slow.step.translation_m[1] == pytest.approx(2 * fast.step.translation_m[1])
        half = math.radians(90 / 30) / 2
        assert slow.step.rotation_wxyz == pytest.approx((math.cos(half), 0, 0, math.sin(half)))
    moves = {item.step.translation_m for item in at_30.objects if item.step is not None}
    assert len(moves) == 3, "each object has a motion of its own"


def test_motion_changes_nothing_else_of_a_frame() -> None:
    still = sample(spec(), SCENE, 2)
    moving = sample(spec(group={"motion": MOTION}, camera={"motion": MOTION}), SCENE, 2)
    assert [
        replace(item, step=None, velocity_m_s=None, angular_deg_s=None) for item in moving.objects
    ] == list(still.objects)
    assert [replace(item, step=None) for item in moving.cameras] == list(still.cameras)
    drawn = moving.values.keys() - still.values.keys()
    assert drawn == {"camera.main.motion.velocity_m_s.y"}


def test_previous_pose_undoes_the_step_in_the_objects_own_axes() -> None:
    quarter: Quaternion = (math.sqrt(0.5), 0.0, 0.0, math.sqrt(0.5))
    now = pose_matrix((1.0, 2.0, 3.0), quarter, 2.0)
    # turned by 90 degrees, its own X lies along the world's Y
    was = previous_pose(now, StepMotion(translation_m=(0.5, 0.0, 0.0), rotation_wxyz=quarter))
    assert np.allclose(was[:3, 3], (1.0, 1.5, 3.0))
    assert np.allclose(was[:3, :3], 2.0 * np.eye(3), atol=1e-12)


def test_backgrounds_are_drawn_for_composite_pictures_alone() -> None:
    full = spec(**{**composite(), "renderer": {"mode": "full"}})
    assert sample(full, SCENE, 0).backgrounds == ()
    (found,) = sample(
        spec(**composite(zoom={"uniform": [1, 2]}, blur_px=1.5)), SCENE, 0
    ).backgrounds
    assert found.picture == "pictures/hall.jpg"
    assert 1 <= found.zoom <= 2
    assert all(0 <= part < 1 for part in found.offset)
    assert found.blur_px == 1.5


def test_a_composite_frame_has_the_objects_and_cameras_of_the_full_one() -> None:
    one, other = sample(spec(), SCENE, 5), sample(spec(**composite()), SCENE, 5)
    assert (one.objects, one.cameras) == (other.objects, other.cameras)


def test_half_of_the_backgrounds_are_mirrored() -> None:
    mirrored = [
        sample(spec(**composite()), SCENE, frame).backgrounds[0].flipped for frame in range(200)
    ]
    assert 70 <= sum(mirrored) <= 130
    never = spec(**composite(flip_chance=0))
    assert not any(sample(never, SCENE, frame).backgrounds[0].flipped for frame in range(20))


def test_composite_without_backgrounds_is_refused() -> None:
    with pytest.raises(ValidationError, match="needs randomization"):
        spec(renderer={"mode": "composite"})


def test_a_background_that_the_scene_lacks_is_named() -> None:
    found = check_against_scene(spec(**composite(pictures={"choice": ["hall", "cave"]})), SCENE)
    assert found == [
        ("randomization.backgrounds.pictures", "the scene has no background 'cave'; it has: hall")
    ]
