"""Shelves, grids, paths, surfaces and drops: in place, apart, and untouched by other groups."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simcloud.errors import InvalidRequest
from simcloud.geometry import box_corners, pose_matrix, transform_points
from simcloud.spec.draws import euler_quaternion, random_rotation, yaw_quaternion
from simcloud.spec.footprint import Footprint
from simcloud.spec.model import Spec
from simcloud.spec.parameters import FrameParameters, PlacedObject, Vector3
from simcloud.spec.sample import sample
from simcloud.spec.streams import RandomStream
from simcloud.spec.surface import Triangle, upper_side
from support.scene_contents import EmptyScene

SIZES: dict[str, Vector3] = {
    "rack": (1.6, 0.6, 1.8),
    "box": (0.3, 0.2, 0.25),
    "tall": (0.2, 0.2, 0.9),
    "post": (0.1, 0.1, 1.0),
}
LEVELS = {"rack": (("lower", 0.2), ("upper", 1.0))}
GROUND: list[Triangle] = [
    # flat at z = 1 of 3 and of 1 square metres, a slope of 31 degrees, an underside
    ((0.0, 0.0, 1.0), (3.0, 0.0, 1.0), (0.0, 2.0, 1.0)),
    ((5.0, 0.0, 1.0), (6.0, 0.0, 1.0), (5.0, 2.0, 1.0)),
    ((8.0, 0.0, 1.0), (9.0, 0.0, 1.6), (8.0, 2.0, 1.0)),
    ((0.0, 0.0, 0.0), (0.0, 9.0, 0.0), (9.0, 0.0, 0.0)),
]


class Contents(EmptyScene):
    """A scene of boxes with a rack, a roof and a bin."""

    def asset_label(self, name: str) -> str | None:
        return name

    def asset_size_m(self, name: str) -> Vector3:
        return SIZES[name]

    def asset_levels_m(self, name: str) -> tuple[tuple[str, float], ...]:
        return LEVELS.get(name, ())

    def prim_triangles(self, path: str) -> Sequence[Triangle]:
        assert path == "/World/Ground"
        return GROUND

    def prim_extent_m(self, path: str) -> tuple[Vector3, Vector3]:
        assert path == "/World/Bin"
        return (0.0, 0.0, 0.5), (0.6, 0.4, 0.8)


SCENE = Contents()
RACK: dict[str, object] = {
    "name": "racks",
    "assets": "rack",
    "count": 2,
    "placement": {"kind": "grid", "x_m": [-3, 3], "y_m": [3, 4], "rows": 1, "columns": 2},
}
SHELF: dict[str, object] = {
    "name": "goods",
    "assets": {"choice": ["box", "tall"]},
    "count": 12,
    "clearance_m": 0.005,
    "placement": {
        "kind": "shelf",
        "support": "racks",
        "levels": ["lower", "upper"],
        "spacing_m": 0.36,
        "rows": 2,
        "margin_m": 0.02,
        "fill": "shuffled",
        "jitter_along_m": {"uniform": [-0.02, 0.02]},
        "yaw_jitter_deg": {"uniform": [-4, 4]},
    },
}
GRID: dict[str, object] = {
    "name": "tiles",
    "assets": "box",
    "count": {"integer": [6, 12]},
    "placement": {
        "kind": "grid",
        "x_m": [-2, 2],
        "y_m": [-2, 0],
        "rows": 3,
        "columns": 4,
        "jitter_x_m": {"uniform": [-0.2, 0.2]},
        "jitter_y_m": {"uniform": [-0.1, 0.1]},
        "yaw_deg": {"uniform": [-180, 180]},
    },
}
PATH: dict[str, object] = {
    "name": "fence",
    "assets": "post",
    "count": 9,
    "placement": {
        "kind": "path",
        "points_m": [[-4, -4], [4, -4], [4, -3]],
        "spacing_m": 1.0,
        "aside_m": {"uniform": [0, 0.2]},
    },
}
SURFACE: dict[str, object] = {
    "name": "stones",
    "assets": "post",
    "count": 12,
    "placement": {"kind": "surface", "prim": "/World/Ground", "align": True},
}
TUMBLED: dict[str, object] = {
    "name": "tumbled",
    "assets": "box",
    "count": 4,
    "placement": {
        "kind": "scatter",
        "x_m": {"uniform": [-2, 2]},
        "y_m": {"uniform": [0.5, 2]},
        "pitch_deg": {"uniform": [-90, 90]},
        "roll_deg": {"uniform": [-90, 90]},
    },
}
DROP: dict[str, object] = {
    "name": "heap",
    "assets": "box",
    "count": 6,
    "placement": {"kind": "drop", "into": "/World/Bin"},
}
GROUPS = (RACK, SHELF, GRID, PATH, SURFACE, TUMBLED, DROP)


def make_spec(*groups: dict[str, object], seed: int = 1) -> Spec:
    camera = {
        "name": "main",
        "width_px": 32,
        "height_px": 24,
        "placement": {"kind": "look_at", "eye": [0, -9, 3], "target": [0, 0, 0]},
    }
    return Spec.model_validate(
        {
            "seed": seed,
            "scene": {"root": "stage.usda"},
            "cameras": [camera],
            "randomization": {
                "region": {"x_m": [-5, 5], "y_m": [-5, 5]},
                "objects": list(groups),
            },
        }
    )


def of_group(parameters: FrameParameters, name: str) -> list[PlacedObject]:
    return [item for item in parameters.objects if item.group == name]


def yaw_deg(item: PlacedObject) -> float:
    w, _, _, z = item.orientation_wxyz
    return math.degrees(2 * math.atan2(z, w))


def outline(item: PlacedObject) -> Footprint:
    """Of an upright object."""
    x, y, z = item.position_m
    width, depth, height = SIZES[item.asset]
    return Footprint(x, y, width, depth, yaw_deg(item), z, z + height)


def corners(item: PlacedObject) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    width, depth, height = SIZES[item.asset]
    box = box_corners((-width / 2, -depth / 2, 0.0), (width / 2, depth / 2, height))
    return transform_points(pose_matrix(item.position_m, item.orientation_wxyz, item.scale), box)


@given(st.integers(0, 10_000), st.permutations(GROUPS))
@settings(max_examples=15, deadline=None)
def test_the_order_of_groups_changes_nothing(frame: int, groups: list[dict[str, object]]) -> None:
    assert sample(make_spec(*groups), SCENE, frame) == sample(make_spec(*GROUPS), SCENE, frame)


@given(st.integers(0, 10_000), st.sampled_from([GRID, PATH, SURFACE, TUMBLED, DROP]))
@settings(max_examples=15, deadline=None)
def test_leaving_a_group_out_changes_no_other_groups_draws(
    frame: int, left_out: dict[str, object]
) -> None:
    rest = [group for group in GROUPS if group is not left_out]
    before, after = (sample(make_spec(*part), SCENE, frame) for part in (GROUPS, rest))
    # these regions do not meet: nobody's place depends on another's
    kept = tuple(item for item in before.objects if item.group != left_out["name"])
    assert after.objects == kept


@given(st.integers(0, 10_000), st.integers(0, 1000))
@settings(max_examples=25, deadline=None)
def test_upright_objects_never_overlap(frame: int, seed: int) -> None:
    parameters = sample(make_spec(RACK, SHELF, GRID, PATH, seed=seed), SCENE, frame)
    for one, other in itertools.combinations(parameters.objects, 2):
        if {one.group, other.group} != {"racks", "goods"}:
            assert not outline(one).collides(outline(other), 0.0), f"{one.name} and {other.name}"


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_goods_stand_on_a_level_within_their_rack(frame: int) -> None:
    parameters = sample(make_spec(RACK, SHELF), SCENE, frame)
    racks = [outline(item) for item in of_group(parameters, "racks")]
    goods = of_group(parameters, "goods")
    assert len(goods) >= 3  # of 12; the tall ones fit on one level alone, 4 was the least of 2500
    for item in goods:
        assert any(outline(item).inside(rack, margin=0.02) for rack in racks), item.name
        level = item.position_m[2]
        assert min(abs(level - 0.2), abs(level - 1.0)) < 1e-5, item.name
        if item.asset == "tall":  # 0.9 m do not fit under the upper level
            assert level == pytest.approx(1.0, abs=1e-5)
        assert abs(yaw_deg(item)) <= 4.001


def test_levels_may_be_heights_and_are_scaled_with_their_shelf() -> None:
    rack = RACK | {"scale": 1.5}
    shelf = SHELF | {
        "placement": {"kind": "shelf", "support": "racks", "levels": [0.2], "spacing_m": 0.5}
    }
    goods = of_group(sample(make_spec(rack, shelf), SCENE, 0), "goods")
    assert goods
    assert {round(item.position_m[2], 5) for item in goods} == {0.3}


def test_an_unknown_level_is_refused_with_those_that_there_are() -> None:
    shelf = SHELF | {
        "placement": {"kind": "shelf", "support": "racks", "levels": ["top"], "spacing_m": 0.5}
    }
    with pytest.raises(InvalidRequest, match="lower, upper"):
        sample(make_spec(RACK, shelf), SCENE, 0)


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_a_grid_puts_every_object_into_its_cell(frame: int) -> None:
    tiles = of_group(sample(make_spec(GRID), SCENE, frame), "tiles")
    assert 6 <= len(tiles) <= 12
    for index, item in enumerate(tiles):
        row, column = divmod(index, 4)
        assert abs(item.position_m[0] - (-1.5 + column)) <= 0.2001
        assert abs(item.position_m[1] - (-2 + (row + 0.5) * 2 / 3)) <= 0.1001


def test_a_shuffled_grid_fills_each_cell_once() -> None:
    placement = {"kind": "grid", "x_m": [0, 4], "y_m": [0, 3], "rows": 3, "columns": 4}
    group = GRID | {"count": 20, "placement": placement | {"fill": "shuffled"}}
    frames = [of_group(sample(make_spec(group), SCENE, frame), "tiles") for frame in range(2)]
    orders = [[item.position_m[:2] for item in frame] for frame in frames]
    assert all(len(set(order)) == len(order) == 12 for order in orders)
    assert orders[0] != orders[1]
    assert set(orders[0]) == set(orders[1])


def test_objects_follow_a_path_round_its_corner() -> None:
    fence = of_group(sample(make_spec(PATH), SCENE, 0), "fence")
    assert len(fence) == 9
    for index, item in enumerate(fence):
        x, y, _ = item.position_m
        assert x == pytest.approx(-4 + index, abs=1e-5)
        assert -4 <= y <= -3.8 + 1e-5  # to the left of a line that goes along +X
        assert yaw_deg(item) == pytest.approx(90.0, abs=1e-4)  # the front, -Y, looks along +X


def test_a_path_ends_where_it_ends() -> None:
    assert len(of_group(sample(make_spec(PATH | {"count": 64}), SCENE, 3), "fence")) == 10


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_what_lies_on_a_surface_stands_at_right_angles_to_it(frame: int) -> None:
    for item in of_group(sample(make_spec(SURFACE), SCENE, frame), "stones"):
        x, y, z = item.position_m
        up = pose_matrix(item.position_m, item.orientation_wxyz)[:3, 2]
        if x < 7:
            assert z == pytest.approx(1.0, abs=1e-5)
            assert up == pytest.approx([0, 0, 1], abs=1e-5)
        else:
            assert z == pytest.approx(1 + 0.6 * (x - 8), abs=1e-4)
            assert up == pytest.approx(np.array([-0.6, 0, 1]) / math.hypot(0.6, 1), abs=1e-5)
        assert 0 <= y <= 2.0001


def test_points_are_uniform_by_area_and_steep_parts_are_left_out() -> None:
    side = upper_side(GROUND, max_slope_deg=10.0)
    stream = RandomStream(seed=1, frame=0, name="surface")
    found = [side.point(stream.uniform(), stream.uniform(), stream.uniform()) for _ in range(4000)]
    points = np.array([item[0] for item in found if item is not None])
    assert np.abs(points[:, 2] - 1.0).max() < 1e-12
    large = points[points[:, 0] < 4]
    assert len(large) / len(points) == pytest.approx(0.75, abs=0.03)
    assert large[:, :2].mean(axis=0) == pytest.approx([1.0, 2 / 3], abs=0.05)  # the centroid


def test_a_surface_that_faces_down_everywhere_holds_nothing() -> None:
    assert upper_side(GROUND[3:], 45.0).point(0.5, 0.5, 0.5) is None


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_tumbled_objects_touch_the_floor_and_stay_apart(frame: int) -> None:
    items = of_group(sample(make_spec(TUMBLED), SCENE, frame), "tumbled")
    boxes = [corners(item) for item in items]
    for box in boxes:
        assert box[:, 2].min() == pytest.approx(0.0, abs=1e-5)
    for one, other in itertools.combinations(boxes, 2):
        gaps = np.maximum(one.min(axis=0) - other.max(axis=0), other.min(axis=0) - one.max(axis=0))
        assert gaps.max() > 0


def test_what_does_not_snap_hangs_at_its_height() -> None:
    placement = {"kind": "scatter", "x_m": 40, "y_m": 0, "z_m": 1.25, "snap": "none"}
    group: dict[str, object] = {"name": "lamp", "assets": "post", "placement": placement}
    (item,) = sample(make_spec(group), SCENE, 0).objects
    assert item.position_m == (40.0, 0.0, 1.25)


@given(st.integers(0, 10_000), st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_what_is_dropped_hangs_apart_above_its_region(frame: int, count: int) -> None:
    items = of_group(sample(make_spec(DROP | {"count": count}), SCENE, frame), "heap")
    assert len(items) == count
    boxes = [corners(item) for item in items]
    for item, box in zip(items, boxes, strict=True):
        assert item.fall is not None
        assert box[:, 2].min() >= 0.8 + 0.1 - 1e-5
        middle = (box.min(axis=0) + box.max(axis=0)) / 2
        assert 0 <= middle[0] <= 0.6
        assert 0 <= middle[1] <= 0.4
    for one, other in itertools.combinations(boxes, 2):
        gaps = np.maximum(one.min(axis=0) - other.max(axis=0), other.min(axis=0) - one.max(axis=0))
        assert gaps.max() >= 0.01 - 1e-5


@given(st.floats(-180, 180), st.floats(-180, 180), st.floats(-180, 180))
@settings(max_examples=50, deadline=None)
def test_euler_angles_are_roll_then_pitch_then_yaw(yaw: float, pitch: float, roll: float) -> None:
    def about(axis: int, angle_deg: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        half = math.radians(angle_deg) / 2
        quaternion = [math.cos(half), 0.0, 0.0, 0.0]
        quaternion[1 + axis] = math.sin(half)
        w, x, y, z = quaternion
        return pose_matrix((0.0, 0.0, 0.0), (w, x, y, z))[:3, :3]

    found = pose_matrix((0.0, 0.0, 0.0), euler_quaternion(yaw, pitch, roll))[:3, :3]
    assert found == pytest.approx(about(2, yaw) @ about(1, pitch) @ about(0, roll), abs=1e-6)
    assert euler_quaternion(yaw, 0.0, 0.0) == yaw_quaternion(yaw)


def test_random_rotations_are_all_alike() -> None:
    streams = [RandomStream(seed=3, frame=frame, name="r") for frame in range(3000)]
    turned = np.array(
        [pose_matrix((0.0, 0.0, 0.0), random_rotation(one))[:3, :3] for one in streams]
    )
    # where an axis ends up is uniform on the sphere: mean 0, each coordinate's square 1/3
    assert np.abs(turned.mean(axis=0)).max() < 0.05
    assert np.abs((turned**2).mean(axis=0) - 1 / 3).max() < 0.03


@pytest.mark.parametrize(
    ("placement", "words"),
    [
        ({"kind": "grid", "x_m": [1, 1], "y_m": [0, 1], "rows": 1, "columns": 1}, "x_m"),
        ({"kind": "path", "points_m": [[0, 0], [0, 0]], "spacing_m": 1}, "same point"),
        ({"kind": "surface", "prim": "ground"}, "is no path"),
        ({"kind": "drop", "into": "/World/no path"}, "no path of a prim"),
        ({"kind": "drop", "into": "nobody"}, "not a group"),
        ({"kind": "shelf", "support": "nobody", "levels": [0.1], "spacing_m": 1}, "not a group"),
        ({"kind": "drop", "into": {"x_m": [0, 1], "y_m": [0, 1], "z_m": [1, 0]}}, "z_m"),
    ],
)
def test_a_placement_that_cannot_be_is_refused(placement: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make_spec({"name": "x", "assets": "box", "placement": placement})
