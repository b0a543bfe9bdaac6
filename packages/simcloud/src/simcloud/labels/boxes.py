"""2D and 3D boxes: how they relate to each other and to the image."""

from __future__ import annotations

from simcloud.geometry import BOX_EDGES, box_corners, matrix4, projected_extent, transform_points
from simcloud.labels.objects import Box2D
from simcloud.spec.parameters import CameraView, Matrix4, Vector3

Extent = tuple[float, float, float, float]
"""``(x_min, y_min, x_max, y_max)`` in continuous pixels, not clipped to the image."""


def box3d_extent(
    camera: CameraView, minimum: Vector3, maximum: Vector3, local2world: Matrix4
) -> Extent | None:
    """Bounds of a 3D box's picture, not clipped to the image; None when it is behind the camera."""
    corners = transform_points(matrix4(local2world), box_corners(minimum, maximum))
    return projected_extent(camera, corners, BOX_EDGES)


def box_area(box: Box2D | Extent) -> float:
    """Area in square pixels."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def contains(outer: Box2D | Extent, inner: Box2D | Extent, slack: float = 0.0) -> bool:
    """Whether ``inner`` lies within ``outer`` grown by ``slack`` pixels on each side."""
    return (
        inner[0] >= outer[0] - slack
        and inner[1] >= outer[1] - slack
        and inner[2] <= outer[2] + slack
        and inner[3] <= outer[3] + slack
    )


def box_iou(first: Box2D | Extent, second: Box2D | Extent) -> float:
    """Intersection over union of two boxes; 0 when both are empty."""
    overlap = box_area(
        (
            max(first[0], second[0]),
            max(first[1], second[1]),
            min(first[2], second[2]),
            min(first[3], second[3]),
        )
    )
    union = box_area(first) + box_area(second) - overlap
    return overlap / union if union > 0 else 0.0
