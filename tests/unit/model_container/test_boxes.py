from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from simcloud_model_container.models.boxes import non_maximum_suppression

Rows = list[tuple[int, int, int, int, float, int]]
ROWS = st.lists(
    st.tuples(
        st.integers(0, 20),
        st.integers(0, 20),
        st.integers(0, 12),
        st.integers(0, 12),
        st.sampled_from([0.1, 0.3, 0.3, 0.5, 0.9]),
        st.integers(0, 1),
    ),
    max_size=25,
)


def columns(
    rows: Rows,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    boxes = np.array([(x, y, x + w, y + h) for x, y, w, h, _, _ in rows], np.float32)
    scores = np.array([row[4] for row in rows], np.float32)
    return boxes.reshape(-1, 4), scores, np.array([row[5] for row in rows], np.int64)


def suppresses(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> bool:
    """Whether the overlap exceeds 0.6, exactly: shared / union > 3 / 5 in whole numbers."""
    (a_left, a_top, a_right, a_bottom), (b_left, b_top, b_right, b_bottom) = (
        [int(edge) for edge in box] for box in (a, b)
    )
    width = min(a_right, b_right) - max(a_left, b_left)
    height = min(a_bottom, b_bottom) - max(a_top, b_top)
    shared = max(width, 0) * max(height, 0)
    areas = (a_right - a_left) * (a_bottom - a_top) + (b_right - b_left) * (b_bottom - b_top)
    return 5 * shared > 3 * (areas - shared)


@given(ROWS, st.integers(1, 30))
def test_it_agrees_with_the_definition(rows: Rows, max_kept: int) -> None:
    boxes, scores, classes = columns(rows)
    expected: list[int] = []
    for i in sorted(range(len(rows)), key=lambda i: (-scores[i], i)):
        better = (j for j in expected if classes[j] == classes[i])
        if not any(suppresses(boxes[i], boxes[j]) for j in better):
            expected.append(i)
    kept = non_maximum_suppression(boxes, scores, classes, iou_threshold=0.6, max_kept=max_kept)
    assert kept.tolist() == expected[:max_kept]


def test_boxes_of_other_classes_stay() -> None:
    boxes = np.array([[0, 0, 4, 4], [0, 0, 4, 4]], np.float32)
    kept = non_maximum_suppression(
        boxes,
        np.array([0.5, 0.6], np.float32),
        np.array([1, 2], np.int64),
        iou_threshold=0.6,
        max_kept=10,
    )
    assert kept.tolist() == [1, 0]
