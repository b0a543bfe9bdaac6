"""How much of an object the picture does not show, and why."""

from __future__ import annotations

from simcloud.geometry import float32
from simcloud.labels.boxes import Extent, box_area


def occlusion(visible_px: int, amodal_px: int) -> float:
    """``1 - visible / amodal``, 0 being fully visible; 1 when nothing of it is in the image.

    Raises:
        ValueError: more pixels are visible than the object has.
    """
    if visible_px > amodal_px:
        raise ValueError(f"{visible_px} visible pixels of an object that has {amodal_px}")
    return float32(1.0 - visible_px / amodal_px) if amodal_px else 1.0


def truncation(extent: Extent | None, width: int, height: int) -> float:
    """Share of an unclipped 2D box's area that lies outside a picture of ``width`` x ``height``.

    Args:
        extent: bounds on the unbounded image plane; None for what is behind the camera.
        width: of the picture, pixels.
        height: of the picture, pixels.

    Returns:
        0 when all of the box is inside, 1 when nothing is.
    """
    if extent is None:
        return 1.0
    inside = (
        max(extent[0], 0.0),
        max(extent[1], 0.0),
        min(extent[2], float(width)),
        min(extent[3], float(height)),
    )
    area = box_area(extent)
    if area <= 0.0:
        return 0.0 if inside[0] <= inside[2] and inside[1] <= inside[3] else 1.0
    return float32(1.0 - box_area(inside) / area)
