"""COCO's segmentations become the masks that COCO's own tools make of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from faster_coco_eval.core import mask as reference
from hypothesis import given
from hypothesis import strategies as st

from simcloud.annotators import FIRST_CLASS_ID, UNLABELLED_ID
from simcloud.importing.segments import Polygons, filled, mask_of, painted, segment_of, unpacked
from simcloud.importing.types import SourceObject

SIZE = (37, 23)


def mask(seed: int, width: int = SIZE[0], height: int = SIZE[1]) -> Any:
    """Blobs, (H, W) uint8."""
    coarse = np.random.default_rng(seed).random((height // 4 + 1, width // 4 + 1)) < 0.4
    return np.kron(coarse, np.ones((4, 4)))[:height, :width].astype(np.uint8)


@pytest.mark.parametrize("seed", range(8))
def test_run_lengths_packed_and_plain_give_the_reference_s_mask(seed: int) -> None:
    expected = mask(seed)
    packed = reference.encode(np.asfortranarray(expected))
    text = packed["counts"].decode()
    plain = unpacked(text)
    assert sum(plain) == expected.size
    for counts in (text, plain):
        found = mask_of(segment_of({"size": list(packed["size"]), "counts": counts}), SIZE)
        assert np.array_equal(found, expected)


@given(seed=st.integers(0, 200), runs=st.integers(1, 40))
def test_long_runs_and_differences_below_zero_are_unpacked(seed: int, runs: int) -> None:
    lengths = np.random.default_rng(seed).integers(0, 1 << 20, runs)
    lengths[::3] //= 1 << 12
    rle = reference.frPyObjects(
        {"size": [1, int(lengths.sum())], "counts": [int(n) for n in lengths]},
        1,
        int(lengths.sum()),
    )
    assert unpacked(rle["counts"].decode()) == [int(n) for n in lengths]


@pytest.mark.parametrize("seed", range(8))
def test_a_polygon_is_the_reference_s_mask_but_for_pixels_that_its_outline_cuts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    angles = np.sort(rng.random(9) * 2 * np.pi)
    radius = rng.uniform(40, 90, 9)
    points = np.stack([120 + radius * np.cos(angles), 100 + radius * np.sin(angles)], axis=1)
    flat = [float(n) for n in points.ravel()]
    expected = reference.decode(reference.frPyObjects([flat], 200, 240))[:, :, 0].astype(bool)
    found = mask_of(segment_of([flat]), (240, 200))
    both, either = (found & expected).sum(), (found | expected).sum()
    assert both / either > 0.98
    # the exact area, by the shoelace formula
    x, y = points.T
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    assert found.sum() == pytest.approx(area, rel=0.01)


def test_a_rectangle_covers_the_pixels_whose_centres_are_inside() -> None:
    box = np.array([[2, 3], [6, 3], [6, 5.4], [2, 5.4]], dtype=np.float32)
    found = filled(box, (10, 8))
    expected = np.zeros((8, 10), dtype=bool)
    expected[3:5, 2:6] = True
    assert np.array_equal(found, expected)
    outside = filled(box + 100, (10, 8))
    assert not outside.any()
    half = filled(box - np.float32(4), (10, 8))
    assert half.sum() == 2


def test_the_smaller_is_in_front_and_a_crowd_is_no_instance() -> None:
    def square(low: float, high: float) -> Polygons:
        return Polygons((np.array([[low, low], [high, low], [high, high], [low, high]], "f4"),))

    objects = [
        SourceObject(label="cat", box=(1, 1, 3, 3), where="a"),
        SourceObject(label="dog", box=(0, 0, 6, 6), where="b", visible_px=30),
        SourceObject(label="cat", box=(0, 0, 8, 8), where="c", ignored=True),
    ]
    found, layers = painted(
        objects, [square(1, 3), square(0, 6), square(0, 8)], ["cat", "dog"], (9, 9)
    )
    semantic, instances = layers["semantic_segmentation"], layers["instance_segmentation"]
    cat, dog = FIRST_CLASS_ID, FIRST_CLASS_ID + 1
    assert semantic[[2, 5, 7, 8], [2, 5, 7, 8]].tolist() == [cat, dog, cat, UNLABELLED_ID]
    first = FIRST_CLASS_ID
    assert instances[[2, 5, 7], [2, 5, 7]].tolist() == [first, first + 1, UNLABELLED_ID]
    assert [item.instance_id for item in found] == [first, first + 1, first + 2]
    assert [item.visible_px for item in found] == [4, 30, 64]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (7, "neither polygons nor run lengths"),
        ([[1, 2, 3, 4]], "three points"),
        ([[1, 2, 3, 4, 5]], "three points"),
        ([[1, 2, 3, 4, 5, "6"]], "no number"),
        ([[1, 2, 3, 4, 5, float("nan")]], "not finite"),
        ({"size": [2, 2], "counts": [1, 2]}, "are 3 pixels"),
        ({"size": [2, 2], "counts": [5, -1]}, "are 4 pixels"),
        ({"size": [2], "counts": [4]}, "not \\[height, width\\]"),
        ({"size": [2, 2], "counts": "P"}, "ends within a number"),
        ({"size": [2, 2], "counts": "\n"}, "the character"),
        ({"size": [2, 2]}, "neither a list"),
    ],
)
def test_what_is_no_segmentation_is_refused_in_words(value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        segment_of(value)


def test_run_lengths_of_another_size_than_the_picture_are_refused() -> None:
    with pytest.raises(ValueError, match="is 2x3, its picture 3x2"):
        mask_of(segment_of({"size": [3, 2], "counts": [6]}), (3, 2))
