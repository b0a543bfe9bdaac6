"""Replicator's rows and camera as ours: 2D and 3D boxes, matrices, occlusion. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from simcloud.geometry import Float64
from simcloud.labels.objects import Box2D
from simcloud_generator.backends.base import Array
from simcloud_generator.backends.isaac.convert import BadData, flat, id_table, label_of

BOX2D_DTYPE = np.dtype(
    [
        ("semanticId", "<u4"),
        ("x_min", "<i4"),
        ("y_min", "<i4"),
        ("x_max", "<i4"),
        ("y_max", "<i4"),
        ("occlusionRatio", "<f4"),
    ]
)
BOX3D_DTYPE = np.dtype(
    [
        ("semanticId", "<u4"),
        *((name, "<f4") for name in ("x_min", "y_min", "z_min", "x_max", "y_max", "z_max")),
        ("transform", "<f4", (4, 4)),
        ("occlusionRatio", "<f4"),
    ]
)


@dataclass(frozen=True, slots=True)
class RawCamera:
    """What ``camera_params`` says, in the stage's own frame and units."""

    world2cam: Float64
    """(4, 4), column vectors; the camera looks along -Z, +Y up."""
    projection: Float64
    """(4, 4), column vectors."""
    focus_distance: float
    """Stage units."""
    metres_per_unit: float
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class RawBox2D:
    """One row of ``bounding_box_2d_*``."""

    prim: str
    label: str
    box: Box2D
    """Pixel edges, maxima exclusive. Replicator's are read as the last pixel of the box; that is
    not written anywhere, so boxes are always taken from masks and the smoke check compares."""
    occlusion: float | None


@dataclass(frozen=True, slots=True)
class RawBox3D:
    """One row of ``bounding_box_3d``."""

    prim: str
    label: str
    minimum: tuple[float, float, float]
    """In the prim's own frame, stage units, before the transform's scale."""
    maximum: tuple[float, float, float]
    local2world: Float64
    """(4, 4), column vectors, stage frame."""
    occlusion: float | None


def boxes_2d(raw: object, annotator: str) -> list[RawBox2D]:
    """Rows of ``bounding_box_2d_tight`` or ``bounding_box_2d_loose``, ordered by prim path."""
    content = flat(raw, annotator)
    data, prims, labels = _rows(content, annotator, BOX2D_DTYPE)
    result = [
        RawBox2D(
            prim=prim,
            label=labels.get(int(row["semanticId"]), ""),
            box=(
                int(row["x_min"]),
                int(row["y_min"]),
                int(row["x_max"]) + 1,
                int(row["y_max"]) + 1,
            ),
            occlusion=occlusion_of(float(row["occlusionRatio"])),
        )
        for prim, row in zip(prims, data, strict=True)
    ]
    return sorted(result, key=lambda box: box.prim)


def boxes_3d(raw: object) -> list[RawBox3D]:
    """Rows of ``bounding_box_3d``, ordered by prim path.

    ``transform`` takes row vectors from the prim's frame to the world, whatever the documentation
    says: in its own example the fourth row is the object's place.
    """
    content = flat(raw, "bounding_box_3d")
    data, prims, labels = _rows(content, "bounding_box_3d", BOX3D_DTYPE)
    result = [
        RawBox3D(
            prim=prim,
            label=labels.get(int(row["semanticId"]), ""),
            minimum=(float(row["x_min"]), float(row["y_min"]), float(row["z_min"])),
            maximum=(float(row["x_max"]), float(row["y_max"]), float(row["z_max"])),
            local2world=np.asarray(row["transform"], dtype=np.float64).reshape(4, 4).T,
            occlusion=occlusion_of(float(row["occlusionRatio"])),
        )
        for prim, row in zip(prims, data, strict=True)
    ]
    return sorted(result, key=lambda box: box.prim)


def occlusion_of(ratio: float) -> float | None:
    """An ``occlusionRatio`` of 0 to 1; None for -1 (several meshes) and NaN (out of view)."""
    return ratio if math.isfinite(ratio) and ratio >= 0 else None


def camera(raw: object) -> RawCamera:
    """``camera_params``.

    ``cameraViewTransform`` takes row vectors from the world to the camera: in the documentation's
    own example a camera at x = 100 has -100 in its fourth row.
    """
    content = flat(raw, "camera_params")
    try:
        resolution = _array(content["renderProductResolution"])
        return RawCamera(
            world2cam=_array(content["cameraViewTransform"]).reshape(4, 4).T,
            projection=_array(content["cameraProjection"]).reshape(4, 4).T,
            focus_distance=float(_array(content["cameraFocusDistance"])),
            metres_per_unit=float(_array(content["metersPerSceneUnit"])),
            width=int(resolution[0]),
            height=int(resolution[1]),
        )
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise BadData(f"camera_params: {error!r}") from error


def _array(value: object) -> Float64:
    return np.asarray(value, dtype=np.float64)


def _rows(
    content: dict[str, object], annotator: str, dtype: np.dtype[np.void]
) -> tuple[Array, list[str], dict[int, str]]:
    data, prims = content.get("data"), content.get("primPaths")
    if not isinstance(data, np.ndarray) or not isinstance(prims, list | tuple | np.ndarray):
        raise BadData(f"{annotator}: no rows or no primPaths")
    if len(data) != len(prims):
        raise BadData(f"{annotator}: {len(data)} rows for {len(prims)} prims")
    if len(data) and data.dtype.names != dtype.names:
        raise BadData(f"{annotator}: fields {data.dtype.names} in place of {dtype.names}")
    labels = {key: label_of(value) for key, value in id_table(content, "idToLabels").items()}
    return data, [str(prim) for prim in prims], labels
