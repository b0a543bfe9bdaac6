"""Convex hulls of points, by MuJoCo's own hull code, with few vertices and a stated error."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from simcloud_generator.settling.surfaces import Float64, Int64

HULL_ERROR_M = 0.001
"""How far a point may stick out of the hull that stands for it."""
MOST_VERTICES = 256
_LEAST_VERTICES = 64
_DENSITY = 1e9
"""MuJoCo refuses bodies whose inertia is below 1e-15: this carries shapes of a millimetre."""
_THICKNESS_M = 0.002
"""What is flatter gets this thickness: a hull needs a volume."""


@dataclass(frozen=True, slots=True, eq=False)
class Hull:
    """A convex solid."""

    points: Float64
    """(N, 3) its corners, metres."""
    volume_m3: float
    centre_m: Float64
    """(3,) centre of its mass."""


def convex_hull(points: Float64, most_vertices: int = MOST_VERTICES) -> Hull:
    """The hull of some points with as few corners as keep every point within the error.

    Args:
        points: (N, 3) metres, at least one.
        most_vertices: more corners than these are never taken, whatever the error.
    """
    points = _thickened(np.unique(points, axis=0))
    limit = _LEAST_VERTICES
    while True:
        hull, faces = _compiled(points, limit)
        if len(hull.points) < limit or limit >= most_vertices:
            return hull
        if _outside(points, hull.points, faces) <= HULL_ERROR_M:
            return hull
        limit *= 2


def _thickened(points: Float64) -> Float64:
    """Points that span a volume: flat ones on both sides of their plane."""
    centred = points - points.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    extent = np.ptp(centred @ axes, axis=0)
    for axis in np.flatnonzero(extent < _THICKNESS_M):
        offset = axes[:, axis] * (_THICKNESS_M / 2)
        points = np.concatenate([points - offset, points + offset])
    return points


def _compiled(points: Float64, limit: int) -> tuple[Hull, Int64]:
    spec = mujoco.MjSpec()
    mesh = spec.add_mesh()
    mesh.name = "hull"
    mesh.uservert = points.ravel().tolist()
    mesh.maxhullvert = limit
    mesh.inertia = mujoco.mjtMeshInertia.mjMESH_INERTIA_CONVEX
    body = spec.worldbody.add_body()
    body.add_freejoint()
    geom = body.add_geom()
    geom.type = mujoco.mjtGeom.mjGEOM_MESH
    geom.meshname = "hull"
    geom.density = _DENSITY
    model = spec.compile()
    # mesh_graph: vertices, faces, then edge addresses, vertex ids and edges (mjModel's reference)
    graph = model.mesh_graph[model.mesh_graphadr[0] :]
    vertices, triangles = int(graph[0]), int(graph[1])
    ids = graph[2 + vertices : 2 + 2 * vertices].astype(np.int64)
    faces = graph[2 + 3 * vertices + 3 * triangles :][: 3 * triangles].reshape(-1, 3)
    turn = np.empty(9)
    mujoco.mju_quat2Mat(turn, model.mesh_quat[0])
    placed = model.mesh_vert.astype(np.float64) @ turn.reshape(3, 3).T + model.mesh_pos[0]
    number = np.zeros(len(placed), dtype=np.int64)
    number[ids] = np.arange(vertices)
    hull = Hull(
        points=placed[ids],
        volume_m3=float(model.body_mass[1]) / _DENSITY,
        centre_m=model.body_ipos[1].copy(),
    )
    return hull, number[faces]


def _outside(points: Float64, corners: Float64, faces: Int64) -> float:
    """How far the farthest point lies beyond a face of the hull."""
    a, b, c = (corners[faces[:, index]] for index in range(3))
    normals = np.cross(b - a, c - a)
    length = np.sqrt((normals**2).sum(axis=1))
    normals, a = normals[length > 0] / length[length > 0, None], a[length > 0]
    middle = corners.mean(axis=0)
    inward = ((middle - a) * normals).sum(axis=1) > 0
    normals[inward] = -normals[inward]
    beyond = points @ normals.T - (a * normals).sum(axis=1)
    return float(beyond.max())
