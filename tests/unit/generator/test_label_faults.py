"""Each rule of label QA catches its fault in arrays that a renderer truly made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from simcloud.labels.objects import ObjectLabel
from simcloud.labels.qa import check_view
from simcloud.labels.rules import RULES
from simcloud.scene.translate.usd import read_scene
from simcloud.spec.parameters import StepMotion
from simcloud_generator.backends.base import RenderedView
from simcloud_generator.backends.frame_scene import FrameResolver
from simcloud_generator.backends.images import ImageStore
from simcloud_generator.backends.labelling import label_arrays, object_labels, point_cloud
from simcloud_generator.backends.tracing import Tracer
from support.scenes import furnished_frame, furnished_stage

Fault = Callable[[RenderedView], RenderedView]

FAR = np.float32(1.01)


@pytest.fixture(scope="module")
def views(tmp_path_factory: pytest.TempPathFactory) -> list[RenderedView]:
    """Two cameras of different sizes on the furnished scene, without a mistake."""
    stage = furnished_stage(tmp_path_factory.mktemp("faults"))
    parameters = furnished_frame(size=(80, 60))
    moving = StepMotion(translation_m=(0.02, 0.0, -0.01), rotation_wxyz=(1.0, 0.0, 0.0, 0.0))
    main, side = parameters.cameras
    cameras = (replace(main, step=moving), replace(side, width=50, height=70))
    frame = FrameResolver(read_scene(stage)).resolve(replace(parameters, cameras=cameras))
    images = ImageStore(limit_bytes=1 << 20, max_side_px=64, environment_size=(16, 8))
    tracer = Tracer(images, limit_faces=100_000)
    result = []
    for camera in cameras:
        trace = tracer.trace(frame, camera)
        arrays = label_arrays(frame, camera, trace, motion=True)
        arrays["rgb"] = np.full((camera.height, camera.width, 3), 90, dtype=np.uint8)
        arrays["pointcloud"] = point_cloud(camera, trace, arrays)
        objects = object_labels(frame, camera, trace, arrays)
        result.append(RenderedView(camera=camera, arrays=arrays, objects=objects, timings={}))
    return result


def found_in(view: RenderedView) -> set[str]:
    return {item.rule for item in check_view(view.camera, view.arrays, view.objects)}


def crate(view: RenderedView) -> ObjectLabel:
    """An object that another one hides in part."""
    return next(item for item in view.objects if item.name == "a")


def with_object(view: RenderedView, **changes: Any) -> RenderedView:
    spoiled = replace(crate(view), **changes)
    kept = (spoiled if item.name == "a" else item for item in view.objects)
    return replace(view, objects=tuple(kept))


def with_array(view: RenderedView, name: str, change: Callable[[Any], Any]) -> RenderedView:
    return replace(view, arrays={**view.arrays, name: change(view.arrays[name].copy())})


def put(value: Any) -> Callable[[Any], Any]:
    """Puts a value into the pixel in the middle of the picture."""

    def change(array: Any) -> Any:
        array[array.shape[0] // 2, array.shape[1] // 2] = value
        return array

    return change


def shifted(box: tuple[int, int, int, int] | None, by: int) -> tuple[int, int, int, int]:
    assert box is not None
    return box[0] + by, box[1], box[2], box[3]


def lost(view: RenderedView) -> RenderedView:
    number = crate(view).instance_id
    return with_array(view, "instance_segmentation", lambda ids: np.where(ids == number, 1, ids))


def squeezed(view: RenderedView) -> RenderedView:
    """A 3D box that covers the silhouette, but whose far half is cut off."""
    low, high = crate(view).box3d_min, crate(view).box3d_max
    return with_object(view, box3d_min=low, box3d_max=(high[0], (low[1] + high[1]) / 2, high[2]))


def both_depths(view: RenderedView) -> RenderedView:
    nearer = with_array(view, "distance_to_camera", lambda depth: depth * FAR)
    return with_array(nearer, "distance_to_image_plane", lambda depth: depth * FAR)


def moved_points(view: RenderedView) -> RenderedView:
    def move(rows: Any) -> Any:
        rows["points"][0] += 0.5
        return rows

    return with_array(view, "pointcloud", move)


def more_visible(view: RenderedView) -> RenderedView:
    return with_object(view, visible_px=crate(view).visible_px + 1)


FAULTS: dict[str, list[Fault]] = {
    "array_form": [
        lambda view: with_array(view, "rgb", lambda rgb: rgb[:-1]),
        lambda view: with_array(view, "normals", lambda normals: normals.astype(np.float64)),
        lambda view: with_array(view, "instance_segmentation", lambda ids: ids.T),
    ],
    "rgb_finite": [
        lambda view: with_array(view, "rgb", lambda rgb: put(np.nan)(rgb.astype(np.float32))),
    ],
    "mask_ids": [
        lambda view: with_array(view, "instance_segmentation", put(999)),
        lambda view: with_object(view, instance_id=2),
    ],
    "empty_mask": [lost],
    "visible_area": [more_visible],
    "mask_classes": [
        lambda view: with_object(view, semantic_id=9),
        lambda view: with_array(view, "semantic_segmentation", put(9)),
    ],
    "tight_box": [
        lambda view: with_object(view, box2d_tight=shifted(crate(view).box2d_tight, 1)),
        lambda view: with_object(view, box2d_tight=None),
    ],
    "loose_box": [lambda view: with_object(view, box2d_loose=None)],
    "tight_in_loose": [
        lambda view: with_object(view, box2d_loose=shifted(crate(view).box2d_tight, 1)),
    ],
    "occlusion": [
        lambda view: with_object(
            view, occlusion=crate(view).occlusion + 1.5 / crate(view).amodal_px
        ),
        lambda view: with_object(view, amodal_px=crate(view).visible_px - 1),
    ],
    "pose": [
        lambda view: with_object(view, local2world=crate(view).local2world[::-1]),
        lambda view: with_object(view, local2world=((0.0,) * 4,) * 3 + ((0.0, 0.0, 0.0, 1.0),)),
        lambda view: with_object(view, local2world=((np.nan,) * 4,) * 4),
    ],
    "box3d_projection": [
        lambda view: with_object(view, box3d_max=(0.2, 0.5, 1.0)),
    ],
    "depth_positive": [
        lambda view: with_array(view, "distance_to_camera", put(-1.0)),
        lambda view: with_array(view, "distance_to_camera", put(np.nan)),
        lambda view: with_array(view, "distance_to_camera", put(0.0)),
    ],
    "depth_hits": [
        lambda view: with_array(view, "distance_to_image_plane", put(np.inf)),
        lambda view: with_array(view, "distance_to_camera", put(np.inf)),
    ],
    "depth_planes": [
        lambda view: with_array(view, "distance_to_image_plane", lambda depth: depth * FAR),
    ],
    "depth_in_box3d": [both_depths, squeezed],
    "normals_unit": [
        lambda view: with_array(view, "normals", put(0.0)),
        lambda view: with_array(view, "normals", put(np.nan)),
        lambda view: with_array(view, "normals", lambda normals: normals * np.float32(0.99)),
    ],
    "normals_facing": [lambda view: with_array(view, "normals", lambda normals: -normals)],
    "motion_finite": [
        lambda view: with_array(view, "motion_vectors", put(np.nan)),
        lambda view: with_array(view, "motion_vectors", put((0.0, 0.0, 1.0, 0.0))),
    ],
    "points_project": [
        moved_points,
        lambda view: with_array(view, "pointcloud", lambda rows: rows[1:]),
    ],
}


def test_a_true_view_passes(views: list[RenderedView]) -> None:
    assert [found_in(view) for view in views] == [set(), set()]
    assert all(crate(view).box2d_tight is not None for view in views)
    assert crate(views[0]).occlusion > 0


def test_every_rule_has_a_fault_here() -> None:
    assert set(FAULTS) == set(RULES)


@pytest.mark.parametrize("camera", [0, 1])
@pytest.mark.parametrize(
    ("rule", "number"), [(rule, n) for rule, faults in FAULTS.items() for n in range(len(faults))]
)
def test_a_fault_is_caught_by_its_rule(
    views: list[RenderedView], rule: str, number: int, camera: int
) -> None:
    assert rule in found_in(FAULTS[rule][number](views[camera]))


def test_what_is_found_is_among_the_rules(views: list[RenderedView]) -> None:
    faults = [fault for some in FAULTS.values() for fault in some]
    assert {rule for fault in faults for rule in found_in(fault(views[0]))} == set(RULES)


def test_deviations_within_their_tolerance_pass(views: list[RenderedView]) -> None:
    view = with_array(
        views[0], "distance_to_image_plane", lambda depth: depth * np.float32(1.00005)
    )
    view = with_array(view, "normals", lambda normals: normals * np.float32(1.0005))
    view = with_object(view, occlusion=crate(view).occlusion + 0.9 / crate(view).amodal_px)
    assert found_in(view) == set()
