"""One gprim to neutral meshes: one for every material that its faces are bound to."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from simcloud.errors import InvalidRequest
from simcloud.geometry import Float64, affine_inverse, transform_points
from simcloud.scene.stage import value
from simcloud.scene.translate.lights import mesh_light_radiance
from simcloud.scene.translate.materials import color_material
from simcloud.scene.translate.meshes import implicit_triangles, mesh_triangles
from simcloud.scene.translate.normals import face_normals, unit
from simcloud.scene.translate.primitives import Triangles
from simcloud.scene.translate.types import Material, SceneMesh

if TYPE_CHECKING:
    from simcloud.scene.translate.usd import SceneReader

BoolArray = npt.NDArray[np.bool_]
_MATERIAL_PURPOSES = ("full", "preview")
"""Asked in this order; both fall back to the binding for all purposes."""


def read_gprim(
    reader: SceneReader, prim: Any, local2world: Float64, owner: str | None
) -> list[SceneMesh]:
    """The prim's triangles in the world frame, split by material.

    Raises:
        InvalidRequest: the geometry or its transform is broken.
    """
    subsets = _subsets(prim)
    wanted = [_bound(reader, part) for part in (*(item for item, _ in subsets), prim)]
    names = tuple(dict.fromkeys(m.uv_primvar for m in wanted if m is not None and m.uv_primvar))
    if prim.GetTypeName() == "Mesh":
        triangles, polygons = mesh_triangles(prim, reader.reading, names)
        if subsets:
            _check_subsets(reader, subsets, len(value(prim.GetAttribute("faceVertexCounts")) or []))
    else:
        triangles = implicit_triangles(prim)
        polygons = np.arange(len(triangles.faces))
    path = str(prim.GetPath())
    placed, area_m2 = _placed(path, triangles, local2world)
    if len(placed.faces) and area_m2 == 0:
        reader.reading.warn(prim, "geometry without area is left out")
    rest = np.ones(len(placed.faces), dtype=np.bool_)
    chosen_by: list[tuple[str, BoolArray, Material | None]] = []
    for (subset, members), material in zip(subsets, wanted, strict=False):
        chosen = np.isin(polygons, members) & rest
        rest &= ~chosen
        chosen_by.append((str(subset.GetPath()), chosen, material))
    chosen_by.append((path, rest, wanted[-1]))
    glow = mesh_light_radiance(prim, area_m2, reader.reading)
    result = []
    for where, chosen, material in chosen_by:
        if chosen.any():
            key = _material_key(reader, prim, material, glow)
            result.append(_mesh(where, placed, chosen, key, owner))
    return [mesh for mesh in result if len(mesh.faces)]


def _placed(path: str, triangles: Triangles, local2world: Float64) -> tuple[Triangles, float]:
    """Triangles in the world frame, in float32; those without area are points. And the area."""
    with np.errstate(over="ignore"):
        vertices = transform_points(local2world, triangles.vertices).astype(np.float32)
    if not np.isfinite(vertices).all():
        raise InvalidRequest("scene", f"{path} reaches beyond what a float32 can hold")
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
    doubled = np.sqrt((face_normals(vertices, faces) ** 2).sum(axis=1))
    return Triangles(
        vertices=vertices.astype(np.float64),
        normals=normals,
        uvs=triangles.uvs,
        faces=np.where(doubled[:, None] > 0, faces, 0).astype(np.uint32),
    ), float(doubled.sum()) / 2


def _subsets(prim: Any) -> list[tuple[Any, npt.NDArray[np.int64]]]:
    """GeomSubsets of the family ``materialBind``, in the prim's order."""
    from pxr import UsdGeom, UsdShade

    if prim.GetTypeName() != "Mesh":
        return []
    subsets = UsdShade.MaterialBindingAPI(prim).GetMaterialBindSubsets()
    return [
        (subset.GetPrim(), np.asarray(value(subset.GetIndicesAttr()) or [], dtype=np.int64))
        for subset in subsets
        if str(value(subset.GetElementTypeAttr())) == UsdGeom.Tokens.face
    ]


def _check_subsets(
    reader: SceneReader, subsets: list[tuple[Any, npt.NDArray[np.int64]]], faces: int
) -> None:
    """Names subsets whose faces the mesh does not have: they are left out."""
    for subset, members in subsets:
        wrong = members[(members < 0) | (members >= faces)]
        if len(wrong):
            reader.reading.warn(
                subset, f"indices of faces that the mesh of {faces} has not, such as {wrong[0]}"
            )


def _bound(reader: SceneReader, prim: Any) -> Material | None:
    from pxr import UsdShade

    for purpose in _MATERIAL_PURPOSES:
        bound, binding = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial(purpose)
        if bound:
            return reader.material(bound.GetPrim())
        if binding and (targets := binding.GetTargets()):
            reader.reading.warn(
                prim, f"its material {targets[0]} is not there: drawn in its display colour"
            )
    return None


def _material_key(
    reader: SceneReader, prim: Any, bound: Material | None, glow: tuple[float, float, float] | None
) -> str:
    """Key of the bound material, or of one made from the display colour; with what it emits."""
    material = bound or _display_material(reader, prim)
    if glow is not None:
        lit = ",".join(f"{part:.6g}" for part in glow)
        material = replace(material, path=f"{material.path}|light:{lit}", emissive=glow)
    return reader.materials.setdefault(material.path, material).path


def _display_material(reader: SceneReader, prim: Any) -> Material:
    from pxr import UsdGeom

    primvars = UsdGeom.PrimvarsAPI(prim)
    color = _mean(reader, prim, primvars, "displayColor", (0.18, 0.18, 0.18))
    opacity = _mean(reader, prim, primvars, "displayOpacity", (1.0,))
    return color_material((float(color[0]), float(color[1]), float(color[2])), float(opacity[0]))


def _mean(
    reader: SceneReader, prim: Any, primvars: Any, name: str, default: tuple[float, ...]
) -> npt.NDArray[np.float64]:
    """A primvar's value where it is one, else the mean of its values."""
    primvar = primvars.FindPrimvarWithInheritance(name)
    values = value(primvar) if primvar and primvar.HasValue() else None
    if values is None or len(values) == 0:
        return np.asarray(default)
    array = np.asarray(values, dtype=np.float64).reshape(-1, len(default))
    if not np.isfinite(array).all():
        reader.reading.warn(prim, f"{name} that is not finite")
        return np.asarray(default)
    if (array != array[0]).any():
        reader.reading.warn(prim, f"{name} that varies is drawn as its mean")
    mean: npt.NDArray[np.float64] = array.mean(axis=0)
    return mean


def _mesh(
    path: str, triangles: Triangles, chosen: BoolArray, material: str, owner: str | None
) -> SceneMesh:
    faces = triangles.faces[chosen]
    faces = faces[(faces[:, 0] != faces[:, 1]) | (faces[:, 0] != faces[:, 2])]
    used, renumbered = np.unique(faces, return_inverse=True)
    return frozen_mesh(
        SceneMesh(
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
    )


def frozen_mesh(mesh: SceneMesh) -> SceneMesh:
    """The mesh, its arrays made read-only."""
    for array in (mesh.vertices, mesh.normals, mesh.faces, mesh.uvs):
        if array is not None:
            array.setflags(write=False)
    return mesh
