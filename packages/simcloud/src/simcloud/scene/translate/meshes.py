"""UsdGeom gprims to triangles: meshes with their subsets, and the implicit shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from simcloud.errors import InvalidRequest
from simcloud.scene.stage import value
from simcloud.scene.translate import primitives
from simcloud.scene.translate.normals import face_normals, smooth_normals, unit
from simcloud.scene.translate.primitives import Triangles
from simcloud.scene.translate.reading import Reading

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

UV_PRIMVARS = ("st", "UVMap", "st0", "uv")
"""Where texture coordinates are looked for when no material says."""

IMPLICIT_SHAPES = ("Cube", "Sphere", "Cylinder", "Cone", "Capsule", "Plane")


def implicit_triangles(prim: Any) -> Triangles:
    """Triangles of a Cube, Sphere, Cylinder, Cone, Capsule or Plane, in its own frame.

    Raises:
        InvalidRequest: a size is not above 0.
    """

    def get(name: str) -> float:
        size = float(value(prim.GetAttribute(name)))
        if not np.isfinite(size) or size <= 0:
            raise InvalidRequest("scene", f"{prim.GetPath()}.{name} must be above 0, found {size}")
        return size

    axis = str(value(prim.GetAttribute("axis")))
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
            return primitives.plane(get("width"), get("length"), axis)
    return primitives.along(axis, shape)


def mesh_triangles(
    prim: Any, reading: Reading, uv_primvars: tuple[str, ...] = ()
) -> tuple[Triangles, IntArray]:
    """Triangles of a UsdGeom.Mesh, and for each triangle the polygon that it came from.

    Args:
        prim: the mesh.
        reading: told what is drawn otherwise.
        uv_primvars: names that its materials read texture coordinates from, tried first.

    Raises:
        InvalidRequest: indices out of range, counts that do not add up, or values not finite.
    """
    from pxr import UsdGeom

    mesh = UsdGeom.Mesh(prim)
    points = _floats(prim, "points", value(mesh.GetPointsAttr()), 3)
    counts = _integers(mesh.GetFaceVertexCountsAttr())
    indices = _integers(mesh.GetFaceVertexIndicesAttr())
    _check_topology(prim, points, counts, indices)
    if not len(counts):
        reading.warn(prim, f"a mesh of {len(points)} points and no faces is left out")
        none = np.zeros((0, 3), np.float32)
        empty = Triangles(points[:0], none, None, none.astype(np.uint32))
        return empty, np.zeros(0, np.int64)
    holes = _integers(mesh.GetHoleIndicesAttr())
    corners, polygons = _fan(counts, holes)
    if value(mesh.GetOrientationAttr()) == "leftHanded":
        corners = corners[:, ::-1]
    flat = corners.reshape(-1)
    vertex = indices[flat]
    polygon = np.repeat(polygons, 3)
    primvars = UsdGeom.PrimvarsAPI(prim)
    normals = _normals(prim, mesh, primvars, (flat, vertex, polygon), reading)
    smooth = str(value(mesh.GetSubdivisionSchemeAttr())) != "none"
    if normals is None:
        normals = _made_normals(points, vertex.reshape(-1, 3), smooth)
        if smooth:
            reading.warn(
                prim, "subdivision surfaces are drawn as their control mesh with smooth normals"
            )
    uvs = _uvs(prim, primvars, (flat, vertex, polygon), reading, uv_primvars)
    return _weld(points[vertex], unit(normals), uvs), polygons


def _integers(attribute: Any) -> IntArray:
    found = value(attribute)
    return np.asarray(found if found is not None else [], dtype=np.int64)


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
    if len(indices) and not len(points):
        raise InvalidRequest(
            "scene",
            f"{prim.GetPath()} has {len(counts)} faces and no points: export it again with its "
            "points, or take it out",
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
    reading: Reading,
) -> Float64Array | None:
    primvar = primvars.GetPrimvar("normals")
    if primvar and primvar.HasValue():
        values, interpolation = _flattened(primvar), str(primvar.GetInterpolation())
    else:
        values, interpolation = value(mesh.GetNormalsAttr()), str(mesh.GetNormalsInterpolation())
    if values is None or len(values) == 0:
        return None
    normals = _corner_values(
        prim, "normals", _floats(prim, "normals", values, 3), interpolation, corner
    )
    length = np.sqrt((normals**2).sum(axis=1))
    if len(length) and length.min() < 1e-8:
        reading.warn(prim, "normals without length were replaced")
        return None
    return normals


def _made_normals(points: Float64Array, faces: IntArray, smooth: bool) -> Float64Array:
    """Normals (3F, 3) of triangle corners: of the faces, or averaged around each vertex."""
    if smooth:
        return smooth_normals(points, faces)[faces.reshape(-1)].astype(np.float64)
    return np.repeat(face_normals(points, faces), 3, axis=0)


def _flattened(primvar: Any) -> Any:
    """A primvar's values with its indices applied.

    Raises:
        InvalidRequest: an index is out of range.
    """
    from pxr import Usd

    time = Usd.TimeCode.EarliestTime()
    indices = primvar.GetIndices(time) if primvar.IsIndexed() else None
    values = primvar.Get(time)
    if indices is None or values is None or len(indices) == 0:
        return primvar.ComputeFlattened(time)
    numbers = np.asarray(indices)
    if numbers.min() < 0 or numbers.max() >= len(values):
        worst = numbers.min() if numbers.min() < 0 else numbers.max()
        raise InvalidRequest(
            "scene",
            f"{primvar.GetAttr().GetPath()} holds the index {worst}, out of range for"
            f" {len(values)} values",
        )
    return primvar.ComputeFlattened(time)


def _uvs(
    prim: Any,
    primvars: Any,
    corner: tuple[IntArray, IntArray, IntArray],
    reading: Reading,
    wanted: tuple[str, ...],
) -> Float64Array | None:
    names = dict.fromkeys((*wanted, *UV_PRIMVARS))
    named = [primvars.FindPrimvarWithInheritance(name) for name in names]
    primvar = next((item for item in named if item and item.HasValue()), None)
    if primvar is None:
        return None
    name, values = str(primvar.GetPrimvarName()), np.asarray(_flattened(primvar))
    if wanted and name not in wanted:
        reading.warn(prim, f"texture coordinates {wanted[0]} are not there, {name} are drawn")
    if len(wanted) > 1:
        reading.warn(prim, f"materials of one mesh read several coordinates, {name} are drawn")
    if values.ndim != 2 or values.shape[1] != 2:
        reading.warn(prim, f"texture coordinates {name} are not pairs")
        return None
    values = _floats(prim, name, values, 2)
    return _corner_values(prim, name, values, str(primvar.GetInterpolation()), corner)


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
