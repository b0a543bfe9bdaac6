"""Materials as a frame changes them, written as USD: copies with a few inputs of their own."""

from __future__ import annotations

from typing import Any

from simcloud.scene.translate.types import LOOK_PREFIX, Material
from simcloud.spec.parameters import Vector3
from simcloud_generator.backends.frame_materials import Part
from simcloud_generator.backends.isaac.authoring import define, over, put

_WHITE: Vector3 = (1.0, 1.0, 1.0)
_SHARES = {
    "roughness": ("reflection_roughness_constant", "reflection_roughness_texture_influence"),
    "metallic": ("metallic_constant", "metallic_texture_influence"),
}
"""What OmniPBR calls them, and the share of the texture in each."""


def differs(part: Part) -> bool:
    """Whether a part looks otherwise than its material says."""
    return part.tint_rgb is not None or part.material.base is not None


def author_look(
    stage: Any, layer: Any, path: str, material: Material, tint: Vector3 | None
) -> list[str]:
    """Writes a copy of a material as a frame changes it.

    The copy refers to the original inside of the same stage and overrides inputs: base colour,
    its texture, roughness, metallic, the scale and bias of a texture, or OmniPBR's own tint.

    Args:
        stage: where the original is.
        layer: to write into.
        path: of the copy.
        material: the original, or what a frame made of it; a material made from a display colour
            is written out.
        tint: linear factor on the base colour.

    Returns:
        What could not be changed.
    """
    from pxr import Sdf, UsdShade

    base = material.base or material
    tint = tint or _WHITE
    if base.path.startswith(LOOK_PREFIX):
        _plain_surface(layer, path, material, tint)
        return []
    original = base.path.partition("|")[0]  # a light of a mesh has a key of its own
    spec = define(layer, path, "Material")
    spec.referenceList.Prepend(Sdf.Reference("", original))
    found = UsdShade.Material(stage.GetPrimAtPath(original))
    shader = found.ComputeSurfaceSource("")[0] or found.ComputeSurfaceSource("mdl")[0]
    if not shader:
        return ["a material without a surface shader cannot be changed"]
    where = (original, path)
    if str(shader.GetSourceAssetSubIdentifier("mdl")).startswith("OmniPBR"):
        _change_omnipbr(layer, shader, where, material, tint)
        return []
    if str(shader.GetIdAttr().Get()) != "UsdPreviewSurface":
        return [f"shader {shader.GetIdAttr().Get() or 'of unknown kind'} cannot be changed"]
    return _change_preview(layer, shader, where, material, tint)


def _changed(material: Material, name: str) -> bool:
    """Whether a frame gave the material another value, or took its texture away."""
    base = material.base or material
    return any(
        getattr(material, field) != getattr(base, field) for field in (name, f"{name}_texture")
    )


def _change_omnipbr(
    layer: Any, shader: Any, paths: tuple[str, str], material: Material, tint: Vector3
) -> None:
    from pxr import Sdf

    spec = over(layer, _copied(shader.GetPrim(), *paths))
    own = shader.GetInput("diffuse_tint").Get() if shader.GetInput("diffuse_tint") else None
    if tint != _WHITE:
        _put_color(spec, "inputs:diffuse_tint", own or _WHITE, tint)
    for name, (constant, influence) in _SHARES.items():
        if _changed(material, name):
            put(spec, f"inputs:{constant}", Sdf.ValueTypeNames.Float, getattr(material, name))
            put(spec, f"inputs:{influence}", Sdf.ValueTypeNames.Float, 0.0)
    if _changed(material, "base_color"):
        texture = material.base_color_texture
        if texture is None:
            _put_color(spec, "inputs:diffuse_color_constant", material.base_color, _WHITE)
        put(
            spec,
            "inputs:diffuse_texture",
            Sdf.ValueTypeNames.Asset,
            Sdf.AssetPath(texture.path if texture else ""),
        )


def _change_preview(
    layer: Any, shader: Any, paths: tuple[str, str], material: Material, tint: Vector3
) -> list[str]:
    from pxr import Sdf

    spec = over(layer, _copied(shader.GetPrim(), *paths))
    for name in _SHARES:
        if _changed(material, name):
            _put_alone(spec, f"inputs:{name}", Sdf.ValueTypeNames.Float, getattr(material, name))
    if not _changed(material, "base_color"):
        return [] if tint == _WHITE else _tint_preview(layer, shader, paths, tint)
    if material.base_color_texture is None:
        color = _color(material.base_color, tint)
        _put_alone(spec, "inputs:diffuseColor", Sdf.ValueTypeNames.Color3f, color)
        return []
    node = f"{paths[1]}/SimcloudTexture"
    _texture_node(layer, node, material, tint, _coordinates(shader, paths))
    _connect(spec, "inputs:diffuseColor", Sdf.ValueTypeNames.Color3f, f"{node}.outputs:rgb")
    return []


def _texture_node(
    layer: Any, path: str, material: Material, tint: Vector3, coordinates: str | None
) -> None:
    """A UsdUVTexture of a material's picture.

    Args:
        layer: to write into.
        path: of the node.
        material: whose picture it is.
        tint: linear factor.
        coordinates: output that texture coordinates come from; None: a reader is written.
    """
    from pxr import Gf, Sdf

    texture = material.base_color_texture
    assert texture is not None
    spec, kinds = define(layer, path, "Shader"), Sdf.ValueTypeNames
    put(spec, "info:id", kinds.Token, "UsdUVTexture")
    put(spec, "inputs:file", kinds.Asset, Sdf.AssetPath(texture.path))
    put(spec, "inputs:sourceColorSpace", kinds.Token, "sRGB")
    for side in ("S", "T"):
        put(spec, f"inputs:wrap{side}", kinds.Token, texture.wrap)
    put(spec, "inputs:scale", kinds.Float4, Gf.Vec4f(*tint, 1.0))
    Sdf.AttributeSpec(spec, "outputs:rgb", kinds.Float3)
    if coordinates is None:
        reader = define(layer, f"{path}Coordinates", "Shader")
        put(reader, "info:id", kinds.Token, "UsdPrimvarReader_float2")
        put(reader, "inputs:varname", kinds.String, material.uv_primvar or "st")
        Sdf.AttributeSpec(reader, "outputs:result", kinds.Float2)
        coordinates = f"{path}Coordinates.outputs:result"
    _connect(spec, "inputs:st", kinds.Float2, coordinates)


def _coordinates(shader: Any, paths: tuple[str, str]) -> str | None:
    """Output in the copy that the original's textures take coordinates from; None: none do."""
    from pxr import UsdShade

    for item in shader.GetInputs():
        for source in item.GetValueProducingAttributes():
            node = UsdShade.Shader(source.GetPrim())
            st = node.GetInput("st") if node else None
            found = st.GetValueProducingAttributes() if st else []
            if found and UsdShade.Output.IsOutput(found[0]):
                return paths[1] + str(found[0].GetPath()).removeprefix(paths[0])
    return None


def _tint_preview(layer: Any, shader: Any, paths: tuple[str, str], tint: Vector3) -> list[str]:
    from pxr import Gf, Sdf, UsdShade

    base = shader.GetInput("diffuseColor")
    sources = base.GetValueProducingAttributes() if base else []
    if not sources or not UsdShade.Output.IsOutput(sources[0]):
        value = sources[0].Get() if sources else (0.18, 0.18, 0.18)  # the schema's default
        copy = _copied(shader.GetPrim(), *paths)
        _put_color(over(layer, copy), "inputs:diffuseColor", value, tint)
        return []
    texture = UsdShade.Shader(sources[0].GetPrim())
    if str(texture.GetIdAttr().Get()) != "UsdUVTexture":
        return [f"{texture.GetIdAttr().Get()} in the base colour cannot be tinted"]
    spec = over(layer, _copied(texture.GetPrim(), *paths))
    for name, default in (("scale", 1.0), ("bias", 0.0)):
        own = texture.GetInput(name).Get() if texture.GetInput(name) else None
        values = [float(v) for v in own] if own is not None else [default] * 4
        tinted = [a * b for a, b in zip(values[:3], tint, strict=True)]
        put(spec, f"inputs:{name}", Sdf.ValueTypeNames.Float4, Gf.Vec4f(*tinted, values[3]))
    return []


def _plain_surface(layer: Any, path: str, material: Material, tint: Vector3) -> None:
    """A UsdPreviewSurface, as the display colour of a prim is read."""
    from pxr import Sdf

    spec = define(layer, path, "Material")
    shader = define(layer, f"{path}/Surface", "Shader")
    kinds = Sdf.ValueTypeNames
    put(shader, "info:id", kinds.Token, "UsdPreviewSurface")
    if material.base_color_texture is None:
        _put_color(shader, "inputs:diffuseColor", material.base_color, tint)
    else:
        node = f"{path}/SimcloudTexture"
        _texture_node(layer, node, material, tint, None)
        _connect(shader, "inputs:diffuseColor", kinds.Color3f, f"{node}.outputs:rgb")
    put(shader, "inputs:roughness", kinds.Float, material.roughness)
    put(shader, "inputs:metallic", kinds.Float, material.metallic)
    put(shader, "inputs:opacity", kinds.Float, material.opacity)
    output = Sdf.AttributeSpec(shader, "outputs:surface", kinds.Token)
    surface = Sdf.AttributeSpec(spec, "outputs:surface", kinds.Token)
    surface.connectionPathList.explicitItems = [output.path]


def _put_color(spec: Any, name: str, value: Any, tint: Vector3) -> None:
    from pxr import Sdf

    put(spec, name, Sdf.ValueTypeNames.Color3f, _color(value, tint))


def _color(value: Any, tint: Vector3) -> Any:
    from pxr import Gf

    return Gf.Vec3f(*(float(v) * t for v, t in zip(value, tint, strict=True)))


def _put_alone(spec: Any, name: str, kind: Any, value: Any) -> None:
    """Sets an input and cuts what weaker layers connect to it."""
    put(spec, name, kind, value)
    spec.attributes[name].connectionPathList.ClearEditsAndMakeExplicit()


def _connect(spec: Any, name: str, kind: Any, source: str) -> None:
    """Connects an input to an output, and to nothing else."""
    from pxr import Sdf

    attribute = spec.attributes.get(name) or Sdf.AttributeSpec(spec, name, kind)
    attribute.connectionPathList.explicitItems = [Sdf.Path(source)]


def _copied(prim: Any, original: str, copy: str) -> str:
    """Where a prim below the original material is, below its copy."""
    return copy + str(prim.GetPath()).removeprefix(original)
