"""PointInstancers: every instance becomes geometry of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from simcloud.errors import InvalidRequest
from simcloud.geometry import affine_inverse
from simcloud.scene.stage import gf_matrix

if TYPE_CHECKING:
    from simcloud.scene.translate.usd import SceneReader


def expand_instancer(reader: SceneReader, prim: Any) -> None:
    """Reads the prototypes once for each instance, at the instance's transform.

    Instances carry the label of the instancer or of the prims above it, one instance id for all:
    labels inside a prototype would give every instance the same path.

    Raises:
        InvalidRequest: indices and positions do not agree, or a transform is not finite.
    """
    from pxr import Usd, UsdGeom

    instancer = UsdGeom.PointInstancer(prim)
    indices = np.asarray(instancer.GetProtoIndicesAttr().Get() or [], dtype=np.int64)
    targets = instancer.GetPrototypesRel().GetForwardedTargets()
    if len(indices) and (indices.min() < 0 or indices.max() >= len(targets)):
        raise InvalidRequest(
            "scene",
            f"{prim.GetPath()}.protoIndices holds {indices.max()}, there are {len(targets)}"
            " prototypes",
        )
    time = Usd.TimeCode.EarliestTime()
    matrices = instancer.ComputeInstanceTransformsAtTime(
        time, time, UsdGeom.PointInstancer.IncludeProtoXform, UsdGeom.PointInstancer.IgnoreMask
    )
    if len(matrices) != len(indices):
        raise InvalidRequest(
            "scene", f"{prim.GetPath()} has {len(indices)} indices and {len(matrices)} transforms"
        )
    mask = instancer.ComputeMaskAtTime(time)
    outer = reader.local2world(prim)
    for number, (index, matrix) in enumerate(zip(indices, matrices, strict=True)):
        if len(mask) and not mask[number]:
            continue
        _read_prototype(reader, prim, targets[index], outer @ gf_matrix(matrix))


def _read_prototype(reader: SceneReader, instancer: Any, target: Any, instance: Any) -> None:
    """Reads the gprims of one prototype with the prototype's root at ``instance``."""
    from pxr import Usd

    from simcloud.scene.semantics import nearest_label
    from simcloud.scene.translate.gprims import read_gprim
    from simcloud.scene.translate.meshes import IMPLICIT_SHAPES

    if not np.isfinite(instance).all():
        raise InvalidRequest("scene", f"an instance of {instancer.GetPath()} is not finite")
    root = reader.stage.GetPrimAtPath(target)
    if not root:
        raise InvalidRequest("scene", f"{instancer.GetPath()} names {target}, which is not there")
    found = nearest_label(instancer)
    owner = str(found[0].GetPath()) if found is not None else None
    to_root = affine_inverse(reader.local2world(root))
    predicate = Usd.PrimIsActive & Usd.PrimIsLoaded & Usd.PrimIsDefined
    for prim in Usd.PrimRange(root, Usd.TraverseInstanceProxies(predicate)):
        kind = str(prim.GetTypeName())
        if kind == "Mesh" or kind in IMPLICIT_SHAPES:
            placed = instance @ to_root @ reader.local2world(prim)
            reader.content.meshes += read_gprim(reader, prim, placed, owner)
        elif kind == "PointInstancer":
            reader.warn(prim, "instancers inside instancers")
