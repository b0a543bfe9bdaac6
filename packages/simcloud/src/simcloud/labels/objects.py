"""What is known about one labelled object in one picture."""

from __future__ import annotations

from dataclasses import dataclass

from simcloud.spec.parameters import Matrix4, Vector3

Box2D = tuple[int, int, int, int]
"""Pixel edges ``(x_min, y_min, x_max, y_max)``: minima inclusive, maxima exclusive."""


@dataclass(frozen=True, slots=True)
class ObjectLabel:
    """One labelled object as one camera sees it. Every float is a float32 value."""

    instance_id: int
    """Value in ``instance_segmentation``; equal for all cameras of a frame."""
    name: str
    """Of a placed object its name; of a labelled prim of the scene its path."""
    prim: str
    """Absolute path of the labelled prim."""
    asset: str
    """Library asset it is an instance of; empty for prims of the scene."""
    label: str
    """Class."""
    semantic_id: int
    """Value in ``semantic_segmentation``."""
    box2d_tight: Box2D | None
    """Box of the visible pixels; None when there are none."""
    box2d_loose: Box2D | None
    """Box of the pixels if nothing stood before it, within the image; None when there are none."""
    box3d_min: Vector3
    """Lower corner of the box in the object's own frame, metres before ``local2world``'s scale."""
    box3d_max: Vector3
    local2world: Matrix4
    """Object frame to world, row-major, column vectors."""
    visible_px: int
    """Pixels of the object in the picture."""
    amodal_px: int
    """Pixels it would have if nothing stood before it, within the image."""
    occlusion: float
    """``1 - visible_px / amodal_px``; 1 when the object is not in the image."""
    truncation: float
    """Share of the area of its unclipped 2D box that lies outside the image, 0 to 1.

    The unclipped box bounds the projection of the object's geometry beyond the near plane, on the
    image plane continued past the picture's edges. 1 for what lies wholly outside or behind.
    """
    distance_m: float
    """From the camera's origin to the centre of the 3D box."""
