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


def id_areas(ids: npt.NDArray[np.uint16]) -> dict[int, int]:
    """Pixels of every id that occurs in a mask (H, W)."""
    counts = np.bincount(ids.ravel())
    return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}


def id_boxes(ids: npt.NDArray[np.uint16]) -> dict[int, Box2D]:
    """Box of every id that occurs in a mask (H, W)."""
    if ids.size == 0:
        return {}
    flat = ids.ravel()
    order = np.argsort(flat, kind="stable")  # a radix sort for 16-bit ids
    ordered = flat[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    rows, columns = np.divmod(order, ids.shape[1])
    edges = [
        np.minimum.reduceat(columns, starts),
        np.minimum.reduceat(rows, starts),
        np.maximum.reduceat(columns, starts) + 1,
        np.maximum.reduceat(rows, starts) + 1,
    ]
    return {
        int(value): (int(edges[0][i]), int(edges[1][i]), int(edges[2][i]), int(edges[3][i]))
        for i, value in enumerate(ordered[starts])
    }
