"""A detector's JSON answer to detections."""

from __future__ import annotations

import json
from typing import Any

from simcloud.errors import Corruption
from simcloud.scoring.types import Detection

JSON_TYPE = "application/json"


def decode_detections(body: bytes, *, media_type: str = JSON_TYPE) -> tuple[Detection, ...]:
    """Detections of an answer, in its order.

    The answer is ``{"detections": [{"label", "class_id", "score", "box_xyxy_px"}, ...]}``, boxes in
    pixels of the picture that was sent.

    Raises:
        Corruption: another media type, or not such a document: the model is no detector.
    """
    if media_type.partition(";")[0].strip() != JSON_TYPE:
        raise Corruption(f"the model answered {media_type!r}, not {JSON_TYPE}")
    try:
        document = json.loads(body)
        return tuple(_detection(item) for item in document["detections"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise Corruption(
            f"the model's answer has no detections ({type(error).__name__}: {error}): "
            "name a model of the task object_detection"
        ) from error


def _detection(item: dict[str, Any]) -> Detection:
    x_min, y_min, x_max, y_max = (float(value) for value in item["box_xyxy_px"])
    return Detection(
        label=str(item["label"]),
        class_id=int(item["class_id"]),
        score=float(item["score"]),
        box=(x_min, y_min, x_max, y_max),
    )
