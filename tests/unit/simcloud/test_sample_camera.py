"""Cameras: where they stand, how a hand shakes them, what their lens and sensor draw."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from simcloud.errors import InvalidRequest
from simcloud.geometry import matrix4, principal_point_px, project
from simcloud.spec.camera_model import Camera
from simcloud.spec.model import Spec
from simcloud.spec.parameters import CameraView, PlacedObject, Vector3
from simcloud.spec.pose import distance_to_box
from simcloud.spec.sample import sample
from support.scene_contents import EmptyScene

LOOK_AT = {"kind": "look_at", "eye": [0, -3, 1], "target": [0, 0, 0.5]}
INSIDE = {
    "kind": "inside_volume",
    "x_m": [-2, 2],
    "y_m": [-2, 2],
    "z_m": [0.2, 1.8],
    "target": [{"uniform": [-0.5, 0.5]}, 5, 0.5],
    "clearance_m": 0.4,
}
CHAIR_M: Vector3 = (0.5, 0.55, 0.9)


@dataclass(frozen=True)
class Contents(EmptyScene):
    """A scene of chairs."""

    sizes: dict[str, Vector3] = field(default_factory=lambda: {"chair": CHAIR_M})

    def asset_size_m(self, name: str) -> Vector3:
        return self.sizes[name]


def camera(placement: Mapping[str, object] = LOOK_AT, **fields: Any) -> dict[str, object]:
    part = {"name": "main", "width_px": 64, "height_px": 48, "placement": placement}
    return {**part, **fields}


def cameras_of(
    *cameras: dict[str, object], frame: int = 0, chairs: int = 0, seed: int = 3
) -> tuple[tuple[CameraView, ...], tuple[PlacedObject, ...], dict[str, object]]:
    spec = spec_of(*cameras, chairs=chairs, seed=seed)
    parameters = sample(spec, Contents(), frame)
    return parameters.cameras, parameters.objects, dict(parameters.values)


def spec_of(*cameras: dict[str, object], chairs: int = 0, seed: int = 3) -> Spec:
    return Spec.model_validate(
        {
            "seed": seed,
            "scene": {"root": "stage.usda"},
            "cameras": list(cameras),
            "randomization": {
                "objects": [
                    {
                        "name": "chairs",
                        "assets": "chair",
                        "count": chairs,
                        "placement": {
                            "kind": "scatter",
                            "x_m": {"uniform": [-2, 2]},
                            "y_m": {"uniform": [-2, 2]},
                        },
                    }
                ]
            },
        }
    )


def eye_of(view: CameraView) -> Vector3:
    x, y, z = (row[3] for row in view.cam2world[:3])
    return x, y, z


@given(st.integers(0, 10_000), st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_a_camera_in_a_volume_stays_in_it_and_clear_of_objects(frame: int, chairs: int) -> None:
    (view,), objects, values = cameras_of(camera(INSIDE), frame=frame, chairs=chairs)

    eye = eye_of(view)
    assert -2 <= eye[0] <= 2
    assert -2 <= eye[1] <= 2
    assert 0.2 <= eye[2] <= 1.8
    assert eye == tuple(values[f"camera.main.eye.{axis}"] for axis in "xyz")
    for item in objects:
        distance = distance_to_box(
            eye,
            origin=item.position_m,
            orientation_wxyz=item.orientation_wxyz,
            size_m=CHAIR_M,
        )
        assert distance >= 0.4


def test_a_volume_full_of_objects_takes_the_farthest_of_its_tries() -> None:
    tight = {**INSIDE, "clearance_m": 50.0, "attempts": 20}
    (view,), objects, _ = cameras_of(camera(tight), frame=1, chairs=6)
    (only,), _, _ = cameras_of(camera({**tight, "attempts": 1}), frame=1, chairs=6)

    def clearance(point: Vector3) -> float:
        return min(
            distance_to_box(
                point,
                origin=item.position_m,
                orientation_wxyz=item.orientation_wxyz,
                size_m=CHAIR_M,
            )
            for item in objects
        )

    assert objects
    assert clearance(eye_of(view)) > clearance(eye_of(only)) >= 0


@given(
    st.tuples(*[st.floats(-3, 3, width=32)] * 3),
    st.floats(-math.pi, math.pi),
    st.floats(-1.5, 1.5),
)
@settings(max_examples=100, deadline=None)
def test_distance_to_a_box_is_that_of_its_nearest_point(
    point: tuple[float, float, float], yaw: float, tilt: float
) -> None:
    # Turned about Z, then about the new X: the product of two quaternions, written out.
    a, b, c, d = math.cos(yaw / 2), math.sin(yaw / 2), math.cos(tilt / 2), math.sin(tilt / 2)
    quaternion = (a * c, a * d, b * d, b * c)
    origin, size = (0.3, -0.2, 0.1), (1.0, 0.6, 0.8)
    found = distance_to_box(point, origin=origin, orientation_wxyz=quaternion, size_m=size)

    axis = [np.linspace(-size[0] / 2, size[0] / 2, 41), np.linspace(-size[1] / 2, size[1] / 2, 41)]
    grid = np.stack(np.meshgrid(*axis, np.linspace(0, size[2], 41)), axis=-1).reshape(-1, 3)
    rx = np.array(
        [[1, 0, 0], [0, math.cos(tilt), -math.sin(tilt)], [0, math.sin(tilt), math.cos(tilt)]]
    )
    rz = np.array(
        [[math.cos(yaw), -math.sin(yaw), 0], [math.sin(yaw), math.cos(yaw), 0], [0, 0, 1]]
    )
    solid = grid @ (rz @ rx).T + origin
    nearest = float(np.sqrt(((solid - point) ** 2).sum(axis=1)).min())
    assert found <= nearest + 1e-6
    assert found >= nearest - 0.025  # half the grid's diagonal


def test_a_camera_without_a_target_looks_along_its_yaw_and_pitch() -> None:
    free = {**INSIDE, "target": None, "yaw_deg": 90, "pitch_deg": 30}
    (view,), _, _ = cameras_of(camera(free))

    ahead = -matrix4(view.cam2world)[:3, 2]
    np.testing.assert_allclose(ahead, [-math.cos(math.pi / 6), 0, 0.5], atol=1e-6)


def test_removing_a_camera_changes_no_other() -> None:
    other = {**camera(INSIDE), "name": "other"}
    both, _, _ = cameras_of(camera(INSIDE, handheld={}), other, frame=5, chairs=4)
    alone, _, _ = cameras_of(camera(INSIDE, handheld={}), frame=5, chairs=4)
    assert both[0] == alone[0]


@pytest.mark.parametrize("correlation", [1, 10])
def test_handheld_jitter_has_its_deviation_about_a_steady_pose(correlation: int) -> None:
    hand = {"rotation_deg": 0.8, "translation_mm": 12, "correlation_frames": correlation}
    spec = spec_of(camera(handheld=hand))
    frames = [sample(spec, Contents(), frame) for frame in range(600)]
    (steady,), _, _ = cameras_of(camera())

    turns = np.array([p.values["camera.main.handheld.yaw_deg"] for p in frames], float)
    shifts = np.array([eye_of(p.cameras[0]) for p in frames]) - eye_of(steady)
    slack = 0.1 if correlation == 1 else 0.3  # fewer independent draws
    assert turns.std() == pytest.approx(0.8, rel=slack)
    assert np.sqrt((shifts**2).sum(axis=1).mean()) == pytest.approx(0.012 * 3**0.5, rel=slack)
    neighbours = np.corrcoef(turns[:-1], turns[1:])[0, 1]
    assert neighbours > 0.9 if correlation > 1 else abs(neighbours) < 0.15
    for parameters in frames[:20]:
        rotation = matrix4(parameters.cameras[0].cam2world)[:3, :3]
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-6)


def test_handheld_angles_turn_the_camera_the_way_they_say() -> None:
    hand = {"rotation_deg": 3, "translation_mm": 0}
    (view,), _, values = cameras_of(camera(handheld=hand), frame=2)
    (steady,), _, _ = cameras_of(camera())

    far = np.array([[0.0, 0.0, 0.5]])  # the target: at the centre of the steady picture
    (steady_px, _), (px, _) = project(steady, far), project(view, far)
    assert np.allclose(steady_px, [[32, 24]], atol=1e-3)
    # Turned up, the target sinks in the picture; turned left, it moves to the right.
    pitch, yaw = values["camera.main.handheld.pitch_deg"], values["camera.main.handheld.yaw_deg"]
    assert isinstance(pitch, float)
    assert isinstance(yaw, float)
    assert np.sign(px[0, 1] - 24) == np.sign(pitch)
    assert np.sign(px[0, 0] - 32) == np.sign(yaw)


def test_a_stereo_pair_shares_its_jitter_and_sees_the_disparity_of_its_base() -> None:
    right = {
        "name": "right",
        "width_px": 64,
        "height_px": 48,
        "placement": {"kind": "mounted", "carrier": "main", "offset_m": [0.065, 0, 0]},
    }
    views, _, _ = cameras_of(right, camera(handheld={"rotation_deg": 2}), frame=4)
    second, first = views

    assert (first.name, second.name) == ("main", "right")
    point = np.array([[0.1, 0.4, 0.3]])
    (left_px, depth), (right_px, other) = project(first, point), project(second, point)
    focal_px = first.focal_length_mm * 64 / first.horizontal_aperture_mm
    assert left_px[0, 0] - right_px[0, 0] == pytest.approx(0.065 * focal_px / depth[0], abs=1e-4)
    assert left_px[0, 1] == pytest.approx(right_px[0, 1], abs=1e-4)
    assert depth[0] == pytest.approx(other[0], abs=1e-6)


def test_a_mounted_camera_is_turned_by_its_own_angles() -> None:
    side = {
        "name": "side",
        "width_px": 64,
        "height_px": 48,
        "placement": {
            "kind": "mounted",
            "carrier": "main",
            "offset_m": [0, 0, 0],
            "rotation_deg": [0, 90, 0],
        },
    }
    (main, turned), _, _ = cameras_of(camera(), side)
    np.testing.assert_allclose(
        -matrix4(turned.cam2world)[:3, 2], -matrix4(main.cam2world)[:3, 0], atol=1e-6
    )


def test_focal_length_and_field_of_view_say_the_same_thing() -> None:
    (wide,), _, _ = cameras_of(camera(horizontal_fov_deg=60))
    (default,), _, _ = cameras_of(camera())
    (lens,), _, _ = cameras_of(camera(focal_length_mm=wide.focal_length_mm))
    assert wide == default == lens


def test_aperture_offsets_move_the_principal_point() -> None:
    (view,), _, _ = cameras_of(
        camera(horizontal_aperture_offset_mm=1.0, vertical_aperture_offset_mm=-0.5)
    )
    per_mm = 64 / view.horizontal_aperture_mm
    assert principal_point_px(view) == pytest.approx((32 - per_mm, 24 - 0.5 * per_mm))


def test_focus_on_the_target_is_its_distance_along_the_axis_hand_included() -> None:
    (view,), _, values = cameras_of(
        camera(f_stop=2.8, focus="target", handheld={"translation_mm": 50}), frame=3
    )
    _, depth = project(view, np.array([[0.0, 0.0, 0.5]]))
    assert view.f_stop == pytest.approx(2.8, rel=1e-6)
    assert view.focus_distance_m == pytest.approx(depth[0], abs=1e-5)
    assert values["camera.main.focus_distance_m"] == view.focus_distance_m


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"horizontal_fov_deg": 60, "focal_length_mm": 20}, "not both"),
        ({"f_stop": 2}, "needs one of"),
        ({"focus_distance_m": 2}, "without f_stop"),
        ({"f_stop": 2, "focus_distance_m": 2, "focus": "target"}, "needs one of"),
        ({"f_stop": 2, "focus": "target", "placement": {**INSIDE, "target": None}}, "a target"),
        ({"placement": {**INSIDE, "x_m": [1, 0]}}, "smallest value must come first"),
        ({"sensor": {"read_noise_electrons": 3}}, "needs full_well_electrons"),
        ({"sensor": {"vignetting": 1.5}}, r"\[0, 0.95\]"),
    ],
)
def test_contradictions_are_refused(fields: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Camera.model_validate({**camera(), **fields})


@pytest.mark.parametrize("on", ["nowhere", "other"])
def test_a_camera_is_mounted_only_on_one_that_stands_by_itself(on: str) -> None:
    mounted = {"kind": "mounted", "carrier": on, "offset_m": [0, 0, 0]}
    other = {**camera({**mounted, "carrier": "main"}), "name": "other"}
    loose = {**camera(mounted), "name": "loose"}
    with pytest.raises(ValidationError, match="loose is mounted on"):
        spec_of(camera(), other, loose)


def test_focusing_on_a_point_behind_the_camera_is_refused() -> None:
    # A hand that turns it by half a circle: in some of the frames the target ends up behind it.
    wild = spec_of(camera(f_stop=2, focus="target", handheld={"rotation_deg": 45}))

    def all_frames() -> None:
        for frame in range(400):
            sample(wild, Contents(), frame)

    with pytest.raises(InvalidRequest, match="behind the camera"):
        all_frames()


def test_every_sensor_value_that_varies_is_in_the_index_under_its_name() -> None:
    sensor = {
        "exposure_ev": {"uniform": [-1, 1]},
        "full_well_electrons": {"log_uniform": [500, 5000]},
        "jpeg_quality": {"integer": [60, 95]},
        "vignetting": 0.2,
    }
    (view,), _, values = cameras_of(camera(sensor=sensor))

    assert view.sensor is not None
    prefix = "camera.main.sensor."
    kept = {key.removeprefix(prefix): values[key] for key in values if key.startswith(prefix)}
    assert kept == {
        "exposure_ev": view.sensor.exposure_ev,
        "full_well_electrons": view.sensor.full_well_electrons,
        "jpeg_quality": view.sensor.jpeg_quality,
    }
    assert view.sensor.vignetting == pytest.approx(0.2)


def test_noise_is_keyed_by_seed_frame_and_camera() -> None:
    twin = {**camera(sensor={}), "name": "twin"}
    keys = set()
    for seed, frame in ((1, 0), (1, 1), (2, 0)):
        views, _, _ = cameras_of(camera(sensor={}), twin, frame=frame, seed=seed)
        keys |= {view.sensor.noise_key for view in views if view.sensor}
        again, _, _ = cameras_of(camera(sensor={}), twin, frame=frame, seed=seed)
        assert views == again
    assert len(keys) == 6


def test_the_example_of_the_docs_is_two_cameras_of_a_rig() -> None:
    page = Path(__file__).parents[3] / "docs" / "scenes" / "showroom.md"
    (block,) = re.findall(r"^```yaml\n(.*?)^```", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (left, right), _, _ = cameras_of(*yaml.safe_load(block)["cameras"])
    assert left.sensor is not None
    assert np.linalg.norm(np.subtract(eye_of(right), eye_of(left))) == pytest.approx(
        0.065, abs=1e-6
    )


def test_values_of_cameras_do_not_move() -> None:
    # Part of the contract that stored runs rest on.
    stereo = {"kind": "mounted", "carrier": "main", "offset_m": [{"uniform": [0.06, 0.07]}, 0, 0]}
    views, _, values = cameras_of(
        camera(INSIDE, handheld={"correlation_frames": 4}, sensor={}),
        {**camera(stereo), "name": "right"},
        frame=7,
        chairs=5,
    )
    found = {key: values[key] for key in GOLDEN}
    assert found == GOLDEN
    assert views[0].sensor is not None
    assert views[0].sensor.noise_key == GOLDEN_KEY
    assert replace(views[0], name="right", sensor=None).cam2world != views[1].cam2world


GOLDEN: dict[str, object] = {
    "camera.main.eye.x": -1.5802065134048462,
    "camera.main.handheld.yaw_deg": -0.31092286109924316,
    "camera.right.offset.x": 0.06849553436040878,
}
GOLDEN_KEY = (4113169572465119436, 14526550223494864269)
