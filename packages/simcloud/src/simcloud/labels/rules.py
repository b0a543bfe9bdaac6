"""The rules of label QA: their names, their tolerances, and what is said of one that is broken."""

from __future__ import annotations

from dataclasses import dataclass

DEPTH_TOLERANCE = 1e-4
"""Relative, between the two depths and between depth and 3D boxes."""

PROJECTION_TOLERANCE_PX = 1.0
OCCLUSION_TOLERANCE_PX = 1.0

NORMAL_TOLERANCE = 1e-3
"""Of a normal's length from 1, and of how far it may turn away from the camera."""

RULES: dict[str, str] = {
    "array_form": "every array has the annotator table's dtype and the camera's size; exact",
    "rgb_finite": "no pixel of a picture is NaN or infinite; exact",
    "mask_ids": "ids of a mask are those of the frame's objects, each used once; exact",
    "empty_mask": "a visible object has pixels in the mask; exact",
    "visible_area": "an object's visible pixels are those of its mask; exact",
    "mask_classes": "a pixel's class is the class of its instance; exact",
    "tight_box": "the tight box is the extent of the mask; exact",
    "loose_box": "a loose box where an object has pixels in the image, none elsewhere; exact",
    "tight_in_loose": "the tight box lies within the loose one; exact",
    "occlusion": "the occluded share is that of the hidden pixels; 1 px of area",
    "pose": "an object's pose is a finite, invertible, affine transform; exact",
    "box3d_projection": "the loose box lies within the projected 3D box; 1 px",
    "depth_positive": "a distance is above 0, or infinite where nothing was hit; exact",
    "depth_hits": "both depths and the masks see a surface in the same pixels; exact",
    "depth_planes": "depth is distance times the cosine of its ray; 1e-4 relative",
    "depth_in_box3d": "an object's points lie within its 3D box; 1e-4 of the distance",
    "normals_unit": "normals have unit length where a surface was hit, else none; 1e-3",
    "normals_facing": "normals face the camera; 1e-3 of the cosine",
    "motion_finite": "motion vectors are finite, z and w 0; exact",
    "points_project": "a point for each labelled pixel, and it projects there; 1 px",
}
"""Every rule and its tolerance."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that one object, or the whole view, breaks."""

    rule: str
    object: str
    """Name of the object; empty when the rule is about the view."""
    expected: str
    found: str
    tolerance: str

    def __str__(self) -> str:
        where = f" of {self.object}" if self.object else ""
        return (
            f"{self.rule}{where}: expected {self.expected}, found {self.found}"
            f" (tolerance: {self.tolerance})"
        )
