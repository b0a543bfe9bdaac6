"""A model's JSON answer to detections, or to classes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from simcloud.errors import Corruption
from simcloud.scoring.types import Box, Classification, Detection

JSON_TYPE = "application/json"


def decode_detections(
    body: bytes,
    *,
    media_type: str = JSON_TYPE,
    labels: Sequence[str] = (),
    threshold: float = 0.0,
) -> tuple[Detection, ...]:
    """Detections of an answer, in its order, boxes in pixels of the picture that was sent.

    The answer is ``{"detections": [{"label", "class_id", "score", "box_xyxy_px"}, ...]}``, or the
    Open Inference Protocol's JSON with the outputs ``boxes`` (1, M, 4), ``scores`` and ``classes``
    (1, M), and ``count`` (1): how many of the M there are.

    Args:
        body: the answer.
        media_type: its.
        labels: the model's, by class id; outputs have none of their own.
        threshold: lowest confidence; of outputs alone, detections are chosen by the model.

    Raises:
        Corruption: another media type, or not such a document: the model is no detector.
    """
    document = _document(body, media_type)
    with _reading("detections", "object_detection"):
        if "outputs" not in document:
            return tuple(_detection(item) for item in document["detections"])
        outputs = _outputs(document)
        boxes, scores = outputs["boxes"].reshape(-1, 4), outputs["scores"].ravel()
        classes = outputs["classes"].ravel()
        return tuple(
            Detection(
                label=_label(labels, int(classes[row])),
                class_id=int(classes[row]),
                score=float(scores[row]),
                box=_box(boxes[row].tolist()),
            )
            for row in range(int(outputs["count"].item()))
            if scores[row] >= threshold
        )


def decode_classifications(
    body: bytes,
    *,
    media_type: str = JSON_TYPE,
    labels: Sequence[str] = (),
    top_k: int | None = None,
) -> tuple[Classification, ...]:
    """Classes of an answer, the most probable first.

    The answer is ``{"classifications": [{"label", "class_id", "score"}, ...]}``, or the Open
    Inference Protocol's JSON, whose first output has the score of each class (1, K).

    Args:
        body: the answer.
        media_type: its.
        labels: the model's, by class id; outputs have none of their own.
        top_k: classes of outputs; None: all. Otherwise the model has chosen.

    Raises:
        Corruption: another media type, or not such a document: the model is no classifier.
    """
    document = _document(body, media_type)
    with _reading("classifications", "image_classification"):
        if "outputs" not in document:
            return tuple(_classification(item) for item in document["classifications"])
        scores = next(iter(_outputs(document).values())).ravel()
        # Stable, so that equal scores stay in the order of their classes.
        best = np.argsort(-scores, kind="stable")[:top_k].tolist()
        return tuple(
            Classification(label=_label(labels, each), class_id=each, score=float(scores[each]))
            for each in best
        )


def _document(body: bytes, media_type: str) -> dict[str, Any]:
    if media_type.partition(";")[0].strip() != JSON_TYPE:
        raise Corruption(f"the model answered {media_type!r}, not {JSON_TYPE}")
    try:
        document = json.loads(body)
    except ValueError as error:
        raise Corruption(f"the model's answer is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise Corruption(f"the model's answer is no JSON object: {type(document).__name__}")
    return document


@contextmanager
def _reading(key: str, task: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, IndexError, StopIteration) as error:
        raise Corruption(
            f"the model's answer has no {key} ({type(error).__name__}: {error}): "
            f"name a model of the task {task}"
        ) from error


def _outputs(document: dict[str, Any]) -> dict[str, npt.NDArray[np.float64]]:
    """Outputs by name, of the sizes that they say."""
    return {
        item["name"]: np.array(item["data"], np.float64).reshape(item["shape"])
        for item in document["outputs"]
        if item["datatype"] != "BYTES"
    }


def _label(labels: Sequence[str], class_id: int) -> str:
    return labels[class_id] if 0 <= class_id < len(labels) else str(class_id)


def _box(values: Sequence[float]) -> Box:
    x_min, y_min, x_max, y_max = (float(value) for value in values)
    return x_min, y_min, x_max, y_max


def _classification(item: dict[str, Any]) -> Classification:
    return Classification(
        label=str(item["label"]), class_id=int(item["class_id"]), score=float(item["score"])
    )


def _detection(item: dict[str, Any]) -> Detection:
    return Detection(
        label=str(item["label"]),
        class_id=int(item["class_id"]),
        score=float(item["score"]),
        box=_box(item["box_xyxy_px"]),
    )
