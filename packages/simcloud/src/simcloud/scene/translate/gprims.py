"""One gprim to neutral meshes: one for every material that its faces are bound to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from simcloud.geometry import Float64, affine_inverse, transform_points
from simcloud.scene.translate.materials import color_material
from simcloud.scene.translate.meshes import implicit_triangles, mesh_triangles
from simcloud.scene.translate.normals import face_normals, unit
from simcloud.scene.translate.primitives import Triangles
from simcloud.scene.translate.types import SceneMesh

if TYPE_CHECKING:
    from simcloud.scene.translate.usd import SceneReader


def read_gprim(
    reader: SceneReader, prim: Any, local2world: Float64, owner: str | None
) -> list[SceneMesh]:
    """The prim's triangles in the world frame, split by material.

    Raises:
        InvalidRequest: the geometry or its transform is broken.
    """
    if prim.GetTypeName() == "Mesh":
        triangles, polygons = mesh_triangles(prim, reader.warn)
    else:
        triangles = implicit_triangles(prim)
        polygons = np.arange(len(triangles.faces))
    path = str(prim.GetPath())
    placed = _placed(triangles, local2world)
    rest = np.ones(len(placed.faces), dtype=np.bool_)
    result = []
    for subset, members in _subsets(prim):
        chosen = np.isin(polygons, members) & rest
        rest &= ~chosen
        result.append((str(subset.GetPath()), chosen, _material_key(reader, subset)))
    result.append((path, rest, _material_key(reader, prim)))
    return [
        _mesh(where, placed, chosen, key, owner) for where, chosen, key in result if chosen.any()
    ]


def _placed(triangles: Triangles, local2world: Float64) -> Triangles:
    """Triangles in the world frame, in float32, without those that have no area."""
    vertices = transform_points(local2world, triangles.vertices).astype(np.float32)
    faces = triangles.faces
    linear = np.eye(4)
    linear[:3, :3] = local2world[:3, :3]
    mirrored = float(np.cross(linear[:3, 0], linear[:3, 1]) @ linear[:3, 2]) < 0
    try:
        normal_matrix = affine_inverse(linear).T
        normals = unit(transform_points(normal_matrix, triangles.normals))
    except ValueError:  # flattened along an axis: what is left has the normals of its faces
        normals = triangles.normals
    if mirrored:
        faces = faces[:, ::-1]
    solid = (face_normals(vertices, faces) ** 2).sum(axis=1) > 0
    return Triangles(
        vertices=vertices.astype(np.float64),
        normals=normals,
        uvs=triangles.uvs,
        faces=np.where(solid[:, None], faces, 0).astype(np.uint32),
    )


def _subsets(prim: Any) -> list[tuple[Any, npt.NDArray[np.int64]]]:
    """GeomSubsets of the family ``materialBind``, in the prim's order."""
    from pxr import UsdGeom, UsdShade

    if prim.GetTypeName() != "Mesh":
        return []
    subsets = UsdShade.MaterialBindingAPI(prim).GetMaterialBindSubsets()
    return [
        (subset.GetPrim(), np.asarray(subset.GetIndicesAttr().Get() or [], dtype=np.int64))
        for subset in subsets
        if str(subset.GetElementTypeAttr().Get()) == UsdGeom.Tokens.face
    ]


def _material_key(reader: SceneReader, prim: Any) -> str:
    """Key of the bound material, or of one made from the display colour."""
    from pxr import UsdShade

    bound = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()[0]
    if bound:
        return reader.material(bound.GetPrim()).path
    from pxr import UsdGeom

    primvars = UsdGeom.PrimvarsAPI(prim)
    color = _first(primvars.FindPrimvarWithInheritance("displayColor"), (0.18, 0.18, 0.18))
    opacity = _first(primvars.FindPrimvarWithInheritance("displayOpacity"), (1.0,))
    if len(color) != 3 or not np.isfinite(color).all() or not np.isfinite(opacity).all():
        reader.warn(prim, "display colour that is not a finite colour")
        color, opacity = np.full(3, 0.18), np.ones(1)
    made = color_material(
        (float(color[0]), float(color[1]), float(color[2])), float(opacity.ravel()[0])
    )
    return reader.materials.setdefault(made.path, made).path


def _first(primvar: Any, default: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """A primvar's value where it is one, else the mean of its values."""
    values = primvar.Get() if primvar and primvar.HasValue() else None
    if values is None or len(values) == 0:
        return np.asarray(default)
    array = np.asarray(values, dtype=np.float64).reshape(-1, len(default))
    mean: npt.NDArray[np.float64] = array.mean(axis=0)
    return mean


def _mesh(
    path: str,
    triangles: Triangles,
    chosen: npt.NDArray[np.bool_],
    material: str,
    owner: str | None,
) -> SceneMesh:
    faces = triangles.faces[chosen]
    faces = faces[(faces[:, 0] != faces[:, 1]) | (faces[:, 0] != faces[:, 2])]
    used, renumbered = np.unique(faces, return_inverse=True)
    mesh = SceneMesh(
        path=path,
        vertices=np.ascontiguousarray(triangles.vertices[used], dtype=np.float32),
        normals=np.ascontiguousarray(triangles.normals[used], dtype=np.float32),
        uvs=(
            np.ascontiguousarray(triangles.uvs[used], dtype=np.float32)
            if triangles.uvs is not None
            else None
        ),
        faces=renumbered.reshape(-1, 3).astype(np.uint32),
        material=material,
        owner=owner,
    )
    for array in (mesh.vertices, mesh.normals, mesh.faces, mesh.uvs):
        if array is not None:
            array.setflags(write=False)
    return mesh
