"""Each rule of label QA, by a view that breaks it alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from simcloud.geometry import look_at, pixel_rays
from simcloud.labels.objects import ObjectLabel
from simcloud.labels.qa import check_view
from simcloud.spec.parameters import CameraView

Array = npt.NDArray[Any]

CAMERA = CameraView(
    name="main",
    width=40,
    height=30,
    cam2world=look_at((0.0, 0.0, 4.0), (0.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
    focal_length_mm=20.0,
    horizontal_aperture_mm=20.0,
)
IDENTITY = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 1.0))


def plate(
    number: int, name: str, box: tuple[int, int, int, int], *, hidden_px: int = 0
) -> ObjectLabel:
    """A plate in the plane z = 0, 4 m from the camera; a pixel there is 0.1 m wide."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    return ObjectLabel(
        instance_id=number,
        name=name,
        prim=f"/World/Objects/{name}",
        asset="plate",
        label="plate",
        semantic_id=2,
        box2d_tight=box,
        box2d_loose=box,
        box3d_min=((box[0] - 20) * 0.1, (15 - box[3]) * 0.1, 0.0),
        box3d_max=((box[2] - 20) * 0.1, (15 - box[1]) * 0.1, 0.0),
        local2world=IDENTITY,
        visible_px=area - hidden_px,
        amodal_px=area,
        occlusion=hidden_px / area,
        truncation=0.0,
        distance_m=4.0,
    )


def view() -> tuple[dict[str, Array], list[ObjectLabel]]:
    """Two plates before an empty background, without any mistake."""
    objects = [plate(2, "left", (5, 5, 15, 20)), plate(3, "right", (20, 10, 30, 25))]
    instance = np.zeros((30, 40), dtype=np.uint16)
    for item in objects:
        assert item.box2d_tight is not None
        x0, y0, x1, y1 = item.box2d_tight
        instance[y0:y1, x0:x1] = item.instance_id
    hit = instance > 0
    cosines = pixel_rays(CAMERA)[1]
    arrays: dict[str, Array] = {
        "instance_segmentation": instance,
        "semantic_segmentation": np.where(hit, 2, 0).astype(np.uint16),
        "distance_to_camera": np.where(hit, 4.0 / cosines, np.inf).astype(np.float32),
        "distance_to_image_plane": np.where(hit, 4.0, np.inf).astype(np.float32),
    }
    return arrays, objects


def rules(arrays: dict[str, Array], objects: list[ObjectLabel]) -> set[str]:
    return {violation.rule for violation in check_view(CAMERA, arrays, objects)}


def test_consistent_view_passes() -> None:
    arrays, objects = view()
    assert check_view(CAMERA, arrays, objects) == []


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"box2d_tight": (5, 5, 15, 19)}, "tight_box"),
        ({"visible_px": 149}, "visible_area"),
        ({"occlusion": 0.05}, "occlusion"),
        ({"box2d_loose": (6, 5, 15, 20)}, "tight_in_loose"),
        ({"box2d_loose": None}, "loose_box"),
        ({"box3d_min": (-1.5, 1.0, 0.0)}, "box3d_projection"),
        ({"box3d_max": (-0.5, 0.5, 0.0)}, "depth_in_box3d"),
        ({"semantic_id": 3}, "mask_classes"),
        ({"instance_id": 9}, "mask_ids"),
        ({"instance_id": 9}, "empty_mask"),
        ({"instance_id": 3}, "mask_ids"),
    ],
)
def test_wrong_label_breaks_its_rule(changes: dict[str, Any], rule: str) -> None:
    arrays, objects = view()
    objects[0] = dataclasses.replace(objects[0], **changes)
    assert rule in rules(arrays, objects)


def test_pixel_of_an_unknown_object_is_found() -> None:
    arrays, objects = view()
    arrays["instance_segmentation"][0, 0] = 77
    assert "mask_ids" in rules(arrays, objects)


def test_visible_object_without_a_mask_is_found() -> None:
    arrays, objects = view()
    instance = arrays["instance_segmentation"]
    instance[instance == 3] = 0
    assert "empty_mask" in rules(arrays, objects)


def test_depths_that_disagree_are_found() -> None:
    arrays, objects = view()
    arrays["distance_to_image_plane"][10, 10] *= np.float32(1.0002)
    assert rules(arrays, objects) == {"depth_planes"}


def test_depth_within_its_tolerance_passes() -> None:
    arrays, objects = view()
    arrays["distance_to_image_plane"] *= np.float32(1.00005)
    assert rules(arrays, objects) == set()


def test_depth_with_a_hit_that_the_other_misses_is_found() -> None:
    arrays, objects = view()
    arrays["distance_to_image_plane"][10, 10] = np.inf
    assert rules(arrays, objects) == {"depth_hits"}


def test_depth_that_leaves_the_3d_box_is_found() -> None:
    arrays, objects = view()
    arrays["distance_to_camera"] *= np.float32(1.001)
    arrays["distance_to_image_plane"] *= np.float32(1.001)
    assert rules(arrays, objects) == {"depth_in_box3d"}


def test_missing_arrays_are_not_checked() -> None:
    _, objects = view()
    assert check_view(CAMERA, {}, objects) == []


def test_violation_says_what_was_expected_and_found() -> None:
    arrays, objects = view()
    objects[0] = dataclasses.replace(objects[0], visible_px=149)
    text = "\n".join(str(item) for item in check_view(CAMERA, arrays, objects))
    assert "visible_area of left: expected 150 px in the mask, found 149" in text
