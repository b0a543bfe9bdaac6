"""Pictures with boxes: what is there in green, what the model saw in red."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from simcloud.errors import Corruption
from simcloud.scoring.matching import FrameMatch
from simcloud.scoring.types import Box, Detection, Truth

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) uint8, BGR, row 0 at the top."""

# BGR, as OpenCV draws
_GREEN = (80, 190, 60)
_RED = (60, 60, 230)
_GREY = (150, 150, 150)
_JPEG_QUALITY = 82


def decode(data: bytes) -> Picture:
    """A PNG or JPEG as (H, W, 3) uint8 BGR.

    Raises:
        Corruption: neither.
    """
    picture = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise Corruption(f"a picture of {len(data)} bytes can't be decoded as PNG or JPEG")
    return np.asarray(picture, dtype=np.uint8)


def draw_detections(picture: Picture, detections: Sequence[Detection]) -> Picture:
    """A copy with the detections in red."""
    result = picture.copy()
    for item in detections:
        _box(result, item.box, _RED, f"{item.label} {item.score:.2f}")
    return result


def draw_match(picture: Picture, truths: Sequence[Truth], match: FrameMatch) -> Picture:
    """A copy with counted objects in green, ignored ones in grey, detections in red."""
    result = picture.copy()
    for truth in truths:
        _box(result, truth.box, _GREEN if truth.counted else _GREY, truth.label, below=True)
    for item in match.matches:
        _box(result, item.detection.box, _RED, f"{item.detection.label} {item.detection.score:.2f}")
    return result


def draw_labels(picture: Picture, boxes: Sequence[tuple[str, Box]]) -> Picture:
    """A copy with named boxes in green."""
    result = picture.copy()
    for name, box in boxes:
        _box(result, box, _GREEN, name, below=True)
    return result


def jpeg(picture: Picture, *, max_width_px: int | None = None) -> bytes:
    """JPEG, scaled down to a width if that is less."""
    height, width = picture.shape[:2]
    if max_width_px is not None and width > max_width_px:
        size = (max_width_px, max(1, round(height * max_width_px / width)))
        picture = np.asarray(
            cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.uint8
        )
    done, data = cv2.imencode(".jpg", picture, [int(cv2.IMWRITE_JPEG_QUALITY), _JPEG_QUALITY])
    if not done:
        raise Corruption(f"a picture of shape {picture.shape} can't be encoded as JPEG")
    return bytes(data)


def data_uri(encoded: bytes) -> str:
    """A JPEG as a data URI, so that a report is one file."""
    return "data:image/jpeg;base64," + base64.b64encode(encoded).decode()


def _box(
    picture: Picture, box: Box, colour: tuple[int, int, int], text: str, *, below: bool = False
) -> None:
    height, width = picture.shape[:2]
    # The maximum is exclusive: the last pixel inside is one less.
    left, top = max(0, round(box[0])), max(0, round(box[1]))
    right, bottom = min(width, round(box[2])) - 1, min(height, round(box[3])) - 1
    cv2.rectangle(picture, (left, top), (right, bottom), colour, 2)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, 0.45
    (text_width, text_height), _ = cv2.getTextSize(text, font, scale, 1)
    y = min(height - 3, bottom - 4) if below else max(text_height + 3, top + text_height + 4)
    x = min(left + 2, max(0, width - text_width - 4))
    cv2.rectangle(picture, (x, y - text_height - 3), (x + text_width + 3, y + 3), colour, -1)
    cv2.putText(picture, text, (x + 2, y), font, scale, (255, 255, 255), 1, cv2.LINE_AA)
