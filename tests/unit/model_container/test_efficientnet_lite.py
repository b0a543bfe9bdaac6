from __future__ import annotations

import numpy as np
import pytest

from simcloud_model_container.errors import BadRequest
from simcloud_model_container.models.efficientnet_lite import EfficientNetLite

MODEL = EfficientNetLite([f"class {i}" for i in range(1000)])


def test_probabilities_are_the_softmax_of_the_logits() -> None:
    logits = np.random.default_rng(1).normal(size=1000).astype(np.float32) * 100
    answer = MODEL.answers([{"logits": logits}], [(1, 1)], {})
    np.testing.assert_array_equal(answer["logits"], [logits])
    assert answer["probabilities"].shape == (1, 1000)
    assert answer["probabilities"].sum() == pytest.approx(1)
    assert answer["probabilities"].argmax() == logits.argmax()


def test_words_are_the_best_classes_first() -> None:
    logits = np.zeros(1000, np.float32)
    logits[[7, 3]] = 20, 21
    tensors = MODEL.answers([{"logits": logits}], [(1, 1)], {})
    words = MODEL.describe(tensors, {"top_k": "2"})["classifications"]
    assert isinstance(words, list)
    assert [(word["label"], word["class_id"]) for word in words] == [("class 3", 3), ("class 7", 7)]
    with pytest.raises(BadRequest, match="top_k"):
        MODEL.describe(tensors, {"top_k": 1001})


@pytest.mark.parametrize("shape", [(300, 400, 3), (100, 60, 3), (1, 1, 3), (1, 900, 3)])
def test_preparation_takes_any_size(shape: tuple[int, ...]) -> None:
    prepared = MODEL.prepare(np.full(shape, 255, np.uint8))
    assert prepared.shape == MODEL.input_shape
    np.testing.assert_allclose(prepared, 1.0)


def test_preparation_crops_the_centre() -> None:
    image = np.zeros((256, 512, 3), np.uint8)
    image[16:240, 144:368] = (127, 255, 0)
    prepared = MODEL.prepare(image)
    for channel, value in enumerate((0.0, 1.0, -127 / 128)):
        np.testing.assert_allclose(prepared[channel], value)
