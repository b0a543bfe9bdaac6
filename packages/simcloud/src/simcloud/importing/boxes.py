"""Boxes of labels, made what a record holds."""

from __future__ import annotations

import math

from simcloud.dataset.record import Box2D
from simcloud.importing.types import BoxF

OUTSIDE_PX = 1.0
"""How far a box may reach beyond its picture: rounding, and Pascal VOC files that count from 0."""
_SLACK = 1e-6
"""Of decimal fractions that a text file rounded."""


def pixel_box(box: BoxF, size: tuple[int, int], *, relative: bool = False) -> Box2D:
    """Whole pixels: edges to the nearest, the maximum exclusive, one pixel at least.

    Args:
        box: x_min, y_min, x_max, y_max; edges.
        size: width and height of the picture, pixels.
        relative: whether the box is in shares of them.

    Raises:
        ValueError: not finite, empty, or outside by more than a pixel; says which.
    """
    width, height = size
    if not all(math.isfinite(value) for value in box):
        raise ValueError(f"box {_shown(box)} is not finite")
    x_min, y_min, x_max, y_max = box
    if relative:
        x_min, x_max = x_min * width, x_max * width
        y_min, y_max = y_min * height, y_max * height
    if x_max <= x_min or y_max <= y_min:
        raise ValueError(f"box {_shown(box)} is empty")
    slack = OUTSIDE_PX + _SLACK * max(size)
    if min(x_min, y_min) < -slack or x_max > width + slack or y_max > height + slack:
        raise ValueError(f"box {_shown(box)} reaches outside of the picture of {width}x{height}")
    left, right = _span(x_min, x_max, width)
    top, bottom = _span(y_min, y_max, height)
    return (left, top, right, bottom)


def _span(low: float, high: float, size: int) -> tuple[int, int]:
    first = min(max(round(low), 0), size - 1)
    return first, min(max(round(high), first + 1), size)


def _shown(box: BoxF) -> str:
    return "[" + ", ".join(f"{value:.6g}" for value in box) + "]"
