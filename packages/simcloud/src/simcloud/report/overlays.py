"""Pictures with boxes: what is there in green, what the model saw in red."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from simcloud.errors import Corruption
from simcloud.scoring.matching import FrameMatch
from simcloud.scoring.types import Box, Classification, Detection, Truth

Picture = npt.NDArray[np.uint8]
"""(H, W, 3) uint8, BGR, row 0 at the top."""

# BGR, as OpenCV draws
_GREEN = (80, 190, 60)
_RED = (60, 60, 230)
_GREY = (150, 150, 150)
_JPEG_QUALITY = 82
_READABLE_WIDTH_PX = 640
"""About the width that small pictures are enlarged to."""
_FULL_WIDTH_PX = 720
"""Width from which letters and lines grow with the picture."""


def decode(data: bytes) -> Picture:
    """A PNG or JPEG as (H, W, 3) uint8 BGR, its pixels as they are stored.

    An EXIF orientation is not applied, since models get the stored pixels and their boxes are in
    these.

    Raises:
        Corruption: neither.
    """
    picture = cv2.imdecode(
        np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    )
    if picture is None:
        raise Corruption(f"a picture of {len(data)} bytes can't be decoded as PNG or JPEG")
    return np.asarray(picture, dtype=np.uint8)


def draw_detections(picture: Picture, detections: Sequence[Detection]) -> Picture:
    """A copy with the detections in red; a small picture is enlarged."""
    canvas = _Canvas(picture)
    for item in detections:
        canvas.box(item.box, _RED, f"{item.label} {item.score:.2f}")
    return canvas.picture


def draw_classes(picture: Picture, classes: Sequence[Classification]) -> Picture:
    """A copy with the classes in red, one below the other; a small picture is enlarged."""
    canvas = _Canvas(picture)
    canvas.lines([f"{item.label} {item.score:.2f}" for item in classes], _RED)
    return canvas.picture


def draw_match(picture: Picture, truths: Sequence[Truth], match: FrameMatch) -> Picture:
    """A copy, enlarged if small: counted objects green, ignored ones grey, detections red."""
    canvas = _Canvas(picture)
    for truth in truths:
        canvas.box(truth.box, _GREEN if truth.counted else _GREY, truth.label, below=True)
    for item in match.matches:
        found = item.detection
        canvas.box(found.box, _RED, f"{found.label} {found.score:.2f}")
    return canvas.picture


def draw_labels(picture: Picture, boxes: Sequence[tuple[str, Box]]) -> Picture:
    """A copy with named boxes in green; a small picture is enlarged."""
    canvas = _Canvas(picture)
    for name, box in boxes:
        canvas.box(box, _GREEN, name, below=True)
    return canvas.picture


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


class _Canvas:
    """A copy of a picture, wide enough for words on it to be read beside what they name."""

    def __init__(self, picture: Picture) -> None:
        height, width = picture.shape[:2]
        self._factor = max(1, round(_READABLE_WIDTH_PX / width))
        size = (width * self._factor, height * self._factor)
        # Whole factors and no smoothing: pixels stay what they were.
        self.picture: Picture = np.asarray(
            cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST), dtype=np.uint8
        )
        self._zoom = max(1.0, size[0] / _FULL_WIDTH_PX)

    def box(
        self, box: Box, colour: tuple[int, int, int], text: str, *, below: bool = False
    ) -> None:
        """Draws a box in pixels of the original, its name inside its upper or lower edge."""
        picture, zoom = self.picture, self._zoom
        height, width = picture.shape[:2]
        x_min, y_min, x_max, y_max = (round(value * self._factor) for value in box)
        # The maximum is exclusive: the last pixel inside is one less.
        left, top = max(0, x_min), max(0, y_min)
        right, bottom = min(width, x_max) - 1, min(height, y_max) - 1
        cv2.rectangle(picture, (left, top), (right, bottom), colour, round(2 * zoom))
        text_width, text_height = self._size(text)
        y = min(height - 3, bottom - 4) if below else max(text_height + 3, top + text_height + 4)
        x = min(left + 2, max(0, width - text_width - 4))
        self._write(x, y, text, colour)

    def lines(self, texts: Sequence[str], colour: tuple[int, int, int]) -> None:
        """Writes lines of text, downwards from the upper left corner."""
        y = 0
        for text in texts:
            y += self._size(text)[1] + 8
            self._write(2, y, text, colour)

    def _size(self, text: str) -> tuple[int, int]:
        (width, height), _ = cv2.getTextSize(text, *self._font())
        return width, height

    def _font(self) -> tuple[int, float, int]:
        return cv2.FONT_HERSHEY_SIMPLEX, 0.45 * self._zoom, round(self._zoom)

    def _write(self, x: int, y: int, text: str, colour: tuple[int, int, int]) -> None:
        text_width, text_height = self._size(text)
        font, scale, thickness = self._font()
        picture = self.picture
        cv2.rectangle(picture, (x, y - text_height - 3), (x + text_width + 3, y + 3), colour, -1)
        white = (255, 255, 255)
        cv2.putText(picture, text, (x + 2, y), font, scale, white, thickness, cv2.LINE_AA)
