"""Replicator's raw data as ours. Pure: arrays and dictionaries in, arrays and values out.

Shapes, dtypes and the keys of ``info`` are those of Replicator's annotator registry. Three things
differ between annotators and builds and are evened out here: whether extras lie under ``info`` or
beside the data, whether ids are integers or strings, and in which order rows come.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from simcloud.annotators import BACKGROUND_ID, UNLABELLED_ID
from simcloud.geometry import Float64, transform_directions
from simcloud_generator.backends.base import Array

BACKGROUND_NAME = "BACKGROUND"
UNLABELLED_NAME = "UNLABELLED"
LABEL_SEPARATOR = ", "
"""Between the labels of nested prims, the outermost first."""


class BadData(Exception):
    """Replicator gave something else than what is recorded; the message says what."""


def flat(raw: object, annotator: str) -> dict[str, object]:
    """What ``get_data`` returned as one dictionary; the array is under ``data``.

    Raises:
        BadData: nothing came, which is how Replicator reports an error of its own.
    """
    if raw is None:
        raise BadData(f"{annotator}: no data; Replicator's log says why")
    if isinstance(raw, np.ndarray):
        return {"data": raw}
    if not isinstance(raw, Mapping):
        raise BadData(f"{annotator}: {type(raw).__name__} in place of an array or a dictionary")
    result = {str(key): value for key, value in raw.items()}
    info = result.pop("info", None)
    if isinstance(info, Mapping):
        result |= {str(key): value for key, value in info.items()}
    return result


def check_there(raws: Mapping[str, object]) -> None:
    """Looks whether every annotator has given something: the first captures may leave them empty.

    Raises:
        BadData: naming the first that has not. Boxes may have no rows, if nothing is in view.
    """
    for annotator, raw in raws.items():
        content = flat(raw, annotator)
        data = content.get("data", content)
        empty = isinstance(data, np.ndarray) and data.size == 0 and data.dtype.names is None
        if empty or not content:
            raise BadData(f"{annotator}: an empty array")


def picture(raw: object, width: int, height: int) -> npt.NDArray[np.uint8]:
    """``rgb``: uint8 (H, W, 4), sRGB, as (H, W, 3); the fourth channel is constant."""
    data = _image(raw, "rgb", width, height, np.dtype(np.uint8), channels=4)
    return np.ascontiguousarray(data[:, :, :3]).view(np.uint8)


def distance_m(
    raw: object, width: int, height: int, *, metres_per_unit: float, annotator: str
) -> npt.NDArray[np.float32]:
    """A distance in metres, float32 (H, W); inf where nothing was hit.

    Zero, negative and NaN count as no hit: a depth buffer that nothing was drawn to holds them.
    """
    data = _image(raw, annotator, width, height, np.dtype(np.float32), channels=1)
    metres = data.reshape(height, width).astype(np.float64) * metres_per_unit
    with np.errstate(invalid="ignore"):
        hit = np.isfinite(metres) & (metres > 0)
    return np.where(hit, metres, np.inf).astype(np.float32)


def normals(
    raw: object, directions: Float64, hit: npt.NDArray[np.bool_], stage2world: Float64
) -> npt.NDArray[np.float32]:
    """``normals``: float32 (H, W, 4) in the stage's frame, as unit (H, W, 3) in ours.

    Turned to face the camera; 0 where nothing was hit. A normal without length becomes the
    direction to the camera.

    Args:
        raw: as it came; the fourth channel is padding.
        directions: unit rays (H, W, 3), world.
        hit: (H, W).
        stage2world: its rotation counts.
    """
    height, width = hit.shape
    data = _image(raw, "normals", width, height, np.dtype(np.float32), channels=4)
    turned = transform_directions(stage2world, np.nan_to_num(data[:, :, :3]))
    length = np.sqrt((turned**2).sum(axis=-1, keepdims=True))
    unit = np.where(length > 1e-6, turned / np.where(length > 1e-6, length, 1.0), -directions)
    away = (unit * directions).sum(axis=-1, keepdims=True) > 0
    facing = np.where(away, -unit, unit)
    return np.where(hit[:, :, None], facing + 0.0, 0.0).astype(np.float32)


def instance_ids(
    raw: object, width: int, height: int, owners: Mapping[str, int]
) -> npt.NDArray[np.uint16]:
    """``instance_segmentation``: Replicator's ids, which change from frame to frame, as ours.

    Args:
        raw: uint32 (H, W) with ``idToLabels`` {id: prim path}.
        width: pixels.
        height: pixels.
        owners: our instance id by prim path; a prim counts for the nearest of them above it.

    Returns:
        uint16 (H, W): 0 background, 1 what no prim of ``owners`` stands above.
    """
    content = flat(raw, "instance_segmentation")
    data = _ids(content, "instance_segmentation", width, height)
    return _remapped(
        data, {key: _owner(path, owners) for key, path in id_table(content, "idToLabels").items()}
    )


def semantic_ids(
    raw: object, width: int, height: int, classes: Mapping[str, int]
) -> npt.NDArray[np.uint16]:
    """``semantic_segmentation``: Replicator's ids as ours, which are the same for every frame.

    Args:
        raw: uint32 (H, W) with ``idToLabels`` {id: {"class": label}}; labels of nested prims are
            joined, and the innermost that we know counts.
        width: pixels.
        height: pixels.
        classes: our id by label.
    """
    content = flat(raw, "semantic_segmentation")
    data = _ids(content, "semantic_segmentation", width, height)
    table = {
        key: _class_id(label_of(value), classes)
        for key, value in id_table(content, "idToLabels").items()
    }
    return _remapped(data, table)


def _image(
    raw: object,
    annotator: str,
    width: int,
    height: int,
    dtype: np.dtype[np.generic],
    *,
    channels: int,
) -> Array:
    data = flat(raw, annotator).get("data")
    if not isinstance(data, np.ndarray) or data.size == 0:
        raise BadData(f"{annotator}: an empty array")
    shape = (height, width) if channels == 1 else (height, width, channels)
    if channels == 1 and data.shape == (height, width, 1):
        data = data[:, :, 0]
    if data.dtype != dtype or data.shape != shape:
        raise BadData(f"{annotator}: {data.dtype} {data.shape} in place of {dtype} {shape}")
    return data


def _ids(content: dict[str, object], annotator: str, width: int, height: int) -> Array:
    return _image(
        {"data": content.get("data")}, annotator, width, height, np.dtype(np.uint32), channels=1
    )


def id_table(content: dict[str, object], name: str) -> dict[int, object]:
    """An id table; the older annotators write ids as strings."""
    table = content.get(name)
    if not isinstance(table, Mapping):
        raise BadData(f"{name} is {type(table).__name__}, not a table of ids")
    try:
        return {int(key): value for key, value in table.items()}
    except (ValueError, TypeError) as error:
        raise BadData(
            f"{name} has the key {next(iter(table))!r}: was the annotator asked for colours?"
        ) from error


def _remapped(data: Array, table: Mapping[int, int]) -> npt.NDArray[np.uint16]:
    values, inverse = np.unique(data, return_inverse=True)
    fallback = {BACKGROUND_ID: BACKGROUND_ID}
    mapped = [table.get(int(v), fallback.get(int(v), UNLABELLED_ID)) for v in values]
    return np.asarray(mapped, dtype=np.uint16)[inverse.reshape(data.shape)]


def _owner(path: object, owners: Mapping[str, int]) -> int:
    where = str(path)
    if where in (BACKGROUND_NAME, UNLABELLED_NAME):
        return BACKGROUND_ID if where == BACKGROUND_NAME else UNLABELLED_ID
    while where:
        if where in owners:
            return owners[where]
        where = where.rpartition("/")[0]
    return UNLABELLED_ID


def label_of(value: object) -> str:
    """The class label of an entry, which is ``{"class": label}`` or the label itself."""
    if isinstance(value, Mapping):
        return str(value.get("class", UNLABELLED_NAME))
    return str(value)


def _class_id(label: str, classes: Mapping[str, int]) -> int:
    if label == BACKGROUND_NAME:
        return BACKGROUND_ID
    if label in classes:
        return classes[label]
    for part in reversed(label.split(LABEL_SEPARATOR)):
        if part in classes:
            return classes[part]
    return UNLABELLED_ID
