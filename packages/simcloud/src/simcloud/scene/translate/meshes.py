"""UsdGeom gprims to triangles: meshes with their subsets, and the implicit shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from simcloud.errors import InvalidRequest
from simcloud.scene.translate import primitives
from simcloud.scene.translate.normals import face_normals, smooth_normals, unit
from simcloud.scene.translate.primitives import Triangles

Warn = Callable[[Any, str], None]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

IMPLICIT_SHAPES = ("Cube", "Sphere", "Cylinder", "Cone", "Capsule", "Plane")


def implicit_triangles(prim: Any) -> Triangles:
    """Triangles of a Cube, Sphere, Cylinder, Cone, Capsule or Plane, in its own frame."""

    def get(name: str) -> Any:
        return prim.GetAttribute(name).Get()

    match str(prim.GetTypeName()):
        case "Cube":
            return primitives.cube(get("size"))
        case "Sphere":
            return primitives.sphere(get("radius"))
        case "Cylinder":
            shape = primitives.cylinder(get("radius"), get("height"))
        case "Cone":
            shape = primitives.cone(get("radius"), get("height"))
        case "Capsule":
            shape = primitives.capsule(get("radius"), get("height"))
        case _:
            return primitives.plane(get("width"), get("length"), str(get("axis")))
    return primitives.along(str(get("axis")), shape)


def mesh_triangles(prim: Any, warn: Warn) -> tuple[Triangles, IntArray]:
    """Triangles of a UsdGeom.Mesh, and for each triangle the polygon that it came from.

    Raises:
        InvalidRequest: indices out of range, counts that do not add up, or values not finite.
    """
    from pxr import UsdGeom

    mesh = UsdGeom.Mesh(prim)
    points = _floats(prim, "points", mesh.GetPointsAttr().Get(), 3)
    counts = np.asarray(mesh.GetFaceVertexCountsAttr().Get() or [], dtype=np.int64)
    indices = np.asarray(mesh.GetFaceVertexIndicesAttr().Get() or [], dtype=np.int64)
    _check_topology(prim, points, counts, indices)
    holes = np.asarray(mesh.GetHoleIndicesAttr().Get() or [], dtype=np.int64)
    corners, polygons = _fan(counts, holes)
    if mesh.GetOrientationAttr().Get() == "leftHanded":
        corners = corners[:, ::-1]
    flat = corners.reshape(-1)
    vertex = indices[flat]
    polygon = np.repeat(polygons, 3)
    primvars = UsdGeom.PrimvarsAPI(prim)
    normals = _normals(prim, mesh, primvars, (flat, vertex, polygon), warn)
    smooth = str(mesh.GetSubdivisionSchemeAttr().Get()) != "none"
    if normals is None:
        normals = _made_normals(points, vertex.reshape(-1, 3), smooth)
        if smooth:
            warn(prim, "subdivision surfaces are drawn as their control mesh with smooth normals")
    uvs = _uvs(prim, primvars, (flat, vertex, polygon), warn)
    return _weld(points[vertex], unit(normals), uvs), polygons


def _floats(prim: Any, name: str, value: Any, width: int) -> Float64Array:
    array = np.asarray(value if value is not None else [], dtype=np.float64).reshape(-1, width)
    if not np.isfinite(array).all():
        raise InvalidRequest("scene", f"{prim.GetPath()}.{name} holds values that are not finite")
    return array


def _check_topology(prim: Any, points: Float64Array, counts: IntArray, indices: IntArray) -> None:
    where = f"{prim.GetPath()}.faceVertexIndices"
    if len(counts) and counts.min() < 3:
        raise InvalidRequest("scene", f"{prim.GetPath()} has a face of {counts.min()} vertices")
    if counts.sum() != len(indices):
        raise InvalidRequest(
            "scene", f"{where} holds {len(indices)} indices, its counts ask for {counts.sum()}"
        )
    if len(indices) and (indices.min() < 0 or indices.max() >= len(points)):
        worst = indices.max() if indices.max() >= len(points) else indices.min()
        raise InvalidRequest(
            "scene", f"{where} holds {worst}, out of range for {len(points)} points"
        )


def _fan(counts: IntArray, holes: IntArray) -> tuple[IntArray, IntArray]:
    """Fans of triangles: face-vertex numbers (T, 3) and polygon numbers (T,)."""
    starts = np.cumsum(counts) - counts
    triangles = np.maximum(counts - 2, 0)
    if len(holes):
        triangles[holes[(holes >= 0) & (holes < len(counts))]] = 0
    polygons = np.repeat(np.arange(len(counts)), triangles)
    step = np.arange(len(polygons)) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    first = starts[polygons]
    return np.stack([first, first + step + 1, first + step + 2], axis=1), polygons


def _corner_values(
    prim: Any,
    name: str,
    values: Float64Array,
    interpolation: str,
    corner: tuple[IntArray, IntArray, IntArray],
) -> Float64Array:
    """A primvar's value at each triangle corner."""
    flat, vertex, polygon = corner
    match interpolation:
        case "faceVarying":
            index = flat
        case "vertex" | "varying":
            index = vertex
        case "uniform":
            index = polygon
        case _:
            index = np.zeros_like(flat)
    if len(index) and (len(values) == 0 or index.max() >= len(values)):
        raise InvalidRequest(
            "scene",
            f"{prim.GetPath()}.{name} holds {len(values)} values, too few for {interpolation}",
        )
    return values[index]


def _normals(
    prim: Any,
    mesh: Any,
    primvars: Any,
    corner: tuple[IntArray, IntArray, IntArray],
    warn: Warn,
) -> Float64Array | None:
    primvar = primvars.GetPrimvar("normals")
    if primvar and primvar.HasValue():
        values, interpolation = primvar.ComputeFlattened(), str(primvar.GetInterpolation())
    else:
        values, interpolation = mesh.GetNormalsAttr().Get(), str(mesh.GetNormalsInterpolation())
    if values is None or len(values) == 0:
        return None
    normals = _corner_values(
        prim, "normals", _floats(prim, "normals", values, 3), interpolation, corner
    )
    length = np.sqrt((normals**2).sum(axis=1))
    if len(length) and length.min() < 1e-8:
        warn(prim, "normals without length were replaced")
        return None
    return normals


def _made_normals(points: Float64Array, faces: IntArray, smooth: bool) -> Float64Array:
    """Normals (3F, 3) of triangle corners: of the faces, or averaged around each vertex."""
    if smooth:
        return smooth_normals(points, faces)[faces.reshape(-1)].astype(np.float64)
    return np.repeat(face_normals(points, faces), 3, axis=0)


def _uvs(
    prim: Any, primvars: Any, corner: tuple[IntArray, IntArray, IntArray], warn: Warn
) -> Float64Array | None:
    named = [primvars.FindPrimvarWithInheritance(name) for name in ("st", "UVMap", "st0", "uv")]
    primvar = next((item for item in named if item and item.HasValue()), None)
    if primvar is None:
        return None
    values = np.asarray(primvar.ComputeFlattened(), dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != 2:
        warn(prim, f"texture coordinates {primvar.GetName()} are not pairs")
        return None
    values = _floats(prim, str(primvar.GetName()), values, 2)
    return _corner_values(
        prim, str(primvar.GetName()), values, str(primvar.GetInterpolation()), corner
    )


def _weld(positions: Float64Array, normals: Any, uvs: Float64Array | None) -> Triangles:
    """Corners that agree in position, normal and uv become one vertex."""
    columns = [positions.astype(np.float32), normals.astype(np.float32)]
    if uvs is not None:
        columns.append(uvs.astype(np.float32))
    rows = np.ascontiguousarray(np.concatenate(columns, axis=1))
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return Triangles(
        vertices=positions[first],
        normals=normals[first],
        uvs=uvs[first] if uvs is not None else None,
        faces=inverse.reshape(-1, 3).astype(np.uint32),
    )
