"""One camera's raw data as a view: masks, depth and picture by RTX, what is hidden by geometry.

Masks, distances and normals are what the renderer saw. What no picture shows has no renderer's
answer: Replicator gives no pixel count of a hidden object, and no occlusion for one of several
meshes. So unoccluded silhouettes, loose boxes, truncation and motion are traced on the same
geometry as on the CPU; ids, classes and 3D boxes are the frame's own and equal on every backend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from simcloud.annotators import ANNOTATORS, BACKGROUND_ID, UNLABELLED_ID
from simcloud.geometry import Float64
from simcloud.labels.masks import id_areas, id_boxes
from simcloud.labels.objects import Box2D, ObjectLabel
from simcloud.spec.parameters import CameraView
from simcloud_generator.backends.base import Array
from simcloud_generator.backends.frame_scene import FrameScene
from simcloud_generator.backends.isaac import convert, rows
from simcloud_generator.backends.isaac.capture import LABELS, RawView
from simcloud_generator.backends.labelling import object_labels, point_cloud
from simcloud_generator.backends.motion import motion_vectors
from simcloud_generator.backends.tracing import Silhouette, ViewTrace

_PICTURES = {"rgb": ("rgb",), "normals": ("normals",), "pointcloud": ("rgb", "normals")}
"""Replicator's annotators behind ours, beside those that every view needs."""


@dataclass(frozen=True, slots=True, eq=False)
class ViewContext:
    """What the raw data of a stage are read with."""

    stage2world: Float64
    """(4, 4)."""
    classes: Mapping[str, int]
    """Semantic id by label."""


def raw_annotators(annotators: Sequence[str]) -> tuple[str, ...]:
    """Replicator's annotators that ours are made from."""
    wanted = {raw for name in annotators for raw in _PICTURES.get(name, ())}
    return (*LABELS, *sorted(wanted))


def view_arrays(
    frame: FrameScene,
    camera: CameraView,
    trace: ViewTrace,
    raw: RawView,
    *,
    context: ViewContext,
    annotators: Sequence[str],
) -> dict[str, Array]:
    """The arrays of a view, by our names and conventions.

    Raises:
        BadData: an annotator's data are not as recorded.
    """
    size = (camera.width, camera.height)
    unit = rows.camera(raw["camera_params"]).metres_per_unit
    distance = convert.distance_m(
        raw["distance_to_camera"], *size, metres_per_unit=unit, annotator="distance_to_camera"
    )
    hit = np.isfinite(distance)
    owners = {
        group.prim: group.instance_id for group in frame.groups if group.prim not in ("", "/")
    }
    instance = convert.instance_ids(raw["instance_segmentation_fast"], *size, owners)
    semantic = convert.semantic_ids(raw["semantic_segmentation"], *size, context.classes)
    arrays: dict[str, Array] = {
        "distance_to_camera": distance,
        # From the one distance, so that both depths are of the same point and pixel's centre.
        "distance_to_image_plane": np.where(hit, distance * trace.cosines, np.inf).astype("f4"),
        "semantic_segmentation": _where_hit(semantic, hit),
        "instance_segmentation": _where_hit(instance, hit),
    }
    # What carries no label of ours has no class either, whatever an asset brought along.
    unlabelled = arrays["instance_segmentation"] == UNLABELLED_ID
    arrays["semantic_segmentation"][unlabelled] = UNLABELLED_ID
    if "normals" in raw:
        arrays["normals"] = convert.normals(
            raw["normals"], trace.directions, hit, context.stage2world
        )
    if "rgb" in raw:
        arrays["rgb"] = convert.picture(raw["rgb"], *size)
    if "motion_vectors" in annotators:
        arrays["motion_vectors"] = motion_vectors(frame, camera, trace)
    if "pointcloud" in annotators:
        arrays["pointcloud"] = point_cloud(camera, trace, arrays)
    wanted = {"normals"} if "pointcloud" in annotators else set()
    kept = wanted | set(annotators) | set(_LABEL_LAYERS)
    return {name: arrays[name] for name in ANNOTATORS if name in arrays and name in kept}


_LABEL_LAYERS = (
    "distance_to_camera",
    "distance_to_image_plane",
    "semantic_segmentation",
    "instance_segmentation",
)


def view_objects(
    frame: FrameScene, camera: CameraView, trace: ViewTrace, arrays: dict[str, Array]
) -> tuple[ObjectLabel, ...]:
    """Every labelled object; a silhouette holds at least what the renderer's mask shows of it."""
    areas = id_areas(arrays["instance_segmentation"])
    boxes = id_boxes(arrays["instance_segmentation"])
    silhouettes = [
        _grown(silhouette, areas.get(group.instance_id, 0), boxes.get(group.instance_id))
        for group, silhouette in zip(frame.groups, trace.silhouettes, strict=True)
    ]
    grown = ViewTrace(trace.directions, trace.cosines, trace.hits, silhouettes)
    return object_labels(frame, camera, grown, arrays)


def _where_hit(ids: Array, hit: Array) -> Array:
    """Ids agree with depth on what is background: 0 where nothing was hit, never 0 elsewhere."""
    found = np.where(hit, ids, BACKGROUND_ID)
    found[hit & (found == BACKGROUND_ID)] = UNLABELLED_ID
    return found.astype(np.uint16)


def _grown(silhouette: Silhouette, visible_px: int, box: Box2D | None) -> Silhouette:
    """The traced silhouette joined with a mask whose edge may lie a pixel beyond it."""
    if box is None:
        return silhouette
    own = silhouette.box
    joined = (
        box
        if own is None
        else (
            min(own[0], box[0]),
            min(own[1], box[1]),
            max(own[2], box[2]),
            max(own[3], box[3]),
        )
    )
    return Silhouette(
        extent=silhouette.extent,
        amodal_px=max(silhouette.amodal_px, visible_px),
        box=joined,
    )
