"""Answers of models read as detections and classes, in both forms."""

from __future__ import annotations

import json

import pytest

from simcloud.errors import Corruption
from simcloud.scoring.decode import decode_classifications, decode_detections

LABELS = ("chair", "couch")


def outputs(**tensors: tuple[list[int], list[float]]) -> bytes:
    """The Open Inference Protocol's JSON, data flat as the router sends it."""
    entries = [
        {"name": name, "datatype": "FP32", "shape": shape, "data": data}
        for name, (shape, data) in tensors.items()
    ]
    return json.dumps({"model_name": "det", "outputs": entries}).encode()


def detections(count: float, scores: list[float]) -> bytes:
    rows = len(scores)
    return outputs(
        boxes=([1, rows, 4], [float(value) for value in range(4 * rows)]),
        scores=([1, rows], scores),
        classes=([1, rows], [1.0, 7.0, 0.0][:rows]),
        count=([1], [count]),
    )


def test_outputs_are_the_detections_that_count_says_above_the_threshold() -> None:
    first, second = decode_detections(detections(2, [0.9, 0.5, 0.8]), labels=LABELS)
    assert (first.label, first.class_id, first.score) == ("couch", 1, 0.9)
    assert (second.label, second.box) == ("7", (4.0, 5.0, 6.0, 7.0))
    above = decode_detections(detections(3, [0.9, 0.5, 0.8]), labels=LABELS, threshold=0.6)
    assert [each.label for each in above] == ["couch", "chair"]
    assert decode_detections(detections(0, []), labels=LABELS) == ()


def test_outputs_are_the_best_classes() -> None:
    body = outputs(scores=([1, 3], [0.1, 0.7, 0.2]))
    best = decode_classifications(body, labels=LABELS, top_k=2)
    assert [(each.label, each.class_id) for each in best] == [("couch", 1), ("2", 2)]
    assert len(decode_classifications(body)) == 3


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b"[1]",
        b"no",
        outputs(boxes=([1, 1, 4], [1, 2, 3, 4])),
        outputs(boxes=([1, 2, 4], [1, 2, 3])),
        detections(4, [0.9]),
        b'{"outputs": [{"name": "boxes"}]}',
        b'{"outputs": 3}',
    ],
)
def test_what_is_no_detections_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(Corruption, match="answer"):
        decode_detections(body)


def test_no_outputs_are_no_classes() -> None:
    with pytest.raises(Corruption, match="image_classification"):
        decode_classifications(outputs())
