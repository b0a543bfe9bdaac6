"""Triangles as connected solids and flat facets: the part of a mesh's shape that physics needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

_WELD_M = 1e-6
_COPLANAR = 1e-4
"""1 - cos of the largest angle between neighbours of one facet: 0.8 degrees."""


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """Connected triangles."""

    vertices: Float64
    """(V, 3) metres, no two alike."""
    faces: Int64
    """(F, 3), none without area."""

    @property
    def corners(self) -> Float64:
        """(F, 3, 3): face, corner, axis."""
        return self.vertices[self.faces]

    @property
    def area_vectors(self) -> Float64:
        """(F, 3): normals times twice the area."""
        corners = self.corners
        found: Float64 = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        return found

    @property
    def volume_m3(self) -> float:
        """Enclosed volume; meaningless for what is not closed."""
        corners = self.corners
        return float((corners[:, 0] * np.cross(corners[:, 1], corners[:, 2])).sum()) / 6

    @property
    def is_closed(self) -> bool:
        """Whether every edge has a face on both sides, the same way round."""
        ends = np.concatenate([self.faces[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
        width = len(self.vertices)
        there, back = ends[:, 0] * width + ends[:, 1], ends[:, 1] * width + ends[:, 0]
        return len(np.unique(there)) == len(there) and bool(np.isin(back, there).all())


def connected_surfaces(
    vertices: npt.NDArray[np.floating], faces: npt.NDArray[np.integer]
) -> list[Surface]:
    """The connected parts of a mesh, vertices at one place counted as one.

    Args:
        vertices: (V, 3) metres.
        faces: (F, 3) vertex indices.
    """
    points, welded = np.unique(
        np.round(np.asarray(vertices, dtype=np.float64) / _WELD_M), axis=0, return_inverse=True
    )
    surface = _without_slivers(points * _WELD_M, welded.reshape(-1)[np.asarray(faces, np.int64)])
    if not len(surface.faces):
        return []
    labels = components(surface.faces, len(surface.vertices))[surface.faces[:, 0]]
    return [_compact(surface.vertices, surface.faces[one]) for one in alike(labels)]


def components(links: Int64, count: int) -> Int64:
    """(count,) smallest member of each one's component.

    Args:
        links: (L, k) members that hang together.
        count: how many there are.
    """
    labels = np.arange(count)
    while True:
        before = labels.copy()
        lowest = labels[links].min(axis=1)
        for column in range(links.shape[1]):
            np.minimum.at(labels, links[:, column], lowest)
        labels = labels[labels]  # a label's own label: halves the way to the root
        if np.array_equal(before, labels):
            return labels


def facets(surface: Surface) -> list[Int64]:
    """Face indices of each flat connected part."""
    normals = surface.area_vectors
    normals = normals / np.sqrt((normals**2).sum(axis=1, keepdims=True))
    ends = np.concatenate([surface.faces[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))])
    owner = np.tile(np.arange(len(surface.faces)), 3)
    ends.sort(axis=1)
    key = ends[:, 0] * len(surface.vertices) + ends[:, 1]
    order = np.argsort(key, kind="stable")
    same = key[order][1:] == key[order][:-1]
    left, right = owner[order][:-1][same], owner[order][1:][same]
    flat = (normals[left] * normals[right]).sum(axis=1) >= 1 - _COPLANAR
    links = np.stack([left[flat], right[flat]], axis=1)
    count = len(surface.faces)
    labels = components(links, count) if len(links) else np.arange(count)
    return alike(labels)


def alike(labels: Int64) -> list[Int64]:
    """Indices of each set of equal labels, by label."""
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def _without_slivers(vertices: Float64, faces: Int64) -> Surface:
    surface = Surface(vertices=vertices, faces=faces)
    area = np.sqrt((surface.area_vectors**2).sum(axis=1))
    return Surface(vertices=vertices, faces=faces[area > _WELD_M * _WELD_M])


def _compact(vertices: Float64, faces: Int64) -> Surface:
    used, renumbered = np.unique(faces, return_inverse=True)
    return Surface(vertices=vertices[used], faces=renumbered.reshape(-1, 3))
