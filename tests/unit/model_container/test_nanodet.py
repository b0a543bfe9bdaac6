from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from simcloud_model_container.errors import BadRequest
from simcloud_model_container.models.nanodet import (
    DISTANCE_BINS,
    LOWEST_SCORE,
    SIDE_PX,
    STRIDES,
    NanoDet,
)

LABELS = ("cat", "dog", "cup")
MODEL = NanoDet(LABELS)


def empty_outputs() -> dict[str, npt.NDArray[Any]]:
    outputs: dict[str, npt.NDArray[Any]] = {}
    for stride in STRIDES:
        cells = (SIDE_PX // stride) ** 2
        outputs[f"class_scores_{stride}"] = np.zeros((cells, len(LABELS)), np.float32)
        outputs[f"distance_logits_{stride}"] = np.zeros((cells, 4 * DISTANCE_BINS), np.float32)
    return outputs


def put_box(
    outputs: dict[str, npt.NDArray[Any]],
    *,
    stride: int,
    column: int,
    row: int,
    strides: tuple[int, int, int, int],
    class_id: int,
    score: float,
) -> None:
    """A certain box: each side's distribution is one bin."""
    cell = row * (SIDE_PX // stride) + column
    outputs[f"class_scores_{stride}"][cell, class_id] = score
    logits = np.full((4, DISTANCE_BINS), -100, np.float32)
    logits[np.arange(4), strides] = 100
    outputs[f"distance_logits_{stride}"][cell] = logits.ravel()


@pytest.mark.parametrize("stride", STRIDES)
def test_a_box_is_its_cell_s_centre_and_four_distances_in_strides(stride: int) -> None:
    outputs = empty_outputs()
    put_box(outputs, stride=stride, column=5, row=3, strides=(1, 2, 3, 4), class_id=1, score=0.75)
    found = MODEL.detect(outputs, (SIDE_PX, SIDE_PX), threshold=0.5, max_detections=10)
    x, y = 5.5 * stride, 3.5 * stride
    expected = [x - stride, y - 2 * stride, x + 3 * stride, y + 4 * stride]
    np.testing.assert_allclose(found.boxes_xyxy_px, [expected], rtol=1e-6)
    assert found.classes.tolist() == [1]
    assert found.scores.tolist() == [0.75]


def test_boxes_are_in_the_picture_s_pixels_and_inside_it() -> None:
    outputs = empty_outputs()
    put_box(outputs, stride=32, column=0, row=12, strides=(9, 1, 1, 9), class_id=0, score=0.9)
    found = MODEL.detect(outputs, (832, 208), threshold=0.5, max_detections=10)
    np.testing.assert_allclose(found.boxes_xyxy_px, [[0, 184, 96, 208]], rtol=1e-6)


def test_overlapping_boxes_of_a_class_become_the_best_one() -> None:
    outputs = empty_outputs()
    for column, score in ((5, 0.6), (6, 0.9)):
        put_box(
            outputs, stride=8, column=column, row=9, strides=(9, 9, 9, 9), class_id=2, score=score
        )
    put_box(outputs, stride=8, column=7, row=9, strides=(9, 9, 9, 9), class_id=0, score=0.5)
    answer = MODEL.answers([outputs], [(SIDE_PX, SIDE_PX)], {})
    assert answer["count"].tolist() == [2]
    assert answer["classes"][0, :3].tolist() == [2, 0, -1]
    np.testing.assert_allclose(answer["scores"][0, :3], [0.9, 0.5, 0.0])


def test_tensors_are_padded_to_max_detections() -> None:
    outputs = empty_outputs()
    put_box(outputs, stride=16, column=2, row=2, strides=(1, 1, 1, 1), class_id=0, score=0.9)
    answer = MODEL.answers([outputs, empty_outputs()], [(416, 416)] * 2, {"max_detections": 7})
    assert {name: (a.shape, a.dtype.name) for name, a in answer.items()} == {
        "boxes": ((2, 7, 4), "float32"),
        "scores": ((2, 7), "float32"),
        "classes": ((2, 7), "int64"),
        "count": ((2,), "int64"),
    }
    assert answer["count"].tolist() == [1, 0]
    assert not answer["boxes"][1].any()


def test_the_threshold_can_be_raised_and_not_lowered() -> None:
    outputs = empty_outputs()
    put_box(outputs, stride=8, column=1, row=1, strides=(1, 1, 1, 1), class_id=0, score=0.06)
    size = [(SIDE_PX, SIDE_PX)]
    assert MODEL.answers([outputs], size, {})["count"].tolist() == [1]
    assert MODEL.answers([outputs], size, {"score_threshold": "0.07"})["count"].tolist() == [0]
    with pytest.raises(BadRequest, match=f"from {LOWEST_SCORE} to 1"):
        MODEL.answers([outputs], size, {"score_threshold": 0.01})


def test_words_name_label_score_and_box() -> None:
    outputs = empty_outputs()
    put_box(outputs, stride=16, column=3, row=2, strides=(1, 1, 2, 2), class_id=2, score=0.5)
    tensors = MODEL.answers([outputs], [(SIDE_PX, SIDE_PX)], {})
    detections: Any = MODEL.describe(tensors, {})["detections"]
    (detection,) = detections
    assert detection["label"] == "cup"
    assert detection["class_id"] == 2
    assert detection["score"] == 0.5
    assert detection["box_xyxy_px"] == pytest.approx([40, 24, 88, 72])


def test_preparation_stretches_swaps_to_bgr_and_normalizes() -> None:
    image = np.zeros((20, 50, 3), np.uint8)
    image[...] = (10, 20, 30)
    prepared = MODEL.prepare(image)
    assert prepared.shape == MODEL.input_shape
    assert prepared.dtype == np.float32
    expected = [(30 - 103.53) / 57.375, (20 - 116.28) / 57.12, (10 - 123.675) / 58.395]
    np.testing.assert_allclose(prepared[:, 0, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(prepared[:, -1, -1], expected, rtol=1e-5)
