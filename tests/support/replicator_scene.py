"""What an ideal Replicator would see on a live stage, in its own shapes, ids and frames.

The composed stage is read, whatever wrote it, and traced with the rays that make the CPU's labels;
then everything is turned into Replicator's conventions: stage units and axes, row vectors, ids
that mean nothing, rows in no order, inclusive box edges, joined labels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pxr import Gf, Usd, UsdGeom

from simcloud.geometry import affine_inverse, transform_directions
from simcloud.scene.semantics import own_label
from simcloud.scene.stage import normalization
from simcloud.scene.translate.usd import read_scene
from simcloud.spec.parameters import CameraView, FrameParameters
from simcloud_generator.backends.frame_scene import FrameResolver, FrameScene
from simcloud_generator.backends.images import ImageStore
from simcloud_generator.backends.isaac.rows import BOX2D_DTYPE, BOX3D_DTYPE
from simcloud_generator.backends.labelling import label_arrays, object_labels
from simcloud_generator.backends.tracing import Tracer

FRAME_OBJECTS, SHOWN_OBJECTS = "/World/Objects", "/World/Shown"
"""The reader of scenes leaves a frame's own objects out; here they are part of what is seen."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One camera's view of a stage."""

    stage: Any
    camera: CameraView
    camera_prim: Any
    scene: FrameScene
    arrays: dict[str, Any]
    objects: tuple[Any, ...]
    labels: dict[int, str]
    """Joined label by instance id."""
    paths: dict[int, str]
    """Prim path by instance id."""
    scramble: dict[int, int]
    """Replicator's id by ours, another one in every capture."""


def see(stage: Any, camera_path: str, size: tuple[int, int], capture: int) -> Seen:
    """Looks at a stage through one of its cameras."""
    with tempfile.TemporaryDirectory() as folder:
        flat = Path(folder) / "flat.usda"
        text = stage.Flatten().ExportToString()
        text = text.replace('"Objects"', '"Shown"').replace(FRAME_OBJECTS, SHOWN_OBJECTS)
        flat.write_text(text)
        scene = read_scene(flat)
    found = next(item for item in scene.cameras if item.path == camera_path)
    camera = CameraView(
        name=camera_path,
        width=size[0],
        height=size[1],
        cam2world=found.cam2world,
        focal_length_mm=found.focal_length_mm,
        horizontal_aperture_mm=found.horizontal_aperture_mm,
        horizontal_aperture_offset_mm=found.horizontal_aperture_offset_mm,
        vertical_aperture_offset_mm=found.vertical_aperture_offset_mm,
        near_m=found.near_m,
        far_m=found.far_m,
    )
    frame = FrameResolver(scene).resolve(FrameParameters(frame=0, render_seed=0, cameras=(camera,)))
    images = ImageStore(limit_bytes=1 << 24, max_side_px=512, environment_size=(2, 1))
    trace = Tracer(images, limit_faces=10**7).trace(frame, camera)
    arrays = label_arrays(frame, camera, trace, normals=True)
    objects = object_labels(frame, camera, trace, arrays)
    paths = {item.instance_id: item.prim.replace(SHOWN_OBJECTS, FRAME_OBJECTS) for item in objects}
    labels = {key: _joined(stage.GetPrimAtPath(path)) for key, path in paths.items()}
    order = np.random.default_rng(capture).permutation(len(paths))
    scramble = {key: 2 + 3 * int(order[i]) + capture % 5 for i, key in enumerate(paths)}
    return Seen(
        stage=stage,
        camera=camera,
        camera_prim=stage.GetPrimAtPath(camera_path),
        scene=frame,
        arrays=arrays,
        objects=objects,
        labels=labels,
        paths=paths,
        scramble=scramble | {0: 0, 1: 1},
    )


def _joined(prim: Any) -> str:
    """Labels from the outermost prim to this one, as they are inherited."""
    found: list[str] = []
    while prim and not prim.IsPseudoRoot():
        label = own_label(prim)
        if label is not None and label not in found:
            found.insert(0, label)
        prim = prim.GetParent()
    return ", ".join(found)


def raw_data(seen: Seen, name: str) -> Any:
    """What an annotator of this name holds: an array, or a dictionary with ``data``."""
    match name:
        case "rgb":
            return _rgb(seen)
        case "distance_to_camera" | "distance_to_image_plane":
            return (seen.arrays[name] / _unit(seen)).astype(np.float32)
        case "normals":
            return _normals(seen)
        case "instance_segmentation" | "instance_segmentation_fast":
            return _instances(seen, key=int if name.endswith("_fast") else str)
        case "semantic_segmentation":
            return _semantics(seen)
        case "bounding_box_2d_tight_fast" | "bounding_box_2d_loose_fast":
            return _boxes_2d(seen, tight="tight" in name)
        case "bounding_box_3d_fast":
            return _boxes_3d(seen)
        case "camera_params":
            return _camera_params(seen)
        case _:
            raise NotImplementedError(f"the stand-in has no {name}")


def _unit(seen: Seen) -> float:
    return float(UsdGeom.GetStageMetersPerUnit(seen.stage))


def _rgb(seen: Seen) -> Any:
    normals = seen.arrays["normals"]
    light = np.clip(normals @ np.array([0.3, -0.4, 0.86]), 0.1, 1.0)
    ids = seen.arrays["instance_segmentation"].astype(np.int64)
    color = np.stack([60 + (ids * factor) % 190 for factor in (37, 91, 53)], axis=-1)
    picture = np.where((ids > 0)[..., None], color * light[..., None], 20)
    alpha = np.full((*ids.shape, 1), 255.0)
    return np.concatenate([picture, alpha], axis=-1).astype(np.uint8)


def _normals(seen: Seen) -> Any:
    turn = affine_inverse(normalization(seen.stage))
    normals = transform_directions(turn, seen.arrays["normals"]) * _unit(seen)
    padding = np.ones((*normals.shape[:2], 1))
    return np.concatenate([normals, padding], axis=-1).astype(np.float32)


def _scrambled(seen: Seen, ids: Any, table: Mapping[int, int]) -> Any:
    return np.vectorize(table.__getitem__, otypes=[np.uint32])(ids)


def _instances(seen: Seen, key: type) -> Any:
    present = set(np.unique(seen.arrays["instance_segmentation"]).tolist())
    labels = {key(0): "BACKGROUND", key(1): "UNLABELLED"}
    semantics = {key(0): {"class": "BACKGROUND"}, key(1): {"class": "UNLABELLED"}}
    for ours in present - {0, 1}:
        labels[key(seen.scramble[ours])] = seen.paths[ours]
        semantics[key(seen.scramble[ours])] = {"class": seen.labels[ours]}
    data = _scrambled(seen, seen.arrays["instance_segmentation"], seen.scramble)
    return {"data": data, "idToLabels": labels, "idToSemantics": semantics}


def _semantic_table(seen: Seen) -> dict[str, int]:
    names = sorted(set(seen.labels.values()))
    first = 2 + seen.scramble.get(2, 0) % 3
    return {name: first + 2 * index for index, name in enumerate(reversed(names))}


def _semantics(seen: Seen) -> Any:
    table = _semantic_table(seen)
    by_instance = {key: table[label] for key, label in seen.labels.items()} | {0: 0, 1: 1}
    data = _scrambled(seen, seen.arrays["instance_segmentation"], by_instance)
    labels = {"0": {"class": "BACKGROUND"}, "1": {"class": "UNLABELLED"}}
    labels |= {str(number): {"class": label} for label, number in table.items()}
    return {"data": data, "idToLabels": labels}


def _rows(seen: Seen, rows: list[tuple[Any, ...]], ids: list[int], dtype: Any) -> Any:
    table = _semantic_table(seen)
    order = sorted(range(len(rows)), key=lambda index: seen.scramble[ids[index]])
    return {
        "data": np.array([rows[index] for index in order], dtype=dtype),
        "idToLabels": {number: {"class": label} for label, number in table.items()},
        "bboxIds": np.array([seen.scramble[ids[index]] for index in order], dtype=np.uint32),
        "primPaths": [seen.paths[ids[index]] for index in order],
    }


def _ratio(seen: Seen, item: Any) -> float:
    """-1 for what has several meshes, NaN for what is out of view."""
    if item.amodal_px == 0:
        return float("nan")
    prim = seen.stage.GetPrimAtPath(seen.paths[item.instance_id])
    meshes = [child for child in Usd.PrimRange(prim) if child.IsA(UsdGeom.Gprim)]
    return float(item.occlusion) if len(meshes) == 1 else -1.0


def _boxes_2d(seen: Seen, *, tight: bool) -> Any:
    table = _semantic_table(seen)
    rows, ids = [], []
    for item in seen.objects:
        box = item.box2d_tight if tight else item.box2d_loose
        if box is None:
            continue
        edges = (box[0], box[1], box[2] - 1, box[3] - 1)
        rows.append((table[seen.labels[item.instance_id]], *edges, _ratio(seen, item)))
        ids.append(item.instance_id)
    return _rows(seen, rows, ids, BOX2D_DTYPE)


def _boxes_3d(seen: Seen) -> Any:
    table = _semantic_table(seen)
    rows, ids = [], []
    for item in seen.objects:
        if item.amodal_px == 0:
            continue
        prim = seen.stage.GetPrimAtPath(seen.paths[item.instance_id])
        low, high = _local_bounds(prim)
        matrix = UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(Usd.TimeCode.Default())
        rows.append(
            (
                table[seen.labels[item.instance_id]],
                *low,
                *high,
                np.array(matrix),
                _ratio(seen, item),
            )
        )
        ids.append(item.instance_id)
    return _rows(seen, rows, ids, BOX3D_DTYPE)


def _local_bounds(prim: Any) -> tuple[Any, Any]:
    """Bounds of everything below a prim in the prim's own frame, stage units, unscaled."""
    time = Usd.TimeCode.Default()
    world2local = UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(time).GetInverse()
    corners = []
    for child in Usd.PrimRange(prim):
        if not child.IsA(UsdGeom.Gprim):
            continue
        low, high = UsdGeom.Boundable.ComputeExtentFromPlugins(UsdGeom.Boundable(child), time)
        matrix = UsdGeom.Xformable(child).ComputeLocalToWorldTransform(time) * world2local
        for bits in range(8):
            corner = [high[axis] if bits >> axis & 1 else low[axis] for axis in range(3)]
            corners.append(matrix.Transform(Gf.Vec3d(*corner)))
    points = np.array(corners)
    return points.min(axis=0), points.max(axis=0)


def _camera_params(seen: Seen) -> Any:
    camera = UsdGeom.Camera(seen.camera_prim)
    pose = camera.ComputeLocalToWorldTransform(Usd.TimeCode.Default())
    aperture = camera.GetHorizontalApertureAttr().Get()
    width, height = seen.camera.width, seen.camera.height
    focal = camera.GetFocalLengthAttr().Get()
    offsets = [
        camera.GetHorizontalApertureOffsetAttr().Get(),
        camera.GetVerticalApertureOffsetAttr().Get(),
    ]
    projection = np.zeros((4, 4))
    projection[0, 0] = 2 * focal / aperture
    projection[1, 1] = 2 * focal / aperture * width / height
    projection[2, 3] = -1.0
    projection[3, 2] = camera.GetClippingRangeAttr().Get()[0]  # infinite, reversed
    return {
        "cameraAperture": np.array([aperture, aperture * height / width], np.float32),
        "cameraApertureOffset": np.array(offsets, np.float32),
        "cameraFocalLength": float(focal),
        "cameraFocusDistance": float(camera.GetFocusDistanceAttr().Get()),
        "cameraFStop": float(camera.GetFStopAttr().Get()),
        "cameraModel": "pinhole",
        "cameraNearFar": np.array(camera.GetClippingRangeAttr().Get(), np.float32),
        "cameraProjection": projection.ravel(),
        "cameraViewTransform": np.array(Gf.Matrix4d(pose).GetInverse()).ravel(),
        "metersPerSceneUnit": _unit(seen),
        "renderProductResolution": np.array([width, height], np.int32),
    }
