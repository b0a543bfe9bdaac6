"""Isaac's labels beside the CPU's of the same frame: what differs, and how much may. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simcloud.geometry import focal_px
from simcloud.labels.boxes import box_iou
from simcloud.labels.objects import ObjectLabel
from simcloud.spec.parameters import CameraView
from simcloud_generator.backends.base import Array
from simcloud_generator.backends.isaac.rows import RawBox2D, RawBox3D, RawCamera

MIN_OBJECT_PX = 200
"""Smaller objects are mostly edge; they count in the picture's agreement alone."""

LUMINANCE_RANGE = (25.0, 230.0)
"""Mean of a usable picture, of 255: outside of it exposure or lights are wrong."""

NVIDIA_RGB_TOLERANCE = 7.5
"""Mean difference of two renderings of one frame that NVIDIA's own golden tests allow, of 255."""


@dataclass(frozen=True, slots=True)
class Result:
    """One measured value."""

    name: str
    value: float
    limit: float
    at_least: bool = False
    """Whether the limit is the least value rather than the largest."""
    note: str = ""
    informs_only: bool = False
    """Whether nothing is asked of the value."""

    @property
    def ok(self) -> bool:
        """Whether the value is within its limit; NaN never is."""
        if self.informs_only:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def compare_arrays(isaac: Mapping[str, Array], cpu: Mapping[str, Array]) -> list[Result]:
    """Masks, depth and normals of one view."""
    same = isaac["instance_segmentation"] == cpu["instance_segmentation"]
    classes = isaac["semantic_segmentation"] == cpu["semantic_segmentation"]
    both = same & np.isfinite(isaac["distance_to_camera"]) & np.isfinite(cpu["distance_to_camera"])
    results = [
        Result("instance mask, equal pixels", float(same.mean()), 0.985, at_least=True),
        Result("class mask, equal pixels", float(classes.mean()), 0.985, at_least=True),
    ]
    if not both.any():
        return [*results, Result("depth, pixels to compare", 0.0, 1.0, at_least=True)]
    reach = cpu["distance_to_camera"][both].astype(np.float64)
    error = np.abs(isaac["distance_to_camera"][both] - reach) / reach
    results += [
        Result("depth, median relative error", float(np.median(error)), 1e-3),
        Result("depth, 95th percentile", float(np.quantile(error, 0.95)), 1e-2),
    ]
    if "normals" in isaac and "normals" in cpu:
        cosine = (isaac["normals"][both] * cpu["normals"][both]).sum(axis=-1)
        angle = np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0)))
        note = "shading normals against geometric ones"
        results.append(
            Result("normals, median angle [deg]", float(np.median(angle)), 5.0, note=note)
        )
    return results


def compare_objects(isaac: Sequence[ObjectLabel], cpu: Sequence[ObjectLabel]) -> list[Result]:
    """Everything that is said of the objects of one view."""
    pairs = list(zip(isaac, cpu, strict=True))
    equal = [
        one.instance_id == other.instance_id
        and (one.name, one.label, one.semantic_id) == (other.name, other.label, other.semantic_id)
        and (one.box3d_min, one.box3d_max) == (other.box3d_min, other.box3d_max)
        and one.local2world == other.local2world
        for one, other in pairs
    ]
    results = [
        Result(
            "ids, classes and 3D boxes, equal objects", float(np.mean(equal or [True])), 1.0, True
        )
    ]
    large = [(one, other) for one, other in pairs if other.visible_px >= MIN_OBJECT_PX]
    boxes = [
        box_iou(one.box2d_tight, other.box2d_tight)
        if one.box2d_tight and other.box2d_tight
        else 0.0
        for one, other in large
    ]
    note = f"{len(large)} objects of {MIN_OBJECT_PX} px and more"
    if large:
        areas = [abs(one.visible_px / other.visible_px - 1.0) for one, other in large]
        hidden = [abs(one.occlusion - other.occlusion) for one, other in large]
        results += [
            Result("tight boxes, lowest IoU", min(boxes), 0.9, at_least=True, note=note),
            Result("visible area, largest relative error", max(areas), 0.1, note=note),
            Result("occlusion, largest difference", max(hidden), 0.05, note=note),
        ]
    return results


def compare_camera(raw: RawCamera, camera: CameraView) -> list[Result]:
    """The renderer's own projection against the intrinsics that are stored."""
    focal = raw.projection[0, 0] * camera.width / 2
    wanted = focal_px(camera)
    return [
        Result("camera, focal length, relative error", abs(float(focal) / wanted - 1.0), 1e-3),
        Result("camera, square pixels", _square(raw, camera), 1e-3),
    ]


def _square(raw: RawCamera, camera: CameraView) -> float:
    ratio = raw.projection[1, 1] * camera.height / (raw.projection[0, 0] * camera.width)
    return abs(float(ratio) - 1.0)


def compare_raw_boxes(
    tight: Sequence[RawBox2D],
    boxes: Sequence[RawBox3D],
    objects: Sequence[ObjectLabel],
    metres_per_unit: float,
) -> list[Result]:
    """Replicator's own boxes, which are not stored, against those that are."""
    by_prim = {item.prim: item for item in objects}
    edges = []
    for row in tight:
        item = by_prim.get(row.prim)
        if item is not None and item.box2d_tight and item.visible_px >= MIN_OBJECT_PX:
            edges.append([a - b for a, b in zip(row.box, item.box2d_tight, strict=True)])
    results = []
    if edges:
        shift = np.median(np.asarray(edges, dtype=np.float64), axis=0)
        note = f"median shift of x_min, y_min, x_max, y_max: {shift.tolist()}; maxima read as last"
        results.append(
            Result("own tight boxes, shift [px]", float(np.abs(shift).max()), 1.0, note=note)
        )
    sizes = [
        abs(_volume(row) * metres_per_unit**3 / _label_volume(item) - 1.0)
        for row in boxes
        if (item := by_prim.get(row.prim)) is not None and _label_volume(item) > 0
    ]
    if sizes:
        results.append(Result("own 3D boxes, volume, relative error", max(sizes), 1e-2))
    ratios = [
        abs(row.occlusion - item.occlusion)
        for row in boxes
        if row.occlusion is not None and (item := by_prim.get(row.prim)) is not None
    ]
    if ratios:
        note = f"of {len(ratios)} objects that have one"
        results.append(
            Result("own occlusion ratios, largest difference", max(ratios), 1.0, False, note, True)
        )
    return results


def _volume(row: RawBox3D) -> float:
    """World volume of a box, cubic stage units."""
    size = np.subtract(row.maximum, row.minimum)
    return float(np.prod(size) * abs(np.linalg.det(row.local2world[:3, :3])))


def _label_volume(item: ObjectLabel) -> float:
    """World volume of a label's box, cubic metres; 0 for flat things."""
    size = np.subtract(item.box3d_max, item.box3d_min)
    scale = np.linalg.det(np.asarray(item.local2world)[:3, :3])
    volume = float(np.prod(size) * abs(scale))
    return volume if volume > 1e-9 else 0.0


def compare_pictures(first: Array, again: Array) -> list[Result]:
    """Two renderings of one frame with another frame between them."""
    mean = float(first.mean())
    low, high = LUMINANCE_RANGE
    difference = float(np.abs(first.astype(np.float64) - again).mean())
    return [
        Result("picture, mean of 255 (not too dark)", mean, low, at_least=True),
        Result("picture, mean of 255 (not too bright)", mean, high),
        Result(
            "picture, same frame twice, mean difference",
            difference,
            NVIDIA_RGB_TOLERANCE,
            note="more means ghosts of the frame between: raise rt_subframes",
        ),
    ]


def worst(results: Sequence[Result]) -> list[Result]:
    """For each name the result that is furthest on its bad side, in the order of the names."""
    found: dict[str, Result] = {}
    for result in results:
        known = found.get(result.name)
        if known is None or _badness(result) > _badness(known):
            found[result.name] = result
    return list(found.values())


def _badness(result: Result) -> float:
    if np.isnan(result.value):
        return float("inf")
    return -result.value if result.at_least else result.value


def table(results: Sequence[Result]) -> str:
    """The results as text, a line each."""
    width = max(len(result.name) for result in results)
    lines = []
    for item in results:
        sign = ">=" if item.at_least else "<="
        asked = "" if item.informs_only else f"{sign} {item.limit:<8g}"
        mark = "    " if item.informs_only else "ok  " if item.ok else "FAIL"
        lines.append(f"{mark} {item.name:<{width}} {item.value:10.4g} {asked:<11} {item.note}")
    return "\n".join(line.rstrip() for line in lines)
