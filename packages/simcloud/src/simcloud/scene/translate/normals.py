"""Normals for meshes that bring none."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simcloud.scene.translate.types import Float32Array


def face_normals(
    vertices: npt.NDArray[np.floating], faces: npt.NDArray[np.integer]
) -> npt.NDArray[np.float64]:
    """Area-weighted normals (F, 3): their length is twice the triangle's area."""
    corners = vertices.astype(np.float64)[faces]
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def unit(vectors: npt.NDArray[np.floating]) -> Float32Array:
    """Vectors (N, 3) scaled to length 1; those without length become +Z."""
    wide = vectors.astype(np.float64)
    length = np.sqrt((wide**2).sum(axis=-1, keepdims=True))
    result = np.where(length > 1e-20, wide / np.maximum(length, 1e-20), (0.0, 0.0, 1.0))
    return result.astype(np.float32)


def smooth_normals(
    vertices: npt.NDArray[np.floating], faces: npt.NDArray[np.integer]
) -> Float32Array:
    """Unit vertex normals (V, 3) by averaging the faces around each vertex."""
    weighted = face_normals(vertices, faces)
    total = np.zeros((len(vertices), 3))
    for corner in range(3):
        np.add.at(total, faces[:, corner], weighted)
    return unit(total)
