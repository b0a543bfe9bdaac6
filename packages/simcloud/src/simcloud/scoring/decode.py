"""A model's JSON answer to detections, or to classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

from simcloud.errors import Corruption
from simcloud.scoring.types import Classification, Detection

T = TypeVar("T")

JSON_TYPE = "application/json"


def decode_detections(body: bytes, *, media_type: str = JSON_TYPE) -> tuple[Detection, ...]:
    """Detections of an answer, in its order.

    The answer is ``{"detections": [{"label", "class_id", "score", "box_xyxy_px"}, ...]}``, boxes in
    pixels of the picture that was sent.

    Raises:
        Corruption: another media type, or not such a document: the model is no detector.
    """
    return _decode(body, media_type, "detections", "object_detection", _detection)


def decode_classifications(
    body: bytes, *, media_type: str = JSON_TYPE
) -> tuple[Classification, ...]:
    """Classes of an answer, in its order: the most probable first.

    The answer is ``{"classifications": [{"label", "class_id", "score"}, ...]}``.

    Raises:
        Corruption: another media type, or not such a document: the model is no classifier.
    """
    return _decode(body, media_type, "classifications", "image_classification", _classification)


def _decode(
    body: bytes, media_type: str, key: str, task: str, item_of: Callable[[dict[str, Any]], T]
) -> tuple[T, ...]:
    if media_type.partition(";")[0].strip() != JSON_TYPE:
        raise Corruption(f"the model answered {media_type!r}, not {JSON_TYPE}")
    try:
        document = json.loads(body)
        return tuple(item_of(item) for item in document[key])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise Corruption(
            f"the model's answer has no {key} ({type(error).__name__}: {error}): "
            f"name a model of the task {task}"
        ) from error


def _classification(item: dict[str, Any]) -> Classification:
    return Classification(
        label=str(item["label"]), class_id=int(item["class_id"]), score=float(item["score"])
    )


def _detection(item: dict[str, Any]) -> Detection:
    x_min, y_min, x_max, y_max = (float(value) for value in item["box_xyxy_px"])
    return Detection(
        label=str(item["label"]),
        class_id=int(item["class_id"]),
        score=float(item["score"]),
        box=(x_min, y_min, x_max, y_max),
    )
