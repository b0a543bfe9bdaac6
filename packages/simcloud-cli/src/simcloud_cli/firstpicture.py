"""The first picture, on disk as soon as there is one, with its labels beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from simcloud.dataset.frames import EncodedFrame, Layer
from simcloud.dataset.record import record_from_json
from simcloud.report.overlays import decode, draw_labels, jpeg
from simcloud.scoring.labels import PICTURE


def picture_layer(frame: EncodedFrame) -> Layer | None:
    """The rgb layer of a frame, if it has one."""
    return next((layer for layer in frame.layers if layer.annotator == PICTURE), None)


def write_first_picture(folder: Path, frames: Sequence[EncodedFrame]) -> Path | None:
    """Writes ``first.<png or jpg>``; None when the first camera has no picture."""
    layer = picture_layer(frames[0]) if frames else None
    if layer is None:
        return None
    path = folder / f"first.{layer.extension}"
    path.write_bytes(layer.data)
    return path


def write_frame(folder: Path, frame: EncodedFrame) -> list[Path]:
    """Writes all layers of a frame, a picture with boxes drawn, and the record as JSON."""
    stem = f"{frame.frame:06d}.{frame.camera}"
    written = []
    for layer in frame.layers:
        path = folder / f"{stem}.{layer.annotator}.{layer.extension}"
        path.write_bytes(layer.data)
        written.append(path)
    record = record_from_json(frame.record)
    path = folder / f"{stem}.labels.json"
    path.write_text(json.dumps(json.loads(frame.record), indent=1) + "\n")
    written.append(path)
    picture = picture_layer(frame)
    if picture is not None:
        boxes = [
            (item.label, tuple(float(value) for value in item.box2d_tight))
            for item in record.objects
            if item.box2d_tight is not None
        ]
        drawn = draw_labels(
            decode(picture.data), [(label, (b[0], b[1], b[2], b[3])) for label, b in boxes]
        )
        path = folder / f"{stem}.overlay.jpg"
        path.write_bytes(jpeg(drawn))
        written.append(path)
    return written
