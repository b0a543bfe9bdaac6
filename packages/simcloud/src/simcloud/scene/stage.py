"""Opening a stage, and the way from its axes and units to ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from simcloud.errors import InvalidRequest
from simcloud.geometry import Float64

LIBRARY_ROOT = "/Library"
ENVIRONMENTS_ROOT = "/Environments"
BACKGROUNDS_ROOT = "/Backgrounds"
OBJECTS_ROOT = "/World/Objects"


def open_stage(path: Path) -> Any:
    """A ``pxr.Usd.Stage`` with all payloads.

    Raises:
        InvalidRequest: there is no such file, it is no stage, or something it references is
            missing or broken.
    """
    from pxr import Tf, Usd

    if not path.is_file():
        raise InvalidRequest("scene", f"{path} is not a file; name the stage's root layer")
    try:
        stage = Usd.Stage.Open(str(path))
    except Tf.ErrorException as error:
        raise InvalidRequest("scene", f"{path} is not a stage that can be read: {error}") from error
    problems = sorted({str(error) for error in stage.GetCompositionErrors()})
    if problems:
        raise InvalidRequest("scene", f"{path} does not compose: {'; '.join(problems)}")
    return stage


def normalization(stage: Any) -> Float64:
    """(4, 4) from the stage's frame to ours: Z up, metres.

    Raises:
        InvalidRequest: the stage's unit is not positive, or its up axis is neither Y nor Z.
    """
    from pxr import UsdGeom

    unit = float(UsdGeom.GetStageMetersPerUnit(stage))
    axis = str(UsdGeom.GetStageUpAxis(stage))
    if not np.isfinite(unit) or unit <= 0:
        raise InvalidRequest("scene", f"metersPerUnit must be above 0, found {unit}")
    matrix = np.eye(4)
    match axis:
        case "Z":
            pass
        case "Y":  # rotate by +90 degrees about X: +Y becomes +Z
            matrix[1:3, 1:3] = [[0.0, -1.0], [1.0, 0.0]]
        case _:
            raise InvalidRequest("scene", f"upAxis must be Y or Z, found {axis}")
    matrix[:3, :3] *= unit
    return matrix


def gf_matrix(matrix: Any) -> Float64:
    """A ``Gf.Matrix4d`` (row vectors) as our (4, 4) for column vectors."""
    return np.array(matrix, dtype=np.float64).T


def library_prims(stage: Any) -> list[Any]:
    """The class prims below ``/Library``, ordered by name."""
    return _children(stage, LIBRARY_ROOT)


def environment_prims(stage: Any) -> list[Any]:
    """The class prims below ``/Environments``, ordered by name."""
    return _children(stage, ENVIRONMENTS_ROOT)


def background_prims(stage: Any) -> list[Any]:
    """The class prims below ``/Backgrounds``, ordered by name."""
    return _children(stage, BACKGROUNDS_ROOT)


def _children(stage: Any, root: str) -> list[Any]:
    prim = stage.GetPrimAtPath(root)
    if not prim:
        return []
    return sorted(prim.GetAllChildren(), key=lambda child: str(child.GetName()))
