from __future__ import annotations

import json

import numpy as np
import pytest

from simcloud.oip.tensors import Array, Tensor, datatype_of, to_raw
from simcloud_inference_router.codecs.base import (
    Encoded,
    MalformedAnswer,
    TensorAnswer,
    TensorRequest,
)
from simcloud_inference_router.model_options import Comparison
from simcloud_inference_router.routing.compare import Compared, Incomparable, compare
from simcloud_inference_router.targets.base import TargetAnswer

Box = tuple[str, float, list[float]]
CAT: Box = ("cat", 0.9, [0, 0, 10, 10])


def picture(document: object) -> TargetAnswer:
    return TargetAnswer(json.dumps(document).encode(), "application/json")


def detections(*boxes: Box) -> TargetAnswer:
    rows = [{"label": label, "score": score, "box_xyxy_px": box} for label, score, box in boxes]
    return picture({"detections": rows})


class Known:
    """A codec of answers that the test made; the body is the number of one."""

    def __init__(self, *answers: dict[str, Array]) -> None:
        self.answers = answers

    def encode(self, request: TensorRequest) -> Encoded:
        raise AssertionError

    def decode(self, body: bytes, content_type: str) -> TensorAnswer:
        if not body:
            raise MalformedAnswer("empty")
        return TensorAnswer(
            tuple(
                Tensor(name, datatype_of(array.dtype), array.shape, to_raw(array))
                for name, array in self.answers[int(body)].items()
            )
        )


def tensors(
    first: dict[str, Array],
    second: dict[str, Array],
    what: Comparison = "tensors",
    tolerance: float = 1e-3,
) -> Compared:
    answers = TargetAnswer(b"0", "x/y"), TargetAnswer(b"1", "x/y")
    return compare(*answers, what=what, tolerance=tolerance, codec=Known(first, second))


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([("cat", 0.7, [0, 0, 10, 9])], Compared(True, 1, 0, 0)),
        ([("cat", 0.7, [0, 0, 10, 4])], Compared(False, 0, 1, 1)),
        ([("dog", 0.9, [0, 0, 10, 10])], Compared(False, 0, 1, 1)),
        ([], Compared(False, 0, 1, 0)),
        ([CAT, CAT], Compared(False, 1, 0, 1)),
    ],
)
def test_detections_pair_by_class_and_overlap(other: list[Box], expected: Compared) -> None:
    found = compare(detections(CAT), detections(*other), what="detections", tolerance=0, codec=None)
    assert found == expected


def test_detections_of_tensors_pair_picture_by_picture() -> None:
    def batch(height: float) -> dict[str, Array]:
        return {
            "boxes": np.array([[[0, 0, 10, 10]], [[0, 0, 10, height]]], np.float32),
            "scores": np.array([[0.9], [0.8]], np.float32),
            "classes": np.array([[1], [2]], np.int64),
            "count": np.array([1, 1], np.int64),
        }

    assert tensors(batch(10), batch(9), "detections") == Compared(True, 2, 0, 0)
    assert tensors(batch(10), batch(4), "detections") == Compared(False, 1, 1, 1)


def test_the_best_class_counts_and_not_its_score() -> None:
    def classified(**scores: float) -> TargetAnswer:
        rows = [{"label": label, "score": score} for label, score in scores.items()]
        return picture({"classifications": rows})

    given = classified(cat=0.6, dog=0.4)
    for other, agree in ((classified(cat=0.51, dog=0.49), True), (classified(dog=0.9), False)):
        assert compare(given, other, what="classes", tolerance=0, codec=None).agree is agree
    one, two = np.array([[0.1, 0.9], [0.6, 0.4]]), np.array([[0.2, 0.8], [0.4, 0.6]])
    assert tensors({"p": one}, {"p": two}, "classes") == Compared(False, 1, 1)


def test_numbers_agree_within_the_tolerance() -> None:
    one = {"y": np.array([1.0, 1000.0, np.nan], np.float32), "n": np.array([1, 2])}
    near = {"y": np.array([1.0005, 1000.9, np.nan], np.float32), "n": np.array([1, 2])}
    far = {"y": np.array([1.1, 1000.0, 0.0], np.float32), "n": np.array([1, 3])}
    assert tensors(one, near) == Compared(True, 5, 0)
    assert tensors(one, far) == Compared(False, 2, 3)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"[", "no JSON"),
        (b"{}", "no list `detections`"),
        (b'{"detections": [{"label": "cat"}]}', "without label or box"),
        (b'{"detections": [{"label": "cat", "box_xyxy_px": [1, 2]}]}', "without label or box"),
        (b'{"detections": [7]}', "without label or box"),
    ],
)
def test_what_is_no_answer_of_the_model_is_incomparable(body: bytes, problem: str) -> None:
    wrong = TargetAnswer(body, "application/json")
    with pytest.raises(Incomparable, match=problem):
        compare(detections(CAT), wrong, what="detections", tolerance=0, codec=None)


def test_tensors_of_another_shape_or_name_or_none_are_incomparable() -> None:
    one = {"y": np.zeros(3, np.float32)}
    for other in ({"y": np.zeros(4, np.float32)}, {"z": np.zeros(3, np.float32)}):
        with pytest.raises(Incomparable):
            tensors(one, other)
    answer = TargetAnswer(b"0", "x/y")
    with pytest.raises(Incomparable, match="neither tensors nor"):
        compare(answer, answer, what="tensors", tolerance=0, codec=None)
    empty = TargetAnswer(b"", "x/y")
    with pytest.raises(Incomparable, match="empty"):
        compare(answer, empty, what="tensors", tolerance=0, codec=Known(one))
