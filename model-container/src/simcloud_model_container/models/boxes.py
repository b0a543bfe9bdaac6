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
    remaining = np.argsort(-scores, kind="stable")
    areas = np.prod(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], axis=1)
    kept: list[np.intp] = []
    while remaining.size and len(kept) < max_kept:
        best, rest = remaining[0], remaining[1:]
        kept.append(best)
        top_left = np.maximum(boxes_xyxy[best, :2], boxes_xyxy[rest, :2])
        bottom_right = np.minimum(boxes_xyxy[best, 2:], boxes_xyxy[rest, 2:])
        intersection = np.prod(np.maximum(bottom_right - top_left, 0), axis=1)
        # Multiplied out, so that boxes without area divide nothing by zero.
        union = areas[best] + areas[rest] - intersection
        overlapping = intersection > iou_threshold * union
        remaining = rest[~(overlapping & (classes[rest] == classes[best]))]
    return np.array(kept, np.intp)
