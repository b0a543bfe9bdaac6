"""What the smoke check lets pass and what not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simcloud.labels.objects import ObjectLabel
from simcloud_generator.backends.base import Array
from simcloud_generator.backends.isaac import comparison
from simcloud_generator.backends.isaac.comparison import Result
from simcloud_generator.backends.isaac.rows import RawBox2D
from support.scenes import IDENTITY

CRATE = ObjectLabel(
    instance_id=2,
    name="a",
    prim="/World/Objects/a",
    asset="crate",
    label="carton",
    semantic_id=2,
    box2d_tight=(10, 10, 40, 30),
    box2d_loose=(10, 10, 40, 30),
    box3d_min=(0.0, 0.0, 0.0),
    box3d_max=(1.0, 1.0, 1.0),
    local2world=IDENTITY,
    visible_px=600,
    amodal_px=600,
    occlusion=0.0,
    truncation=0.0,
    distance_m=3.0,
)


def failed(results: list[Result]) -> list[str]:
    return [result.name for result in results if not result.ok]


def test_equal_objects_pass_and_each_difference_has_its_name() -> None:
    assert failed(comparison.compare_objects([CRATE], [CRATE])) == []
    for changed, name in (
        (replace(CRATE, semantic_id=3), "ids, classes and 3D boxes, equal objects"),
        (replace(CRATE, box2d_tight=(14, 14, 40, 30)), "tight boxes, lowest IoU"),
        (replace(CRATE, visible_px=500), "visible area, largest relative error"),
        (replace(CRATE, occlusion=0.1), "occlusion, largest difference"),
    ):
        assert failed(comparison.compare_objects([changed], [CRATE])) == [name]


def test_shifted_depth_and_masks_fail() -> None:
    ids = np.zeros((20, 20), np.uint16)
    ids[5:15, 5:15] = 2
    depth = np.where(ids > 0, 2.0, np.inf).astype(np.float32)
    cpu: dict[str, Array] = {
        "instance_segmentation": ids,
        "semantic_segmentation": ids,
        "distance_to_camera": depth,
    }
    assert failed(comparison.compare_arrays(cpu, cpu)) == []
    moved = cpu | {"instance_segmentation": np.roll(ids, 1, axis=1)}
    assert failed(comparison.compare_arrays(moved, cpu)) == ["instance mask, equal pixels"]
    units = cpu | {"distance_to_camera": depth * 100}
    assert "depth, median relative error" in failed(comparison.compare_arrays(units, cpu))


def test_boxes_that_name_the_pixel_after_the_last_are_seen_as_a_shift() -> None:
    exclusive = RawBox2D("/World/Objects/a", "carton", (10, 10, 41, 31), None)
    (result,) = comparison.compare_raw_boxes([exclusive], [], [CRATE], 1.0)
    assert result.value == 1.0
    assert "[0.0, 0.0, 1.0, 1.0]" in result.note


def test_ghosts_and_darkness_fail() -> None:
    grey = np.full((4, 4, 3), 100, np.uint8)
    assert failed(comparison.compare_pictures(grey, grey)) == []
    assert len(failed(comparison.compare_pictures(grey, grey + 20))) == 1
    assert len(failed(comparison.compare_pictures(grey // 10, grey // 10))) == 1


def test_worst_of_several_views_is_shown_and_nan_is_the_worst() -> None:
    results = [
        Result("a", 0.99, 0.9, at_least=True),
        Result("a", 0.95, 0.9, at_least=True),
        Result("b", float("nan"), 1.0),
        Result("b", 0.5, 1.0),
    ]
    first, second = comparison.worst(results)
    assert first.value == 0.95
    assert not second.ok
    assert "FAIL b" in comparison.table([first, second])
