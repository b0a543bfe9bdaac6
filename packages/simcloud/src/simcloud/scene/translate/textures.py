"""Files that a stage's shaders and lights name."""

from __future__ import annotations

from typing import Any

from simcloud.scene.files import outer_path
from simcloud.scene.stage import url_advice, value
from simcloud.scene.translate.reading import Reading, TextureUse

UDIM = "<UDIM>"


def texture_path(
    prim: Any, attribute: Any, reading: Reading, *, environment: bool = False
) -> str | None:
    """Absolute path of the picture that an asset attribute names; None when it names none.

    A file that is missing, a URL, or a path that leads out of the scene is a problem of the
    reading; a set of UDIM tiles is drawn as its first tile.
    """
    asset = value(attribute)
    if asset is None or not asset.path:
        return None
    named = str(asset.path)
    if "://" in named:
        reading.problem(f"{prim.GetPath()} names the texture {named}: {url_advice(named)}")
        return None
    resolved = _first_tile(attribute, named) if UDIM in named else str(asset.resolvedPath)
    if UDIM in named:
        reading.warn(prim, "UDIM textures: the first tile is drawn everywhere")
    if not resolved or not outer_path(resolved).is_file():
        reading.problem(f"{prim.GetPath()} names the texture {named}, which is not there")
        return None
    if reading.root is not None and not outer_path(resolved).resolve().is_relative_to(reading.root):
        reading.problem(
            f"{prim.GetPath()} names the texture {named}, which lies outside {reading.root}"
        )
        return None
    use = TextureUse(path=resolved, prim=str(prim.GetPath()), environment=environment)
    reading.textures.setdefault(resolved, use)
    return resolved


def _first_tile(attribute: Any, named: str) -> str:
    from pxr import UsdShade

    stack = attribute.GetPropertyStack()
    layer = stack[0].layer if stack else attribute.GetStage().GetRootLayer()
    tiles = UsdShade.UdimUtils.ResolveUdimTilePaths(named, layer)
    return min((str(path) for path, _ in tiles), default="")
