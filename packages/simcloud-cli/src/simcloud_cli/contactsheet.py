"""Contact sheets: frames with their labels drawn on them, side by side in one picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from simcloud.annotators import ANNOTATORS, FIRST_CLASS_ID, Encoding
from simcloud.dataset.encode import decode
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.record import FrameRecord, ObjectRecord, record_from_json
from simcloud.errors import InvalidRequest

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) uint8, BGR, row 0 at the top."""

DRAWN = (
    "rgb",
    "distance_to_camera",
    "distance_to_image_plane",
    "normals",
    "motion_vectors",
    "semantic_segmentation",
    "instance_segmentation",
)
"""Annotators that a sheet can show, each as a picture of its own."""

MASK_SHARE = 0.45
"""Of a mask's colour over what it covers."""

DEPTH_SHARES = (1.0, 99.0)
"""Percentiles of depth that the nearest and the farthest colour stand for."""

GAP_PX = 6
CAPTION_PX = 22
_PAPER = 245
_INK = (60, 60, 60)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlays:
    """What is drawn over ``rgb``."""

    boxes: bool = True
    classes: bool = True
    """The class and the visible share, in the box's corner."""
    masks: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """A picture of a sheet, and what stands below it."""

    picture: Picture
    caption: str


def check_drawn(annotators: Sequence[str]) -> None:
    """Returns when a sheet can show all of these.

    Raises:
        InvalidRequest: one is unknown, or has no picture.
    """
    for name in annotators:
        if name not in DRAWN:
            known = "is not a picture" if name in ANNOTATORS else "is not an annotator"
            raise InvalidRequest(
                "--annotators", f"{name!r} {known}; a sheet shows {', '.join(DRAWN)}"
            )


def cells(
    frame: EncodedFrame,
    annotators: Sequence[str],
    encodings: Mapping[str, Encoding],
    overlays: Overlays,
) -> list[Cell]:
    """The cells of one frame by one camera, one for each annotator.

    Args:
        frame: with the layers of the annotators, and ``instance_segmentation`` for masks.
        annotators: what is shown, from :data:`DRAWN`.
        encodings: of the frame's layers.
        overlays: what is drawn over ``rgb``.
    """
    record = record_from_json(frame.record)
    where = f"frame {frame.frame} {frame.camera}"
    if record.quarantine is not None:
        empty = _blank(record.view.width, record.view.height)
        _words(empty, f"quarantined: {record.quarantine.rule}", (8, 24), (40, 40, 200))
        return [Cell(empty, f"{where} {name}") for name in annotators]
    arrays = {
        layer.annotator: decode(layer.data, encodings[layer.annotator]) for layer in frame.layers
    }
    return [Cell(_drawn(name, arrays, record, overlays), f"{where} {name}") for name in annotators]


def sheet(rows: Sequence[Sequence[Cell]], *, cell_width: int) -> Picture:
    """All cells in one picture.

    Args:
        rows: of each frame and camera its cells. Rows of a single cell are laid out in a square.
        cell_width: that every cell is brought to, pixels.
    """
    if not rows:
        return _blank(cell_width, cell_width)
    if max(len(row) for row in rows) == 1:
        flat = [cell for row in rows for cell in row]
        columns = math.ceil(math.sqrt(len(flat)))
        rows = [flat[start : start + columns] for start in range(0, len(flat), columns)]
    columns = max(len(row) for row in rows)
    lines = [[_framed(cell, cell_width) for cell in row] for row in rows]
    heights = [max(item.shape[0] for item in line) for line in lines]
    size = (
        columns * (cell_width + GAP_PX) + GAP_PX,
        sum(height + GAP_PX for height in heights) + GAP_PX,
    )
    result = _blank(*size)
    top = GAP_PX
    for line, height in zip(lines, heights, strict=True):
        for column, item in enumerate(line):
            left = GAP_PX + column * (cell_width + GAP_PX)
            result[top : top + item.shape[0], left : left + cell_width] = item
        top += height + GAP_PX
    return result


def _drawn(
    name: str, arrays: Mapping[str, Any], record: FrameRecord, overlays: Overlays
) -> Picture:
    array = arrays[name]
    match name:
        case "rgb":
            return _overlaid(_picture(array[:, :, ::-1]), arrays, record, overlays)
        case "distance_to_camera" | "distance_to_image_plane":
            return _depth(array)
        case "normals":
            return _picture((array[:, :, ::-1] * 0.5 + 0.5) * 255 * (array != 0).any(-1)[..., None])
        case "motion_vectors":
            return _motion(array)
        case _:
            return _ids(array)


def _overlaid(
    picture: Picture, arrays: Mapping[str, Any], record: FrameRecord, overlays: Overlays
) -> Picture:
    ids = arrays.get("instance_segmentation")
    if overlays.masks and ids is not None:
        shown = ids >= FIRST_CLASS_ID
        mixed = picture[shown] * (1 - MASK_SHARE) + _ids(ids)[shown] * MASK_SHARE
        picture[shown] = mixed.astype(np.uint8)
    for item in sorted(record.objects, key=lambda one: -(one.distance_m or 0.0)):
        if item.box2d_tight is not None:
            _box(picture, item, overlays)
    return picture


def _box(picture: Picture, item: ObjectRecord, overlays: Overlays) -> None:
    assert item.box2d_tight is not None
    left, top, right, bottom = item.box2d_tight
    colour = _colour(item.instance_id)
    if overlays.boxes:
        # maxima are exclusive: the last pixel inside is one less
        cv2.rectangle(picture, (left, top), (right - 1, bottom - 1), colour, 1)
    if overlays.classes:
        seen = None if item.occlusion is None else f" {100 * (1 - item.occlusion):.0f}%"
        words = f"{item.label}{seen or ''}"
        _words(picture, words, (left + 2, top + 12), colour)


def _depth(array: npt.NDArray[np.float32]) -> Picture:
    hit = np.isfinite(array)
    if not hit.any():
        return np.zeros((*array.shape, 3), dtype=np.uint8)
    near, far = np.percentile(array[hit], DEPTH_SHARES)
    scaled = np.clip(
        (array - near) / max(far - near, 1e-6), 0, 1, where=hit, out=np.ones_like(array)
    )
    coloured = cv2.applyColorMap(((1 - scaled) * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    return _picture(coloured * hit[..., None])


def _motion(array: npt.NDArray[np.float32]) -> Picture:
    """Direction as hue, length as brightness; the longest is brightest."""
    length = np.hypot(array[..., 0], array[..., 1])
    angle = np.degrees(np.arctan2(array[..., 1], array[..., 0])) % 360
    scale = 255 / max(float(length.max()), 1e-6)
    full = np.full(length.shape, 255, np.uint8)
    hsv = np.stack([(angle / 2).astype(np.uint8), full, (length * scale).astype(np.uint8)], axis=-1)
    return _picture(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR))


def _ids(array: npt.NDArray[np.uint16]) -> Picture:
    table = np.array([_colour(number) for number in range(int(array.max()) + 1)], dtype=np.uint8)
    return table[array]


def _colour(number: int) -> tuple[int, int, int]:
    """A colour of its own for every id: hues by the golden ratio; black and grey below objects."""
    if number < FIRST_CLASS_ID:
        return (0, 0, 0) if number == 0 else (90, 90, 90)
    hue = int(number * 0.618034 * 180) % 180
    bright = np.array([[[hue, 190, 235 - 40 * (number % 3)]]], dtype=np.uint8)
    blue, green, red = cv2.cvtColor(bright, cv2.COLOR_HSV2BGR)[0, 0]
    return int(blue), int(green), int(red)


def _framed(cell: Cell, width: int) -> Picture:
    """A cell at its width, with its caption below."""
    height = max(1, round(cell.picture.shape[0] * width / cell.picture.shape[1]))
    shrinks = width < cell.picture.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
    result = _blank(width, height + CAPTION_PX)
    result[:height] = cv2.resize(cell.picture, (width, height), interpolation=method)
    place = (2, height + CAPTION_PX - 7)
    cv2.putText(result, cell.caption, place, _FONT, 0.42, _INK, 1, cv2.LINE_AA)
    return result


def _words(
    picture: Picture, words: str, place: tuple[int, int], colour: tuple[int, int, int]
) -> None:
    (width, height), _ = cv2.getTextSize(words, _FONT, 0.4, 1)
    x = min(place[0], max(0, picture.shape[1] - width - 3))
    y = max(height + 2, min(place[1], picture.shape[0] - 3))
    cv2.rectangle(picture, (x - 1, y - height - 2), (x + width + 1, y + 3), colour, -1)
    ink = (0, 0, 0) if sum(colour) > 380 else (255, 255, 255)
    cv2.putText(picture, words, (x, y), _FONT, 0.4, ink, 1, cv2.LINE_AA)


def _blank(width: int, height: int) -> Picture:
    return np.full((height, width, 3), _PAPER, dtype=np.uint8)


def _picture(array: npt.NDArray[Any]) -> Picture:
    return np.ascontiguousarray(np.clip(array, 0, 255), dtype=np.uint8)
