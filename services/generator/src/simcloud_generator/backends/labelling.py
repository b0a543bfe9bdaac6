"""Traced rays to label arrays and object labels, by the conventions of the annotator table."""

from __future__ import annotations

import numpy as np

from simcloud.annotators import BACKGROUND_ID
from simcloud.geometry import (
    affine_inverse,
    float32,
    matrix4,
    transform_directions,
    transform_points,
)
from simcloud.labels.masks import id_areas, id_boxes
from simcloud.labels.objects import ObjectLabel
from simcloud.labels.occlusion import occlusion, truncation
from simcloud.spec.parameters import CameraView
from simcloud_generator.backends.base import POINT_DTYPE, Array
from simcloud_generator.backends.frame_scene import FIRST_INSTANCE_ID, FrameScene, Group
from simcloud_generator.backends.motion import motion_vectors
from simcloud_generator.backends.tracing import Silhouette, ViewTrace


def label_arrays(
    frame: FrameScene,
    camera: CameraView,
    trace: ViewTrace,
    *,
    normals: bool = True,
    motion: bool = False,
) -> dict[str, Array]:
    """The arrays of ``LABEL_ARRAYS`` by annotator name, and more where it is wanted.

    Args:
        frame: what stands where.
        camera: where from.
        trace: rays through the pixels' centres.
        normals: whether ``normals`` are wanted.
        motion: whether ``motion_vectors`` are wanted.
    """
    shape = (camera.height, camera.width)
    hits = trace.hits
    distance = hits.distance_m.reshape(shape)
    instance = np.array([group.instance_id for group in frame.groups] + [BACKGROUND_ID])
    semantic = np.array([group.semantic_id for group in frame.groups] + [BACKGROUND_ID])
    plane = np.where(np.isfinite(distance), distance * trace.cosines, np.inf)
    result: dict[str, Array] = {
        "distance_to_camera": distance,
        "distance_to_image_plane": plane.astype(np.float32),
        # group -1 is the last entry: background
        "semantic_segmentation": semantic.astype(np.uint16)[hits.group].reshape(shape),
        "instance_segmentation": instance.astype(np.uint16)[hits.group].reshape(shape),
    }
    if normals:
        result["normals"] = _normals(frame, trace).reshape(*shape, 3)
    if motion:
        result["motion_vectors"] = motion_vectors(frame, camera, trace)
    return result


def _normals(frame: FrameScene, trace: ViewTrace) -> Array:
    """Unit geometric normals in world (H * W, 3), facing the camera; 0 where nothing was hit."""
    hits = trace.hits
    result = np.zeros(hits.normal.shape, dtype=np.float64)
    for index, group in enumerate(frame.groups):
        where = np.flatnonzero(hits.group == index)
        normal = hits.normal[where].astype(np.float64)
        if group.local2world is not None:  # a similarity: normals turn as directions do
            normal = transform_directions(group.local2world, normal)
        length = np.sqrt((normal**2).sum(axis=1, keepdims=True))
        normal = normal / np.where(length > 0, length, 1.0)
        away = (normal * trace.directions.reshape(-1, 3)[where]).sum(axis=1) > 0
        result[where] = np.where(away[:, None], -normal, normal)
    return (result + 0.0).astype(np.float32)  # + 0.0 turns -0 into 0


def point_cloud(camera: CameraView, trace: ViewTrace, arrays: dict[str, Array]) -> Array:
    """Rows of ``POINT_DTYPE``, one for each pixel on a labelled object, row by row.

    Args:
        camera: where the picture was taken from.
        trace: its rays.
        arrays: the label arrays and ``rgb``.
    """
    chosen = arrays["instance_segmentation"] >= FIRST_INSTANCE_ID
    distance = arrays["distance_to_camera"][chosen].astype(np.float64)
    eye = matrix4(camera.cam2world)[:3, 3]
    rows = np.zeros(int(chosen.sum()), dtype=POINT_DTYPE)
    rows["points"] = eye + trace.directions[chosen] * distance[:, None]
    rows["rgb"] = arrays["rgb"][chosen]
    rows["normals"] = arrays["normals"][chosen]
    rows["semantic"] = arrays["semantic_segmentation"][chosen]
    rows["instance"] = arrays["instance_segmentation"][chosen]
    return rows


def object_labels(
    frame: FrameScene, camera: CameraView, trace: ViewTrace, arrays: dict[str, Array]
) -> tuple[ObjectLabel, ...]:
    """Labels of every labelled group, by instance id."""
    areas = id_areas(arrays["instance_segmentation"])
    boxes = id_boxes(arrays["instance_segmentation"])
    labels = []
    for group, silhouette in zip(frame.groups, trace.silhouettes, strict=True):
        if group.instance_id < FIRST_INSTANCE_ID:
            continue
        visible = areas.get(group.instance_id, 0)
        labels.append(
            ObjectLabel(
                instance_id=group.instance_id,
                name=group.name,
                prim=group.prim,
                asset=group.asset,
                label=group.label,
                semantic_id=group.semantic_id,
                box2d_tight=boxes.get(group.instance_id),
                box2d_loose=silhouette.box,
                box3d_min=group.box3d[0],
                box3d_max=group.box3d[1],
                local2world=group.frame,
                visible_px=visible,
                amodal_px=silhouette.amodal_px,
                occlusion=occlusion(visible, silhouette.amodal_px),
                truncation=_truncation(silhouette, camera),
                distance_m=_distance(group, camera),
            )
        )
    return tuple(sorted(labels, key=lambda label: label.instance_id))


def _truncation(silhouette: Silhouette, camera: CameraView) -> float:
    return truncation(silhouette.extent, camera.width, camera.height)


def _distance(group: Group, camera: CameraView) -> float:
    centre = (np.asarray(group.box3d[0]) + np.asarray(group.box3d[1])) / 2
    world = transform_points(matrix4(group.frame), centre[None])
    local = transform_points(affine_inverse(matrix4(camera.cam2world)), world)
    return float32(float(np.sqrt((local**2).sum())))
