"""Opening a stage, and the way from its axes and units to ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from simcloud.errors import InvalidRequest
from simcloud.geometry import Float64
from simcloud.scene.files import outer_path

LIBRARY_ROOT = "/Library"
ENVIRONMENTS_ROOT = "/Environments"
BACKGROUNDS_ROOT = "/Backgrounds"
OBJECTS_ROOT = "/World/Objects"
ROOM_ROOT = "/World/Room"
PICTURE_ATTRIBUTE = "simcloud:picture"
"""Asset-valued attribute of a class prim below ``/Backgrounds``: an 8-bit picture."""

NONSENSE = (RuntimeError, TypeError, ValueError, IndexError, OverflowError, AttributeError)
"""What pxr and numpy raise for values of another type or number than a schema has, and for files
that are broken where they are read late (``Tf.ErrorException`` is a RuntimeError)."""


def open_stage(path: Path, root: Path | None = None) -> Any:
    """A ``pxr.Usd.Stage`` with all payloads.

    Args:
        path: the root layer.
        root: folder that every layer must lie below; None: anywhere.

    Raises:
        InvalidRequest: there is no such file, it is no stage, something it references is missing,
            broken or refers to itself, or a layer lies outside ``root``.
    """
    from pxr import Tf, Usd

    if not path.is_file():
        raise InvalidRequest("scene", f"{path} is not a file; name the stage's root layer")
    try:
        stage = Usd.Stage.Open(str(path))
    except Tf.ErrorException as error:
        raise InvalidRequest(
            "scene", f"{path} is not a stage that can be read: {usd_words(error)}"
        ) from error
    problems = sorted({_composition_words(str(error)) for error in stage.GetCompositionErrors()})
    if problems:
        raise InvalidRequest("scene", f"{path} does not compose: {'; '.join(problems)}")
    if root is not None:
        _check_layers(stage, root.resolve())
    return stage


def usd_words(error: Exception) -> str:
    """USD's own words, without the places in its source that stand around them."""
    # the parser of usda ends its words, the file's line among them, with a line break
    told = re.findall(r" : '(.*)\n?'\s*$", str(error), flags=re.MULTILINE)
    return "; ".join(dict.fromkeys(told)) or " ".join(str(error).split())


def plain_words(error: Exception) -> str:
    """An error of :data:`NONSENSE` in one line."""
    return f"{type(error).__name__}: {usd_words(error)}"


def _composition_words(told: str) -> str:
    """A composition error in one line; for a path that is a URL, with what to do."""
    # the session layer's name changes from run to run and says nothing
    line = " ".join(re.sub(r",@anon:[^@]*@", "", told).split())
    url = re.search(r"@(\w+):/+([^@]*)@", line)
    if url is not None:
        return f"{line} ({url_advice(f'{url[1]}://{url[2]}')})"
    if line.startswith("Could not open asset"):
        return f"{line} (put the file there, or take out what refers to it)"
    if "<defaultPrim>" in line:
        return f"{line} (that layer names no default prim: name the prim, as in @file@</Prim>)"
    if line.startswith("Unresolved reference prim path"):
        return f"{line} (there is no such prim: correct the path, or take the reference out)"
    return line


def url_advice(url: str) -> str:
    """What to do about a URL where a file is expected."""
    if url.startswith("omniverse:"):
        return (
            "omniverse:// addresses are reached by Isaac Sim alone: copy the scene into a folder "
            "with `python -m simcloud_generator.backends.isaac.collect` or Omniverse's Collect "
            "tool, and name that"
        )
    return "URLs inside a stage are not fetched: put the file beside it and name it relatively"


def of_renderers_library(named: str) -> bool:
    """Whether a path means a material module of the renderer's own library: ``OmniPBR.mdl``.

    What Omniverse writes into nearly every stage, and what lies in no scene: MDL looks for a path
    without ``./`` below its search path, of which the modules of Kit's own are a part.
    """
    return named.endswith(".mdl") and not named.startswith((".", "/")) and ":" not in named


def _check_layers(stage: Any, root: Path) -> None:
    for layer in stage.GetUsedLayers():
        if layer.anonymous:
            continue
        where = outer_path(str(layer.realPath)).resolve()
        if not where.is_relative_to(root):
            raise InvalidRequest(
                "scene", f"the layer {layer.identifier} lies outside {root}: a scene is one folder"
            )


def value(attribute: Any) -> Any:
    """An attribute's value at the stage's earliest time: its first sample, else its default.

    A frame shows one moment; ``Get()`` alone asks for the default and finds nothing where only
    time samples are authored.
    """
    from pxr import Usd

    return attribute.Get(Usd.TimeCode.EarliestTime()) if attribute else None


def is_hidden(prim: Any) -> bool:
    """Whether a prim and all below it is left out of pictures: invisible, a guide or a proxy."""
    from pxr import UsdGeom

    if not prim.IsA(UsdGeom.Imageable):
        return False
    imageable = UsdGeom.Imageable(prim)
    if str(value(imageable.GetVisibilityAttr())) == "invisible":
        return True
    return str(imageable.ComputePurpose()) in {"guide", "proxy"}


def drawn_prims(root: Any, *, abstract: bool = False) -> Iterator[Any]:
    """The prims at and below ``root`` that pictures can show, without a frame's own objects.

    A PointInstancer is among them, what lies below it is not: that is drawn as its instances.

    Args:
        root: a ``pxr.Usd.Prim``.
        abstract: whether class prims count, as in the library.
    """
    from pxr import Usd

    predicate = Usd.PrimIsActive & Usd.PrimIsLoaded & Usd.PrimIsDefined
    if not abstract:
        predicate &= ~Usd.PrimIsAbstract
    # its iterator can prune, the range itself cannot
    prims = iter(Usd.PrimRange(root, Usd.TraverseInstanceProxies(predicate)))
    for prim in prims:
        if str(prim.GetPath()) == OBJECTS_ROOT or is_hidden(prim):
            prims.PruneChildren()
            continue
        if prim.GetTypeName() == "PointInstancer":
            prims.PruneChildren()
        yield prim


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
