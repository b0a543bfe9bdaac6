"""PointInstancers: a prototype is read once and drawn at each of its instances."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from simcloud.errors import InvalidRequest
from simcloud.geometry import Float64
from simcloud.scene.semantics import own_label
from simcloud.scene.stage import drawn_prims, gf_matrix, value
from simcloud.scene.translate.gprims import frozen_mesh, read_gprim
from simcloud.scene.translate.meshes import IMPLICIT_SHAPES
from simcloud.scene.translate.normals import unit
from simcloud.scene.translate.types import Float32Array, SceneMesh

if TYPE_CHECKING:
    from simcloud.scene.translate.usd import SceneReader

IntArray = npt.NDArray[np.int64]

VERTICES_AT_ONCE = 1 << 20
"""Placed in one step: a bound on what stands in memory twice."""
MAX_LABELLED = 65_533
"""Instance ids are uint16, and 0 and 1 are taken."""


@dataclass(slots=True)
class Instances:
    """Geometry in the frame of whoever asked for it."""

    meshes: list[SceneMesh] = field(default_factory=list)
    """Their owners are keys of :attr:`labels`, or None."""
    labels: dict[str, tuple[str, Float64]] = field(default_factory=dict)
    """Labels below a prototype, once for each instance: path to label and frame."""


def instance_counts(prim: Any) -> dict[str, int]:
    """How often each prototype of an instancer is drawn, masked instances included, by path.

    Raises:
        InvalidRequest: an index is out of range.
    """
    indices, targets = _indices(prim)
    counts = np.bincount(indices, minlength=len(targets))
    return {str(target): int(count) for target, count in zip(targets, counts, strict=True) if count}


def read_instancer(
    reader: SceneReader, prim: Any, outer: Float64, inside: tuple[str, ...] = ()
) -> Instances:
    """All instances of a PointInstancer, nested ones included.

    Geometry without a label of its own below the prototype is one mesh for all instances: it
    carries the label of the instancer, or of the prims above it. A label below a prototype makes
    each instance an object of its own, ``<instancer>[<number>]``.

    Args:
        reader: the reading.
        prim: the instancer.
        outer: (4, 4) from the instancer's frame to the one asked for.
        inside: instancers that are being expanded.

    Raises:
        InvalidRequest: indices and positions do not agree, a transform is not finite, a prototype
            is missing, an instancer is its own prototype, or more instances are labelled than can
            be told apart.
    """
    path = str(prim.GetPath())
    if path in inside:
        raise InvalidRequest("scene", f"{path} is a prototype of itself")
    result = Instances()
    for target, numbers, matrices in _placements(reader, prim):
        root = reader.stage.GetPrimAtPath(target)
        if not root:
            raise InvalidRequest("scene", f"{path} names {target}, which is not there")
        prototype = _read_prototype(reader, root, (*inside, path))
        labelled = len(result.labels) + len(numbers) * len(prototype.labels)
        if labelled > MAX_LABELLED:  # before any of them is made
            raise InvalidRequest(
                "scene",
                f"{path} has {labelled} labelled instances or more; at most {MAX_LABELLED} objects "
                "can be told apart: label the instancer as one, or fewer prototypes",
            )
        placed = outer @ matrices
        for mesh in prototype.meshes:
            result.meshes += _instanced(mesh, path, numbers, placed)
        for suffix, (label, frame) in prototype.labels.items():
            for number, matrix in zip(numbers.tolist(), placed @ frame, strict=True):
                result.labels[f"{path}[{number}]{suffix}"] = (label, matrix)
    return result


def _indices(prim: Any) -> tuple[IntArray, list[Any]]:
    from pxr import UsdGeom

    instancer = UsdGeom.PointInstancer(prim)
    found = value(instancer.GetProtoIndicesAttr())
    indices = np.asarray(found if found is not None else [], dtype=np.int64)
    targets = list(instancer.GetPrototypesRel().GetForwardedTargets())
    if len(indices) and (indices.min() < 0 or indices.max() >= len(targets)):
        worst = indices.min() if indices.min() < 0 else indices.max()
        raise InvalidRequest(
            "scene",
            f"{prim.GetPath()}.protoIndices holds {worst}, there are {len(targets)} prototypes",
        )
    return indices, targets


def _placements(reader: SceneReader, prim: Any) -> list[tuple[Any, IntArray, Float64]]:
    """For each prototype: its path, numbers (N,) and matrices (N, 4, 4) of what is drawn."""
    from pxr import Usd, UsdGeom

    instancer = UsdGeom.PointInstancer(prim)
    indices, targets = _indices(prim)
    time = Usd.TimeCode.EarliestTime()
    found = instancer.ComputeInstanceTransformsAtTime(
        time, time, UsdGeom.PointInstancer.IncludeProtoXform, UsdGeom.PointInstancer.IgnoreMask
    )
    if len(found) != len(indices):
        raise InvalidRequest(
            "scene", f"{prim.GetPath()} has {len(indices)} indices and {len(found)} transforms"
        )
    if not len(indices):
        return []
    matrices = np.array(found, dtype=np.float64).reshape(-1, 4, 4).transpose(0, 2, 1)
    drawn = np.ones(len(indices), dtype=np.bool_)
    mask = instancer.ComputeMaskAtTime(time)
    if len(mask):
        drawn &= np.asarray(mask, dtype=np.bool_)
    if not np.isfinite(matrices[drawn]).all():
        raise InvalidRequest("scene", f"an instance of {prim.GetPath()} is not finite")
    flat = drawn & (determinants(matrices) == 0)
    if flat.any():
        reader.reading.warn(prim, "instances with a scale of zero are left out")
    result = []
    for index, target in enumerate(targets):
        numbers = np.flatnonzero(drawn & ~flat & (indices == index))
        if len(numbers):
            result.append((target, numbers, matrices[numbers]))
    return result


def _read_prototype(reader: SceneReader, root: Any, inside: tuple[str, ...]) -> Instances:
    """A prototype's geometry in the frame of its root; owners are suffixes of the root's path."""
    result = Instances()
    for prim in drawn_prims(root, abstract=True):
        kind = str(prim.GetTypeName())
        relative = reader.relative(prim, root)
        if kind == "Mesh" or kind in IMPLICIT_SHAPES:
            suffix = _label_below(root, prim, result, reader)
            result.meshes += read_gprim(reader, prim, relative, suffix)
        elif kind == "PointInstancer":
            suffix = _label_below(root, prim, result, reader)
            nested = read_instancer(reader, prim, relative, inside)
            above = str(root.GetPath())
            for mesh in nested.meshes:
                owner = suffix if mesh.owner is None else mesh.owner.removeprefix(above)
                result.meshes.append(replace(mesh, owner=owner))
            result.labels |= {
                path.removeprefix(above): found for path, found in nested.labels.items()
            }
        elif reader.is_light(prim):
            reader.reading.warn(prim, "lights inside instancers")
    return result


def _label_below(root: Any, prim: Any, result: Instances, reader: SceneReader) -> str | None:
    """Suffix of the nearest labelled prim from ``prim`` up to the prototype's root."""
    at = prim
    while True:
        label = own_label(at)
        if label is not None:
            suffix = str(at.GetPath()).removeprefix(str(root.GetPath()))
            result.labels[suffix] = (label, reader.relative(at, root))
            return suffix
        if at == root:
            return None
        at = at.GetParent()


def _instanced(mesh: SceneMesh, path: str, numbers: IntArray, matrices: Float64) -> list[SceneMesh]:
    """A prototype's mesh at its instances: one mesh, or one each where they are labelled."""
    if mesh.owner is None:
        return [_joined(mesh, matrices)]
    found: list[SceneMesh] = []
    step = max(1, VERTICES_AT_ONCE // len(mesh.vertices))
    mirrored = np.ascontiguousarray(mesh.faces[:, ::-1])
    for begin in range(0, len(numbers), step):
        many = slice(begin, begin + step)
        vertices, normals = _placed(mesh, matrices[many])
        turned = determinants(matrices[many]) < 0
        for number, points, directions, turn in zip(
            numbers[many].tolist(), vertices, normals, turned.tolist(), strict=True
        ):
            # rows of one array: what they have in common is kept once
            found.append(
                frozen_mesh(
                    replace(
                        mesh,
                        vertices=points,
                        normals=directions,
                        faces=mirrored if turn else mesh.faces,
                        owner=f"{path}[{number}]{mesh.owner}",
                    )
                )
            )
    return found


def _joined(mesh: SceneMesh, matrices: Float64) -> SceneMesh:
    """The mesh at each of N matrices, as one."""
    count, size = len(matrices), len(mesh.vertices)
    vertices, normals = _placed(mesh, matrices)
    turned = (determinants(matrices) < 0)[:, None, None]
    faces = np.where(turned, mesh.faces[None, :, ::-1], mesh.faces[None])
    offsets = (np.arange(count) * size).astype(np.uint32)
    return frozen_mesh(
        replace(
            mesh,
            vertices=vertices.reshape(-1, 3),
            normals=normals.reshape(-1, 3),
            uvs=np.tile(mesh.uvs, (count, 1)) if mesh.uvs is not None else None,
            faces=(faces + offsets[:, None, None]).reshape(-1, 3).astype(np.uint32),
            owner=None,
        )
    )


def _placed(mesh: SceneMesh, matrices: Float64) -> tuple[Float32Array, Float32Array]:
    """Vertices and unit normals of the mesh at each of N matrices, (N, V, 3)."""
    points = mesh.vertices.astype(np.float64)
    normals = mesh.normals.astype(np.float64)
    # columns of the inverse transpose, up to a positive factor
    a, b, c = (matrices[:, :3, column] for column in range(3))
    sign = np.sign(determinants(matrices))[:, None]
    turned = [_cross(b, c) * sign, _cross(c, a) * sign, _cross(a, b) * sign]
    moved = sum(points[None, :, i, None] * matrices[:, None, :3, i] for i in range(3))
    with np.errstate(over="ignore"):
        vertices = (moved + matrices[:, None, :3, 3]).astype(np.float32)
    directed = sum(normals[None, :, i, None] * turned[i][:, None, :] for i in range(3))
    if not np.isfinite(vertices).all():
        raise InvalidRequest("scene", f"an instance of {mesh.path} reaches beyond a float32")
    return vertices, unit(np.asarray(directed))


def determinants(matrices: Float64) -> Float64:
    """Of the upper left 3x3 of N matrices, (N,)."""
    a, b, c = (matrices[:, :3, column] for column in range(3))
    found: Float64 = (_cross(a, b) * c).sum(axis=1)
    return found


def _cross(a: Float64, b: Float64) -> Float64:
    """``np.cross`` of (N, 3), in half the time."""
    (ax, ay, az), (bx, by, bz) = a.T, b.T
    product: Float64 = np.stack((ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx), axis=1)
    return product


def relative_matrix(transforms: Any, prim: Any, ancestor: Any) -> Float64:
    """(4, 4) from a prim's frame to that of a prim above it, without either's way to the world."""
    if prim == ancestor:
        return np.eye(4)
    return gf_matrix(transforms.ComputeRelativeTransform(prim, ancestor)[0])
