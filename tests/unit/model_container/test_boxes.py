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


def overlap(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0.0) * max(height, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    union = sum(areas) - shared
    return float(shared / union) if union > 0 else 0.0


@given(ROWS, st.integers(1, 30))
def test_it_agrees_with_the_definition(rows: Rows, max_kept: int) -> None:
    boxes, scores, classes = columns(rows)
    expected: list[int] = []
    for i in sorted(range(len(rows)), key=lambda i: (-scores[i], i)):
        better = (j for j in expected if classes[j] == classes[i])
        if all(overlap(boxes[i], boxes[j]) <= 0.6 for j in better):
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
