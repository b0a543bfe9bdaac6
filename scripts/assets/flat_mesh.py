"""Meshes in one plane, facing up."""

from __future__ import annotations

import numpy as np
from mesh_ops import FloatArray, IndexedMesh


def flat_mesh(
    points: FloatArray, texcoords: FloatArray, faces: np.ndarray, height_m: float
) -> IndexedMesh:
    """Triangles at one height.

    Args:
        points: (V, 2) metres.
        texcoords: (V, 2), V upwards.
        faces: (T, 3) counter-clockwise seen from above.
        height_m: Z of all of them.
    """
    count = len(points)
    return IndexedMesh(
        points_m=np.column_stack([points, np.full(count, height_m)]).astype(np.float32),
        normals=np.array([[0.0, 0.0, 1.0]], np.float32),
        texcoords=texcoords.astype(np.float32),
        faces=faces.astype(np.int32),
    )
