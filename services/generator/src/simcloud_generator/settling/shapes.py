"""Collision shapes: convex pieces that stand for meshes.

What falls is one hull, or one a part where a single one would fill its hollows. What is fallen upon
keeps its hollows: a convex solid is its hull; another is a thin slab under each of its flat
facets, no thicker than the solid is there; a finely curved one is cut into cells and each cell's
hull is taken.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simcloud.scene.translate.types import SceneMesh
from simcloud_generator.settling.hulls import Hull, convex_hull
from simcloud_generator.settling.surfaces import (
    Float64,
    Int64,
    Surface,
    alike,
    connected_surfaces,
    facets,
)

SLAB_M = 0.02
"""Thickness of a slab where the solid is not thinner, or the surface has no other side."""
MOST_SLABS = 256
"""A part with more facets is cut into cells."""
MOST_SURFACES = 64
"""A mesh of more connected parts, such as leaves, is cut into cells as a whole."""
MOST_PARTS = 12
"""Hulls of one falling object."""
_FILLED = 0.7
"""A falling object's parts that fill this much of its whole hull are worth no hulls of their own:
every one costs time in every step."""
_CONVEX = 0.97
"""A closed solid that fills this much of its hull counts as convex."""
_CELLS = 8
"""Cells along the longest side of a mesh with finely curved parts."""
_CELL_VERTICES = 64


def falling_shape(meshes: Sequence[SceneMesh]) -> tuple[Hull, ...]:
    """Hulls of an asset that falls, in the asset's frame."""
    whole = convex_hull(np.concatenate([_points(mesh) for mesh in meshes]))
    parts = [
        surface.vertices
        for mesh in meshes
        for surface in connected_surfaces(mesh.vertices, mesh.faces)
    ]
    if len(parts) > MOST_PARTS:
        parts = [_points(mesh) for mesh in meshes]
    if not 1 < len(parts) <= MOST_PARTS:
        return (whole,)
    hulls = tuple(convex_hull(points) for points in parts)
    if sum(hull.volume_m3 for hull in hulls) >= _FILLED * whole.volume_m3:
        return (whole,)
    return hulls


def standing_shape(meshes: Sequence[SceneMesh]) -> tuple[Float64, ...]:
    """Convex pieces of what others fall upon, each (N, 3) points in the meshes' frame."""
    found: list[Float64] = []
    for mesh in meshes:
        surfaces = connected_surfaces(mesh.vertices, mesh.faces)
        cell_m = float(np.ptp(mesh.vertices, axis=0).max()) / _CELLS
        if len(surfaces) > MOST_SURFACES:
            found += _cells(Surface(_points(mesh), mesh.faces.astype(np.int64)), cell_m)
        else:
            found += [piece for surface in surfaces for piece in _pieces(surface, cell_m)]
    return tuple(found)


def _points(mesh: SceneMesh) -> Float64:
    return mesh.vertices.astype(np.float64)


def _pieces(surface: Surface, cell_m: float) -> list[Float64]:
    closed = surface.is_closed
    if closed:
        hull = convex_hull(surface.vertices)
        if surface.volume_m3 >= _CONVEX * hull.volume_m3:
            return [hull.points]
    flat = facets(surface)
    if len(flat) > MOST_SLABS:
        return _cells(surface, cell_m)
    return [piece for faces in flat for piece in _slabs(surface, faces, closed=closed)]


def _slabs(surface: Surface, faces: Int64, *, closed: bool) -> list[Float64]:
    """A facet made solid: one slab if it is convex, else one for each of its triangles."""
    vectors = surface.area_vectors[faces]
    normal = vectors.sum(axis=0)
    normal = normal / np.sqrt((normal**2).sum())
    inward = -normal
    if not closed and normal[2] < -0.5:
        inward = normal  # a sheet is lain upon from above, whichever side it shows
    depth = min(SLAB_M, _thickness(surface, faces, inward)) if closed else SLAB_M
    area = float(np.sqrt((vectors**2).sum(axis=1)).sum()) / 2
    points = surface.vertices[np.unique(surface.faces[faces])]
    if outline_area(points, normal) <= area * (1 + 1e-3):
        outlines = [points]
    else:
        outlines = list(surface.corners[faces])
    return [np.concatenate([outline, outline + inward * depth]) for outline in outlines]


def outline_area(points: Float64, normal: Float64) -> float:
    """Area of the convex outline of points of one plane (Andrew's monotone chain)."""
    across = np.eye(3)[int(np.argmin(np.abs(normal)))]
    first = np.cross(normal, across)
    first = first / np.sqrt((first**2).sum())
    flat = np.stack([points @ first, points @ np.cross(normal, first)], axis=1)
    flat = flat[np.lexsort((flat[:, 1], flat[:, 0]))]
    outline = np.array(_chain(flat)[:-1] + _chain(flat[::-1])[:-1])
    following = np.roll(outline, -1, axis=0)
    cross = outline[:, 0] * following[:, 1] - outline[:, 1] * following[:, 0]
    return abs(float(cross.sum())) / 2


def _chain(ordered: Float64) -> list[Float64]:
    chain: list[Float64] = []
    for point in ordered:
        while len(chain) > 1 and _turn(chain[-2], chain[-1], point) <= 0:
            chain.pop()
        chain.append(point)
    return chain


def _turn(a: Float64, b: Float64, c: Float64) -> float:
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _thickness(surface: Surface, faces: Int64, inward: Float64) -> float:
    """Shortest way through the solid behind a facet, by rays (Moeller and Trumbore, 1997)."""
    corners = surface.corners[faces]
    middle = corners.mean(axis=1)
    starts = np.concatenate([middle, *(0.9 * corners[:, k] + 0.1 * middle for k in range(3))])
    others = np.setdiff1d(np.arange(len(surface.faces)), faces)
    a, b, c = (surface.corners[others, k] for k in range(3))
    edge1, edge2 = b - a, c - a
    sideways = np.cross(inward, edge2)
    determinant = (edge1 * sideways).sum(axis=1)
    facing = np.abs(determinant) > 1e-15
    inverse = 1 / np.where(facing, determinant, 1.0)
    best = np.inf
    for start in starts:
        offset = start - a
        u = (offset * sideways).sum(axis=1) * inverse
        turned = np.cross(offset, edge1)
        v = (turned @ inward) * inverse
        distance = (edge2 * turned).sum(axis=1) * inverse
        hit = facing & (u >= 0) & (v >= 0) & (u + v <= 1) & (distance > 1e-5)
        best = min(best, float(distance[hit].min(initial=np.inf)))
    return best


def _cells(surface: Surface, cell_m: float) -> list[Float64]:
    low = surface.vertices.min(axis=0)
    cell = np.floor((surface.corners.mean(axis=1) - low) / cell_m).astype(np.int64)
    _, labels = np.unique(cell, axis=0, return_inverse=True)
    return [
        convex_hull(surface.vertices[np.unique(surface.faces[faces])], _CELL_VERTICES).points
        for faces in alike(labels.reshape(-1))
    ]
