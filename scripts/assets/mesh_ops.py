"""Geometry operations that turn a triangle soup into a mesh a renderer likes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

CREASE_DEG = 40.0
"""Faces that meet at less than this share a smooth normal; above it the edge stays sharp."""


@dataclass(frozen=True, slots=True)
class IndexedMesh:
    """Triangles with per-vertex attributes; corners that agree in all of them share a vertex."""

    points_m: npt.NDArray[np.float32]
    """(V, 3)."""
    normals: npt.NDArray[np.float32]
    """(V, 3), unit length; (1, 3) of a mesh that is flat."""
    texcoords: npt.NDArray[np.float32] | None
    """(V, 2), V upwards."""
    faces: npt.NDArray[np.int32]
    """(T, 3)."""


def weld(points: FloatArray) -> IntArray:
    """(V,) one id per distinct position, to a hundred-thousandth of the largest extent."""
    quantum = max(float(np.ptp(points, axis=0).max()), 1e-9) * 1e-5
    _, ids = np.unique(np.round(points / quantum).astype(np.int64), axis=0, return_inverse=True)
    return ids.ravel()


def face_normals(triangles: FloatArray) -> FloatArray:
    """(T, 3) normals of (T, 3, 3) triangles, twice the area long."""
    first, second, third = triangles[:, 0], triangles[:, 1], triangles[:, 2]
    return np.cross(second - first, third - first)


def unit(vectors: FloatArray) -> FloatArray:
    """Vectors over their length along the last axis; a zero vector stays zero."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-20))


def crease_normals(triangles: FloatArray, crease_deg: float = CREASE_DEG) -> FloatArray:
    """(T, 3, 3) corner normals: area-weighted mean over the faces around the corner's position.

    Only faces within ``crease_deg`` of the corner's own count, so that flat furniture keeps its
    edges and upholstery looks round. A face that no other agrees with is flat.
    """
    weighted = face_normals(triangles)
    flat = unit(weighted)
    vertex = weld(triangles.reshape(-1, 3))
    order = np.argsort(vertex, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(vertex[order]) > 0])
    counts = np.diff(np.r_[starts, len(order)])
    start_of, count_of = np.repeat(starts, counts), np.repeat(counts, counts)
    face = order // 3
    total = np.zeros((len(order), 3))
    cosine = math.cos(math.radians(crease_deg))
    # Past 64 faces around one point the mean no longer changes visibly, and the loop is bounded.
    for step in range(min(int(counts.max()), 64)):
        other = face[np.minimum(start_of + step, len(order) - 1)]
        agrees = (step < count_of) & ((flat[other] * flat[face]).sum(1) > cosine)
        total[order] += np.where(agrees[:, None], weighted[other], 0.0)
    corners = total.reshape(-1, 3, 3)
    length = np.linalg.norm(corners, axis=2, keepdims=True)
    return np.where(length > 1e-20, unit(corners), flat[:, None, :])


def drop_degenerate(triangles: FloatArray) -> npt.NDArray[np.bool_]:
    """(T,) True for the triangles that have an area."""
    return np.asarray(np.linalg.norm(face_normals(triangles), axis=1) > 1e-12)


def simplify(triangles: FloatArray, *, keep: float) -> FloatArray:
    """(T', 3, 3) triangles by quadric edge collapse, about ``keep`` times as many.

    Needs ``fast-simplification`` (see requirements.txt), which is deterministic.
    """
    import fast_simplification  # type: ignore[import-not-found, unused-ignore]

    points = triangles.reshape(-1, 3)
    ids = weld(points)
    _, first = np.unique(ids, return_index=True)
    faces = ids.reshape(-1, 3)
    proper = (
        (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    )
    new_points, new_faces = fast_simplification.simplify(
        np.ascontiguousarray(points[first], np.float32),
        np.ascontiguousarray(faces[proper], np.int32),
        target_reduction=1.0 - keep,
    )
    corners = np.asarray(new_faces, np.int64)
    return np.asarray(np.asarray(new_points, np.float64)[corners])


def transfer_texcoords(
    triangles: FloatArray, source: FloatArray, source_texcoords: FloatArray
) -> FloatArray:
    """(T, 3, 2) for simplified triangles, continued linearly from the nearest source triangle.

    Corners are looked up from slightly inside their own triangle, so that the three corners of one
    triangle find the same chart where the source has a seam.
    """
    centre = triangles.mean(axis=1, keepdims=True)
    wanted = (triangles + 0.05 * (centre - triangles)).reshape(-1, 3).astype(np.float32)
    middles = source.mean(axis=1).astype(np.float32)
    squared = (middles**2).sum(1)
    nearest = np.empty(len(wanted), np.int64)
    for begin in range(0, len(wanted), 256):
        block = wanted[begin : begin + 256]
        nearest[begin : begin + 256] = (squared[None] - 2.0 * block @ middles.T).argmin(1)
    weights = _barycentric(triangles.reshape(-1, 3), source[nearest])
    texcoords = (weights[:, :, None] * source_texcoords[nearest]).sum(1)
    return np.asarray(texcoords.reshape(-1, 3, 2))


def _barycentric(points: FloatArray, triangles: FloatArray) -> FloatArray:
    """(N, 3) weights of each point's projection on its triangle's plane, kept within reason."""
    first, second = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    offset = points - triangles[:, 0]
    d11, d12, d22 = ((x * y).sum(1) for x, y in ((first, first), (first, second), (second, second)))
    e1, e2 = (offset * first).sum(1), (offset * second).sum(1)
    area = np.maximum(d11 * d22 - d12 * d12, 1e-24)
    v = np.clip((d22 * e1 - d12 * e2) / area, -3.0, 3.0)
    w = np.clip((d11 * e2 - d12 * e1) / area, -3.0, 3.0)
    return np.stack([1.0 - v - w, v, w], axis=1)


def index_corners(
    triangles: FloatArray, normals: FloatArray, texcoords: FloatArray | None
) -> IndexedMesh:
    """Joins corners equal to 0.01 mm, 0.01 in the normal and 1e-4 in the texture coordinates."""
    columns = [np.round(triangles.reshape(-1, 3), 5), np.round(normals.reshape(-1, 3), 2)]
    if texcoords is not None:
        columns.append(np.round(texcoords.reshape(-1, 2), 4))
    _, first, inverse = np.unique(
        np.concatenate(columns, axis=1), axis=0, return_index=True, return_inverse=True
    )
    return IndexedMesh(
        points_m=triangles.reshape(-1, 3)[first].astype(np.float32),
        normals=unit(normals.reshape(-1, 3)[first]).astype(np.float32),
        texcoords=None if texcoords is None else texcoords.reshape(-1, 2)[first].astype(np.float32),
        faces=inverse.ravel().astype(np.int32).reshape(-1, 3),
    )
