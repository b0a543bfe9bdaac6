from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from simcloud.labels.boxes import box_area, box_iou, contains
from simcloud.labels.masks import id_areas, id_boxes, mask_box
from simcloud.labels.occlusion import occlusion, truncation

id_masks = hnp.arrays(
    np.uint16,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
    elements=st.sampled_from([0, 1, 2, 3, 65535]),
)


@given(ids=id_masks)
def test_boxes_and_areas_of_all_ids_are_those_of_each_id_alone(ids: npt.NDArray[np.uint16]) -> None:
    expected = {int(value): mask_box(ids == value) for value in np.unique(ids)}
    assert id_boxes(ids) == expected
    assert id_areas(ids) == {int(v): int((ids == v).sum()) for v in np.unique(ids)}


def test_box_of_one_pixel_is_one_pixel_wide() -> None:
    mask = np.zeros((5, 7), dtype=np.bool_)
    mask[3, 2] = True
    assert mask_box(mask) == (2, 3, 3, 4)


def test_empty_mask_has_no_box() -> None:
    assert mask_box(np.zeros((5, 7), dtype=np.bool_)) is None


def test_occlusion_is_the_hidden_share() -> None:
    assert occlusion(25, 100) == 0.75
    assert occlusion(0, 0) == 1.0
    with pytest.raises(ValueError, match="101 visible"):
        occlusion(101, 100)


@pytest.mark.parametrize(
    ("extent", "share"),
    [
        ((10.0, 10.0, 20.0, 20.0), 0.0),
        ((-10.0, 0.0, 10.0, 10.0), 0.5),
        ((-50.0, -50.0, -10.0, -10.0), 1.0),
        ((90.0, 40.0, 110.0, 60.0), 0.75),
        ((30.0, 10.0, 30.0, 20.0), 0.0),
        (None, 1.0),
    ],
)
def test_truncation_is_the_share_of_the_unclipped_box_outside_the_picture(
    extent: tuple[float, float, float, float] | None, share: float
) -> None:
    assert truncation(extent, 100, 50) == pytest.approx(share)


def test_boxes_measure_and_overlap() -> None:
    assert box_area((1, 2, 4, 6)) == 12
    assert box_area((4, 2, 1, 6)) == 0
    assert box_iou((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert box_iou((0, 0, 0, 0), (0, 0, 0, 0)) == 0
    assert contains((0, 0, 10, 10), (0, 0, 10, 10))
    assert not contains((0, 0, 10, 10), (-1, 0, 10, 10))
    assert contains((0, 0, 10, 10), (-1, 0, 10, 10), slack=1)
