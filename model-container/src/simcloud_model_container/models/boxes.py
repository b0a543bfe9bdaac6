"""Non-maximum suppression."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def non_maximum_suppression(
    boxes_xyxy: npt.NDArray[np.float32],
    scores: npt.NDArray[np.float32],
    classes: npt.NDArray[np.int64],
    *,
    iou_threshold: float,
    max_kept: int,
) -> npt.NDArray[np.intp]:
    """Indices of the boxes that remain, best score first; equal scores in the order given.

    Args:
        boxes_xyxy: (n, 4), any unit.
        scores: (n,).
        classes: (n,); a box suppresses only boxes of its own class.
        iou_threshold: a box goes when its overlap with a better one is larger.
        max_kept: the search ends with that many.
    """
    order = np.argsort(-scores, kind="stable")
    # Columns apart and in order, so that each step works on plain slices.
    left, top, right, bottom = np.ascontiguousarray(boxes_xyxy[order].T)
    areas = (right - left) * (bottom - top)
    sorted_classes = classes[order]
    alive = np.ones(len(order), np.bool_)
    kept: list[np.intp] = []
    for i in range(len(order)):
        if not alive[i]:
            continue
        kept.append(order[i])
        if len(kept) == max_kept:
            break
        rest = slice(i + 1, None)
        width = np.minimum(right[i], right[rest]) - np.maximum(left[i], left[rest])
        height = np.minimum(bottom[i], bottom[rest]) - np.maximum(top[i], top[rest])
        intersection = np.maximum(width, 0) * np.maximum(height, 0)
        # Multiplied out, so that boxes without area divide nothing by zero.
        overlaps = intersection > iou_threshold * (areas[i] + areas[rest] - intersection)
        alive[rest] &= ~(overlaps & (sorted_classes[rest] == sorted_classes[i]))
    return np.array(kept, np.intp)
