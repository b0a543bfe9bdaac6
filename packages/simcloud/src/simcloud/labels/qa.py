"""Label QA: the labels of one view checked against each other. The gate before a shard commits.

Rules work on plain arrays, whatever renderer made them, so that stored data can be checked again.
A rule whose arrays are not given is skipped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simcloud.annotators import BACKGROUND_ID, UNLABELLED_ID
from simcloud.geometry import affine_inverse, focal_px, matrix4, pixel_rays, transform_planes
from simcloud.labels.boxes import box3d_extent, contains
from simcloud.labels.masks import id_areas, id_boxes
from simcloud.labels.objects import Box2D, ObjectLabel
from simcloud.labels.rules import (
    DEPTH_TOLERANCE,
    OCCLUSION_TOLERANCE_PX,
    PROJECTION_TOLERANCE_PX,
    Violation,
)
from simcloud.labels.surfaces import check_form, check_points, check_surfaces
from simcloud.spec.parameters import CameraView

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class _Masks:
    """An id mask (H, W) with the box of every id, which several rules need."""

    ids: Array
    boxes: Mapping[int, Box2D]


def check_view(
    camera: CameraView,
    arrays: Mapping[str, Array],
    objects: Sequence[ObjectLabel],
    *,
    sample_offset_px: float = 0.0,
) -> list[Violation]:
    """Checks a view's labels against each other.

    Args:
        camera: where the picture was taken from.
        arrays: by annotator name; what is missing is not checked.
        objects: every labelled object of the frame.
        sample_offset_px: how far from its pixel's centre the renderer may have looked; 0 for rays
            through the centres. Points may lie outside of their 3D box by as much.

    Returns:
        What is wrong; empty when all rules hold.
    """
    found = list(check_form(camera, arrays))
    if any(item.rule == "array_form" for item in found):
        return found  # arrays of another size can't be compared with each other
    for item in objects:
        found += _check_object(camera, item)
    instance = arrays.get("instance_segmentation")
    masks = None if instance is None else _Masks(instance, id_boxes(instance))
    if masks is not None:
        found += _check_masks(masks, arrays.get("semantic_segmentation"), objects)
    distance = arrays.get("distance_to_camera")
    if distance is not None:
        rays = pixel_rays(camera)
        found += _check_depth(camera, rays[1], distance, arrays.get("distance_to_image_plane"))
        if masks is not None:
            found += _check_hits(distance, masks.ids)
            tolerance = DEPTH_TOLERANCE + sample_offset_px / focal_px(camera)
            found += _check_boxes_hold_points(
                camera, rays[0], distance, masks, objects, tolerance=tolerance
            )
        found += check_surfaces(rays[0], distance, arrays)
    if instance is not None and "pointcloud" in arrays:
        found += check_points(camera, instance, arrays["pointcloud"])
    return found


def _check_object(camera: CameraView, item: ObjectLabel) -> Iterator[Violation]:
    """Rules that need no array."""

    def violation(rule: str, expected: object, found: object, tolerance: str) -> Violation:
        return Violation(rule, item.name, str(expected), str(found), tolerance)

    expected = item.amodal_px - item.visible_px
    hidden = item.occlusion * item.amodal_px
    if abs(hidden - expected) > OCCLUSION_TOLERANCE_PX or expected < 0:
        yield violation("occlusion", f"{expected} px hidden", f"{hidden:.1f} px", "1 px of area")
    tight, loose = item.box2d_tight, item.box2d_loose
    if (tight is None) != (item.visible_px == 0):
        yield violation("tight_box", f"a box for {item.visible_px} px", tight, "exact")
    if (loose is None) != (item.amodal_px == 0):
        yield violation("loose_box", f"a box for {item.amodal_px} px", loose, "exact")
    if tight is not None and (loose is None or not contains(loose, tight)):
        yield violation("tight_in_loose", f"within {loose}", tight, "exact")
    if not _has_pose(item):
        yield violation("pose", "an affine transform", item.local2world, "exact")
        return
    if loose is None:
        return
    extent = box3d_extent(camera, item.box3d_min, item.box3d_max, item.local2world)
    if extent is None or not contains(extent, loose, PROJECTION_TOLERANCE_PX):
        shown = None if extent is None else tuple(round(value, 2) for value in extent)
        yield violation("box3d_projection", f"within {shown}", loose, "1 px")


def _has_pose(item: ObjectLabel) -> bool:
    matrix = np.asarray(item.local2world, dtype=np.float64)
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        return False
    is_affine = matrix[3].tolist() == [0.0, 0.0, 0.0, 1.0]
    (a, b, c), (d, e, f), (g, h, i) = matrix[:3, :3].tolist()
    determinant = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return bool(is_affine and determinant != 0.0)


def _check_masks(
    masks: _Masks, semantic: Array | None, objects: Sequence[ObjectLabel]
) -> Iterator[Violation]:
    instance, boxes = masks.ids, masks.boxes
    areas = id_areas(instance)
    known = {item.instance_id for item in objects} | {BACKGROUND_ID, UNLABELLED_ID}
    for stray in sorted(set(areas) - known):
        yield Violation("mask_ids", "", "ids of objects only", f"id {stray}", "exact")
    if len(known) != len(objects) + 2:
        yield Violation("mask_ids", "", "one id for each object", "an id used twice", "exact")
    for item in objects:
        area, box = areas.get(item.instance_id, 0), boxes.get(item.instance_id)
        if item.visible_px > 0 and area == 0:
            yield Violation(
                "empty_mask", item.name, f"{item.visible_px} px in the mask", "none", "exact"
            )
        elif area != item.visible_px:
            yield Violation(
                "visible_area", item.name, f"{area} px in the mask", str(item.visible_px), "exact"
            )
        if box != item.box2d_tight:
            yield Violation(
                "tight_box", item.name, f"{box} in the mask", str(item.box2d_tight), "exact"
            )
    if semantic is not None:
        yield from _check_classes(instance, semantic, objects)


def _check_classes(
    instance: Array, semantic: Array, objects: Sequence[ObjectLabel]
) -> Iterator[Violation]:
    classes = {item.instance_id: (item.semantic_id, item.name) for item in objects}
    classes[BACKGROUND_ID] = (BACKGROUND_ID, "")
    classes[UNLABELLED_ID] = (UNLABELLED_ID, "")
    table = np.full(65_536, -1, dtype=np.int64)
    for number, (label, _) in classes.items():
        table[number] = label
    expected = table[instance]
    wrong = (expected >= 0) & (expected != semantic)
    for number in np.unique(instance[wrong]):
        label, name = classes[int(number)]
        other = int(semantic[wrong & (instance == number)][0])
        yield Violation("mask_classes", name, f"class id {label}", f"{other} in its mask", "exact")


def _check_depth(
    camera: CameraView, cosines: Array, distance: Array, plane: Array | None
) -> Iterator[Violation]:
    hit = np.isfinite(distance)
    wrong = ~(distance > 0)  # true for NaN too
    if wrong.any():
        found = f"{float(distance[wrong][0])} m"
        yield Violation("depth_positive", "", "above 0 m, or inf", found, "exact")
    if plane is None:
        return
    if (np.isfinite(plane) != hit).any():
        count = int((np.isfinite(plane) != hit).sum())
        yield Violation("depth_hits", "", "the same pixels", f"{count} px differ", "exact")
        return
    expected = distance[hit].astype(np.float64) * cosines[hit]
    error = np.abs(plane[hit] - expected) / np.maximum(expected, camera.near_m)
    if error.size and error.max() > DEPTH_TOLERANCE:
        yield Violation(
            "depth_planes",
            "",
            "image plane depth = distance * cosine",
            f"off by {error.max():.2e}",
            f"{DEPTH_TOLERANCE} relative",
        )


def _check_hits(distance: Array, instance: Array) -> Iterator[Violation]:
    differs = np.isfinite(distance) != (instance != BACKGROUND_ID)
    if differs.any():
        count = int(differs.sum())
        expected = "background where nothing was hit"
        yield Violation("depth_hits", "", expected, f"{count} px differ", "exact")


def _check_boxes_hold_points(
    camera: CameraView,
    directions: Array,
    distance: Array,
    masks: _Masks,
    objects: Sequence[ObjectLabel],
    *,
    tolerance: float,
) -> Iterator[Violation]:
    """Depth re-projects: each object's points lie in its 3D box."""
    eye = matrix4(camera.cam2world)[:3, 3]
    for item in objects:
        box = masks.boxes.get(item.instance_id)
        if box is None or not _has_pose(item):
            continue
        window = np.s_[box[1] : box[3], box[0] : box[2]]
        seen = np.isfinite(distance[window]) & (distance[window] > 0)
        mask = (masks.ids[window] == item.instance_id) & seen
        if not mask.any():
            continue
        reach = distance[window][mask].astype(np.float64)
        rays = directions[window][mask]
        error = np.sqrt(_beyond_box(item, eye, rays, reach)) / reach
        if error.max() > tolerance:
            yield Violation(
                "depth_in_box3d",
                item.name,
                "every point within the 3D box",
                f"off by {error.max():.2e} of the distance",
                f"{tolerance:g} relative",
            )


def _beyond_box(item: ObjectLabel, eye: Array, rays: Array, reach: Array) -> Array:
    """Squares of how far points (N,) along rays (N, 3) lie outside of an object's box, m^2."""
    frame = matrix4(item.local2world)
    x, y, z = (eye[axis] + rays[:, axis] * reach for axis in range(3))
    scale = np.sqrt((frame[:3, :3] ** 2).sum(axis=0))
    result = np.zeros(len(reach))
    local = transform_planes(affine_inverse(frame), (x, y, z), offset=True)
    for axis, values in enumerate(local):
        low, high = item.box3d_min[axis], item.box3d_max[axis]
        outside = np.maximum(np.maximum(low - values, values - high), 0.0)
        result += (outside * scale[axis]) ** 2
    return result
