"""Tinted copies of materials: what ``PlacedObject.tint_rgb`` means, written as USD."""

from __future__ import annotations

from typing import Any

from simcloud.scene.translate.types import LOOK_PREFIX, Material
from simcloud.spec.parameters import Vector3
from simcloud_generator.backends.isaac.authoring import define, over, put


def author_tinted(
    stage: Any, layer: Any, path: str, material: Material, tint: Vector3
) -> str | None:
    """Writes a copy of a material whose base colour is multiplied by a tint.

    The copy refers to the original inside of the same stage and overrides one value: the base
    colour, the scale and bias of the texture that feeds it, or OmniPBR's own tint.

    Args:
        stage: where the original is.
        layer: to write into.
        path: of the copy.
        material: the original; one made from a display colour is written out.
        tint: linear factor.

    Returns:
        None, or what could not be tinted.
    """
    from pxr import Sdf, UsdShade

    if material.path.startswith(LOOK_PREFIX):
        _plain_surface(layer, path, material, tint)
        return None
    original = stage.GetPrimAtPath(material.path)
    spec = define(layer, path, "Material")
    spec.referenceList.Prepend(Sdf.Reference("", material.path))
    found = UsdShade.Material(original)
    shader = found.ComputeSurfaceSource("")[0] or found.ComputeSurfaceSource("mdl")[0]
    if not shader:
        return "a material without a surface shader cannot be tinted"
    copy = _copied(shader.GetPrim(), material.path, path)
    if str(shader.GetSourceAssetSubIdentifier("mdl")).startswith("OmniPBR"):
        own = shader.GetInput("diffuse_tint").Get() if shader.GetInput("diffuse_tint") else None
        _put_color(over(layer, copy), "inputs:diffuse_tint", own or (1, 1, 1), tint)
        return None
    if str(shader.GetIdAttr().Get()) != "UsdPreviewSurface":
        return f"shader {shader.GetIdAttr().Get() or 'of unknown kind'} cannot be tinted"
    return _tint_preview(layer, shader, (material.path, path), tint)


def _tint_preview(layer: Any, shader: Any, paths: tuple[str, str], tint: Vector3) -> str | None:
    from pxr import Gf, Sdf, UsdShade

    base = shader.GetInput("diffuseColor")
    sources = base.GetValueProducingAttributes() if base else []
    if not sources or not UsdShade.Output.IsOutput(sources[0]):
        value = sources[0].Get() if sources else (0.18, 0.18, 0.18)  # the schema's default
        copy = _copied(shader.GetPrim(), *paths)
        _put_color(over(layer, copy), "inputs:diffuseColor", value, tint)
        return None
    texture = UsdShade.Shader(sources[0].GetPrim())
    if str(texture.GetIdAttr().Get()) != "UsdUVTexture":
        return f"{texture.GetIdAttr().Get()} in the base colour cannot be tinted"
    spec = over(layer, _copied(texture.GetPrim(), *paths))
    for name, default in (("scale", 1.0), ("bias", 0.0)):
        own = texture.GetInput(name).Get() if texture.GetInput(name) else None
        values = [float(v) for v in own] if own is not None else [default] * 4
        tinted = [a * b for a, b in zip(values[:3], tint, strict=True)]
        put(spec, f"inputs:{name}", Sdf.ValueTypeNames.Float4, Gf.Vec4f(*tinted, values[3]))
    return None


def _plain_surface(layer: Any, path: str, material: Material, tint: Vector3) -> None:
    """A UsdPreviewSurface of plain values, as the display colour of a prim is read."""
    from pxr import Sdf

    spec = define(layer, path, "Material")
    shader = define(layer, f"{path}/Surface", "Shader")
    put(shader, "info:id", Sdf.ValueTypeNames.Token, "UsdPreviewSurface")
    _put_color(shader, "inputs:diffuseColor", material.base_color, tint)
    put(shader, "inputs:roughness", Sdf.ValueTypeNames.Float, material.roughness)
    put(shader, "inputs:opacity", Sdf.ValueTypeNames.Float, material.opacity)
    output = Sdf.AttributeSpec(shader, "outputs:surface", Sdf.ValueTypeNames.Token)
    surface = Sdf.AttributeSpec(spec, "outputs:surface", Sdf.ValueTypeNames.Token)
    surface.connectionPathList.explicitItems = [output.path]


def _put_color(spec: Any, name: str, value: Any, tint: Vector3) -> None:
    from pxr import Gf, Sdf

    color = Gf.Vec3f(*(float(v) * t for v, t in zip(value, tint, strict=True)))
    put(spec, name, Sdf.ValueTypeNames.Color3f, color)


def _copied(prim: Any, original: str, copy: str) -> str:
    """Where a prim below the original material is, below its copy."""
    return copy + str(prim.GetPath()).removeprefix(original)
