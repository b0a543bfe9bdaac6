"""The files of a BasicWriter, one by one, as ours. Pure; conventions: ``docs/guides/import.md``."""

from __future__ import annotations

import io
import math
from ast import literal_eval
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from simcloud.annotators import BACKGROUND_ID, FIRST_CLASS_ID, UNLABELLED_ID
from simcloud.dataset.encode import Array
from simcloud.dataset.record import CameraRecord
from simcloud.importing.types import BoxF, Solid, SourceObject

NOT_CLASSES = frozenset({"BACKGROUND", "UNLABELLED"})
Colour = tuple[int, ...]
"""One number, or a colour of four: BasicWriter paints ids unless it is told not to."""


def array_of(data: bytes) -> Array:
    """An ``.npy`` file; never one of objects.

    Raises:
        ValueError: it is none.
    """
    array: Array = np.load(io.BytesIO(data), allow_pickle=False)
    return array


def labels_of(document: object) -> dict[str, str]:
    """``idToLabels`` as BasicWriter writes it: class by id or colour.

    Raises:
        ValueError: no such table.
    """
    if not isinstance(document, dict):
        raise ValueError("labels are no JSON object")
    result = {}
    for key, value in document.items():
        label = value.get("class") if isinstance(value, dict) else value
        if not isinstance(label, str) or not label:
            raise ValueError(f"label {key!r} has no class")
        result[key] = label
    return result


def boxes(
    data: bytes, labels: Mapping[str, str], prims: Sequence[str], where: str
) -> tuple[SourceObject, ...]:
    """Rows of ``bounding_box_2d_tight``: maxima are the last pixel inside, so one is added.

    Raises:
        ValueError: not such an array, or a class without a label.
    """
    rows = array_of(data)
    wanted = {"semanticId", "x_min", "y_min", "x_max", "y_max"}
    if not wanted <= set(rows.dtype.names or ()):
        raise ValueError(f"its fields are {rows.dtype.names}, not {sorted(wanted)}")
    if prims and len(prims) != len(rows):
        raise ValueError(f"has {len(rows)} rows and {len(prims)} prim paths")
    result = []
    for index, row in enumerate(rows):
        label = labels.get(str(int(row["semanticId"])))
        if label is None:
            raise ValueError(f"row {index}: semanticId {int(row['semanticId'])} has no label")
        x_min, y_min, x_max, y_max = (
            int(row[name]) for name in ("x_min", "y_min", "x_max", "y_max")
        )
        ratio = float(row["occlusionRatio"]) if "occlusionRatio" in (rows.dtype.names or ()) else -1
        prim = prims[index] if prims else ""
        result.append(
            SourceObject(
                label=label,
                box=(x_min, y_min, x_max + 1, y_max + 1),
                # -1 is a prim of several meshes, NaN one outside of the view: not known.
                occlusion=ratio if math.isfinite(ratio) and 0 <= ratio <= 1 else None,
                instance_id=FIRST_CLASS_ID + index,
                prim=prim,
                where=f"{where}#{index}",
            )
        )
    return tuple(result)


def loose_boxes(data: bytes, prims: Sequence[str], size: tuple[int, int]) -> dict[str, BoxF]:
    """Boxes of ``bounding_box_2d_loose`` by prim path, clipped to the picture.

    Raises:
        ValueError: not such an array.
    """
    names = ("x_min", "y_min", "x_max", "y_max")
    result: dict[str, BoxF] = {}
    for prim, row in _rows_of_prims(data, prims, names):
        x_min, y_min, x_max, y_max = (int(row[name]) for name in names)
        left, right = max(x_min, 0), min(x_max + 1, size[0])
        top, bottom = max(y_min, 0), min(y_max + 1, size[1])
        if left < right and top < bottom:
            result[prim] = (left, top, right, bottom)
    return result


def solids(data: bytes, prims: Sequence[str], metres: float) -> dict[str, Solid]:
    """Boxes of ``bounding_box_3d`` by prim path: local extents before scale, in metres.

    Its ``transform`` multiplies row vectors of stage units; ours columns of metres.

    Raises:
        ValueError: not such an array, or one with values that are not finite.
    """
    low, high = ("x_min", "y_min", "z_min"), ("x_max", "y_max", "z_max")
    result = {}
    for prim, row in _rows_of_prims(data, prims, (*low, *high, "transform")):
        matrix = np.array(row["transform"], dtype=np.float64).reshape(4, 4).T
        matrix[:3, 3] *= metres
        corners = [float(row[name]) * metres for name in (*low, *high)]
        if not np.isfinite([*matrix.ravel(), *corners]).all():
            raise ValueError(f"the box of {prim} is not finite")
        result[prim] = Solid(
            minimum=(corners[0], corners[1], corners[2]),
            maximum=(corners[3], corners[4], corners[5]),
            local2world=tuple(float(value) for value in matrix.ravel()),
        )
    return result


def _rows_of_prims(
    data: bytes, prims: Sequence[str], fields: Sequence[str]
) -> Iterator[tuple[str, Any]]:
    rows = array_of(data)
    if not set(fields) <= set(rows.dtype.names or ()):
        raise ValueError(f"its fields are {rows.dtype.names}, not {list(fields)}")
    if len(prims) != len(rows):
        raise ValueError(f"has {len(rows)} rows and {len(prims)} prim paths")
    yield from zip(prims, rows, strict=True)


def semantic_ids(labels: Mapping[str, str], classes: Sequence[str]) -> dict[Colour, int]:
    """Our id of each colour or number of a semantic segmentation."""
    ids = {label: FIRST_CLASS_ID + index for index, label in enumerate(classes)}
    ids |= {"BACKGROUND": BACKGROUND_ID, "UNLABELLED": UNLABELLED_ID}
    return {_colour(key): ids[label] for key, label in labels.items()}


def instance_ids(mapping: object, objects: Sequence[SourceObject]) -> dict[Colour, int]:
    """Our id of each colour or number of an instance segmentation, by prim path.

    Raises:
        ValueError: no table.
    """
    if not isinstance(mapping, dict):
        raise ValueError("mapping is no JSON object")
    ids = {item.prim: item.instance_id for item in objects}
    ids["BACKGROUND"] = BACKGROUND_ID
    return {_colour(key): _id_of(str(prim), ids) for key, prim in mapping.items()}


def _id_of(prim: str, ids: Mapping[str, int]) -> int:
    """Of a prim or the nearest labelled one above it: `instance_id_segmentation` names meshes."""
    while prim and prim not in ids:
        prim = prim.rpartition("/")[0]
    return ids.get(prim, UNLABELLED_ID)


def mapped(picture: Array, ids: Mapping[Colour, int], size: tuple[int, int]) -> Array:
    """A segmentation picture as ids, (H, W) uint16.

    Raises:
        ValueError: of another size than its picture, or of a colour that has no label.
    """
    if picture.shape[:2] != (size[1], size[0]):
        found = f"{picture.shape[1]}x{picture.shape[0]}"
        raise ValueError(f"is {found}, its picture is {size[0]}x{size[1]}")
    channels = 1 if picture.ndim == 2 else picture.shape[2]
    packed = np.zeros(picture.shape[:2], dtype=np.uint64)
    for plane in picture.reshape(*picture.shape[:2], channels).transpose(2, 0, 1):
        packed = packed * np.uint64(1 << 16) + plane
    values, where = np.unique(packed, return_inverse=True)
    known = {_packed(colour, channels): number for colour, number in ids.items()}
    known.setdefault(0, BACKGROUND_ID)
    lacking = [int(value) for value in values if int(value) not in known]
    if lacking:
        raise ValueError(f"has {len(lacking)} colours or ids without a label")
    table = np.array([known[int(value)] for value in values], dtype=np.uint16)
    return table[where].reshape(packed.shape)


def counted(objects: Sequence[SourceObject], instances: Array) -> tuple[SourceObject, ...]:
    """The objects with their visible pixels."""
    pixels = np.bincount(instances.ravel(), minlength=1)
    return tuple(
        replace(
            item,
            visible_px=int(pixels[item.instance_id]) if item.instance_id < len(pixels) else 0,
        )
        for item in objects
    )


def depth(data: bytes, size: tuple[int, int]) -> Array:
    """A distance in the stage's units, (H, W) float32; inf where nothing was hit.

    Raises:
        ValueError: another shape, or no floats.
    """
    array = array_of(data)
    if array.shape != (size[1], size[0]) or array.dtype.kind != "f":
        raise ValueError(f"is {array.dtype} {array.shape}, its picture is {size[0]}x{size[1]}")
    if np.isnan(array).any():
        raise ValueError("has pixels that are not a number")
    return array.astype(np.float32)


def camera(document: object, size: tuple[int, int]) -> tuple[CameraRecord, float]:
    """The camera of ``camera_params``, and metres of a stage unit.

    Row vectors to column vectors, world to camera to camera to world; square pixels.

    Raises:
        ValueError: not a camera that can be read.
        KeyError: a field is not there.
    """
    if not isinstance(document, dict):
        raise ValueError("is no JSON object")
    metres = float(document.get("metersPerSceneUnit", 1.0))
    world2camera = np.array(document["cameraViewTransform"], dtype=np.float64).reshape(4, 4).T
    try:
        cam2world = np.linalg.inv(world2camera)
    except np.linalg.LinAlgError as error:
        raise ValueError("cameraViewTransform has no inverse") from error
    cam2world[:3, 3] *= metres
    width, height = size
    aperture = float(document["cameraAperture"][0])
    focal = float(document["cameraFocalLength"])
    offset = document.get("cameraApertureOffset", [0.0, 0.0])
    near, far = (float(value) * metres for value in document["cameraNearFar"])
    pixels = width / aperture if aperture else math.nan
    numbers = [metres, aperture, focal, pixels, near, far, *cam2world.ravel()]
    if not all(math.isfinite(value) for value in numbers):
        raise ValueError("has values that are not finite")
    view = CameraRecord(
        width=width,
        height=height,
        fx_px=focal * pixels,
        fy_px=focal * pixels,
        cx_px=width / 2 - float(offset[0]) * pixels,
        cy_px=height / 2 + float(offset[1]) * pixels,
        cam2world=tuple(float(value) for value in cam2world.ravel()),
        focal_length_mm=focal,
        horizontal_aperture_mm=aperture,
        near_m=near,
        far_m=far,
    )
    return view, metres


def _colour(key: str) -> Colour:
    value = literal_eval(key)
    colour = value if isinstance(value, tuple) else (value,)
    if not all(type(part) is int and part >= 0 for part in colour):
        raise ValueError(f"{key!r} is neither an id nor a colour")
    return colour


def _packed(colour: Colour, channels: int) -> int:
    """As :func:`mapped` packs a pixel; a colour without alpha drops the table's."""
    result = 0
    for part in colour[:channels]:
        result = result * (1 << 16) + part
    return result
