"""Areas and boxes of id masks. Boxes are pixel edges: minima inclusive, maxima exclusive."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simcloud.labels.objects import Box2D


def mask_box(mask: npt.NDArray[np.bool_]) -> Box2D | None:
    """Box of the true pixels of a mask (H, W); None when there are none."""
    columns = np.flatnonzero(mask.any(axis=0))
    if len(columns) == 0:
        return None
    rows = np.flatnonzero(mask.any(axis=1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def id_areas(ids: npt.NDArray[np.integer]) -> dict[int, int]:
    """Pixels of every id that occurs in a mask (H, W)."""
    values, counts = np.unique(ids, return_counts=True)
    return {int(value): int(count) for value, count in zip(values, counts, strict=True)}


def id_boxes(ids: npt.NDArray[np.integer]) -> dict[int, Box2D]:
    """Box of every id that occurs in a mask (H, W), in one pass over the mask."""
    height, width = ids.shape
    if ids.size == 0:
        return {}
    values, inverse = np.unique(ids, return_inverse=True)
    inverse = inverse.ravel()
    rows, columns = np.divmod(np.arange(ids.size), width)
    x_min, y_min = np.full(len(values), width), np.full(len(values), height)
    x_max, y_max = np.full(len(values), -1), np.full(len(values), -1)
    np.minimum.at(x_min, inverse, columns)
    np.minimum.at(y_min, inverse, rows)
    np.maximum.at(x_max, inverse, columns)
    np.maximum.at(y_max, inverse, rows)
    return {
        int(value): (int(x_min[i]), int(y_min[i]), int(x_max[i]) + 1, int(y_max[i]) + 1)
        for i, value in enumerate(values)
    }
