"""Replicator's raw data, in the shapes that its registry records, as ours."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simcloud_generator.backends.isaac import convert, rows
from simcloud_generator.backends.isaac.convert import BadData
from simcloud_generator.backends.isaac.freshness import Expected, stale_reason
from simcloud_generator.backends.isaac.rows import BOX2D_DTYPE, BOX3D_DTYPE

OWNERS = {"/World/Room": 2, "/World/Room/Floor": 3, "/World/Objects/a": 4}


def ids(values: list[list[int]]) -> Any:
    return np.array(values, dtype=np.uint32)


@pytest.mark.parametrize("key", [int, str])
def test_instances_go_to_the_nearest_prim_above_them_whatever_their_ids(key: type) -> None:
    raw = {
        "data": ids([[0, 1, 17], [9, 23, 4]]),
        "idToLabels": {
            key(0): "BACKGROUND",
            key(1): "UNLABELLED",
            key(17): "/World/Room/Floor",
            key(9): "/World/Room/Wall/Panel",
            key(23): "/World/Objects/a/Body",
            key(4): "/World/Other",
        },
    }
    expected = [[0, 1, 3], [2, 4, 1]]
    assert convert.instance_ids(raw, 3, 2, OWNERS).tolist() == expected
    nested = {"data": raw["data"], "info": {"idToLabels": raw["idToLabels"]}}
    assert convert.instance_ids(nested, 3, 2, OWNERS).tolist() == expected
    assert convert.instance_ids(raw, 3, 2, OWNERS).dtype == np.uint16


def test_id_without_an_entry_is_unlabelled_and_zero_is_background() -> None:
    raw = {"data": ids([[0, 7]]), "idToLabels": {}}
    assert convert.instance_ids(raw, 2, 1, OWNERS).tolist() == [[0, 1]]


def test_classes_of_nested_prims_are_joined_and_the_innermost_known_one_counts() -> None:
    classes = {"floor": 2, "room": 3, "a,b": 4}
    raw = {
        "data": ids([[0, 1, 2, 3, 4, 5]]),
        "idToLabels": {
            "0": {"class": "BACKGROUND"},
            "1": {"class": "UNLABELLED"},
            "2": {"class": "room, floor"},
            "3": {"class": "floor, screw"},
            "4": {"class": "a,b"},
            "5": {"class": "screw"},
        },
    }
    assert convert.semantic_ids(raw, 6, 1, classes).tolist() == [[0, 1, 2, 2, 4, 1]]


def test_colours_in_place_of_ids_are_an_error_that_says_so() -> None:
    raw = {"data": ids([[1]]), "idToLabels": {"(255, 0, 0, 255)": {"class": "x"}}}
    with pytest.raises(BadData, match="asked for colours"):
        convert.semantic_ids(raw, 1, 1, {})


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "no data"),
        (np.zeros(0, np.uint8), "empty array"),
        (np.zeros((2, 3, 4), np.float32), "uint8"),
        (np.zeros((3, 2, 4), np.uint8), r"\(2, 3, 4\)"),
        (7, "int in place of"),
    ],
)
def test_data_of_another_form_are_refused(raw: object, message: str) -> None:
    with pytest.raises(BadData, match=message):
        convert.picture(raw, 3, 2)


def test_picture_loses_its_constant_fourth_channel() -> None:
    raw = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    found = convert.picture({"data": raw}, 3, 2)
    assert found.shape == (2, 3, 3)
    assert found.flags.c_contiguous
    assert found[1, 2].tolist() == [20, 21, 22]


def test_distances_are_metres_and_infinite_where_nothing_was_hit() -> None:
    raw = np.array([[250.0, np.inf, 0.0, np.nan, -1.0]], dtype=np.float32)
    found = convert.distance_m(raw, 5, 1, metres_per_unit=0.01, annotator="distance_to_camera")
    assert found.dtype == np.float32
    assert found.tolist() == [[2.5, np.inf, np.inf, np.inf, np.inf]]


def test_normals_are_turned_to_our_axes_and_to_the_camera() -> None:
    y_up = np.array([[1, 0, 0, 0], [0, 0, -1, 0], [0, 1, 0, 0], [0, 0, 0, 1]]) * 0.01
    directions = np.tile([0.0, 0.0, -1.0], (1, 4, 1))
    raw = np.zeros((1, 4, 4), dtype=np.float32)
    raw[0, 0] = [0, 2, 0, 1]  # up, not of unit length
    raw[0, 1] = [0, -1, 0, 1]  # faces away
    hit = np.array([[True, True, True, False]])
    found = convert.normals(raw, directions, hit, y_up)
    assert found.tolist() == [[[0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 0]]]


def test_boxes_name_their_last_pixel_and_come_in_no_order() -> None:
    data = np.array([(5, 2, 3, 9, 4, 0.25), (6, 0, 0, 0, 0, np.nan)], dtype=BOX2D_DTYPE)
    raw = {
        "data": data,
        "idToLabels": {"5": {"class": "can"}, "6": {"class": "crate"}},
        "bboxIds": np.array([1, 2], dtype=np.uint32),
        "primPaths": ["/World/b", "/World/a"],
    }
    first, second = rows.boxes_2d(raw, "bounding_box_2d_tight")
    assert (first.prim, first.label, first.box, first.occlusion) == (
        "/World/a",
        "crate",
        (0, 0, 1, 1),
        None,
    )
    assert (second.box, second.occlusion) == ((2, 3, 10, 5), 0.25)


@pytest.mark.parametrize(
    ("ratio", "expected"), [(0.0, 0.0), (1.0, 1.0), (-1.0, None), (float("nan"), None)]
)
def test_occlusion_of_several_meshes_or_out_of_view_is_no_number(
    ratio: float, expected: float | None
) -> None:
    assert rows.occlusion_of(ratio) == expected


def box_rows(x: float = 100.0) -> dict[str, Any]:
    """A box at x, with the row vectors of the documentation's example."""
    transform = np.eye(4, dtype=np.float32)
    transform[3, 0] = x
    data = np.zeros(1, dtype=BOX3D_DTYPE)
    data[0] = (2, -1, -1, -1, 1, 1, 1, transform, -1.0)
    return {
        "data": data,
        "idToLabels": {2: {"class": "cube"}},
        "primPaths": ["/World/Objects/a"],
    }


def camera_rows(x: float = 100.0, focus: float = 10.0) -> dict[str, Any]:
    """A camera at x that looks along -Z."""
    view = np.eye(4)
    view[3, 0] = -x
    return {
        "cameraViewTransform": view.ravel(),
        "cameraProjection": np.eye(4).ravel(),
        "cameraFocusDistance": focus,
        "metersPerSceneUnit": 1.0,
        "renderProductResolution": np.array([32, 24], dtype=np.int32),
    }


def test_transforms_take_row_vectors_and_become_ours() -> None:
    (box,) = rows.boxes_3d(box_rows())
    assert box.local2world[:3, 3].tolist() == [100, 0, 0]
    assert box.occlusion is None
    camera = rows.camera(camera_rows())
    assert (camera.world2cam @ [100, 0, -5, 1]).tolist() == [0, 0, -5, 1]
    assert (camera.width, camera.height) == (32, 24)


def test_camera_without_a_key_is_named() -> None:
    raw = camera_rows()
    del raw["cameraProjection"]
    with pytest.raises(BadData, match="cameraProjection"):
        rows.camera(raw)


def test_rows_without_their_prims_are_refused() -> None:
    raw = box_rows()
    raw["primPaths"] = []
    with pytest.raises(BadData, match="1 rows for 0 prims"):
        rows.boxes_3d(raw)


@pytest.mark.parametrize(
    ("camera", "box", "said"),
    [
        (camera_rows(), box_rows(), ""),
        (camera_rows(focus=10.00001), box_rows(), "focus distance"),
        (camera_rows(x=100.1), box_rows(), "camera stands elsewhere"),
        (camera_rows(), box_rows(x=100.1), "/World/Objects/a stands elsewhere"),
        (
            camera_rows() | {"renderProductResolution": np.array([64, 48])},
            box_rows(),
            "64x48",
        ),
    ],
)
def test_data_of_another_frame_are_recognised(
    camera: dict[str, Any], box: dict[str, Any], said: str
) -> None:
    pose = np.eye(4)
    pose[0, 3] = 100.0
    expected = Expected(
        focus_distance=10.0, cam2world=pose, size=(32, 24), objects={"/World/Objects/a": pose}
    )
    found = stale_reason(expected, rows.camera(camera), rows.boxes_3d(box))
    assert (said in found) if said else not found


def test_annotators_that_gave_nothing_yet_are_named() -> None:
    empty_rows = {"data": np.zeros(0, BOX3D_DTYPE), "primPaths": [], "idToLabels": {}}
    convert.check_there({"bounding_box_3d": empty_rows, "rgb": np.zeros((1, 1, 4), np.uint8)})
    with pytest.raises(BadData, match="rgb: an empty array"):
        convert.check_there({"bounding_box_3d": empty_rows, "rgb": {"data": np.zeros(0)}})
    with pytest.raises(BadData, match="camera_params: an empty array"):
        convert.check_there({"camera_params": {}})
