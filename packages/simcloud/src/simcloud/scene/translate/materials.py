"""UsdShade materials to neutral ones: UsdPreviewSurface networks and OmniPBR."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from simcloud.scene.stage import value
from simcloud.scene.translate.omnipbr import omnipbr_material
from simcloud.scene.translate.reading import Reading
from simcloud.scene.translate.textures import texture_path
from simcloud.scene.translate.types import LOOK_PREFIX, Material, Texture, UvTransform
from simcloud.spec.parameters import Vector3

CHANNELS = {"r": 0, "g": 1, "b": 2, "a": 3}
WRAPS = {"repeat": "repeat", "mirror": "mirror", "clamp": "clamp", "useMetadata": "repeat"}
PREVIEW_SURFACES = frozenset({"UsdPreviewSurface", "ND_UsdPreviewSurface_surfaceshader"})
_CONTEXTS = ("", "mdl", "mtlx")
"""Render contexts in the order in which a surface is looked for."""


def read_material(prim: Any, reading: Reading) -> Material:
    """The neutral form of a UsdShade.Material; files that are missing are noted as problems."""
    from pxr import UsdShade

    material = UsdShade.Material(prim)
    shader = None
    for context in _CONTEXTS:
        shader = shader or material.ComputeSurfaceSource(context)[0]
    path = str(prim.GetPath())
    if not shader:
        reading.warn(prim, "material without a surface shader")
        return Material(path=path)
    if str(shader.GetIdAttr().Get()) in PREVIEW_SURFACES:
        return _preview_surface(path, shader, reading)
    mdl = str(shader.GetSourceAssetSubIdentifier("mdl") or "")
    if mdl.startswith("OmniPBR"):
        return omnipbr_material(path, shader, reading)
    reading.warn(shader.GetPrim(), f"shader {shader.GetIdAttr().Get() or mdl or 'of unknown kind'}")
    return Material(path=path)


def color_material(color: Vector3, opacity: float) -> Material:
    """The material of a prim that has a display colour only; equal colours give equal keys."""
    values = (*color, opacity)
    key = LOOK_PREFIX + ",".join(f"{item:.6g}" for item in values)
    return Material(path=key, base_color=color, roughness=0.7, opacity=opacity)


def _preview_surface(path: str, shader: Any, reading: Reading) -> Material:
    inputs = _Inputs(shader, reading)
    base, base_texture = inputs.color("diffuseColor", (0.18, 0.18, 0.18))
    emissive, emissive_texture = inputs.color("emissiveColor", (0.0, 0.0, 0.0))
    roughness, roughness_texture = inputs.number("roughness", 0.5)
    metallic, metallic_texture = inputs.number("metallic", 0.0)
    opacity, opacity_texture = inputs.number("opacity", 1.0)
    threshold, _ = inputs.number("opacityThreshold", 0.0)
    ior, _ = inputs.number("ior", 1.5)
    _name_what_is_not_drawn(inputs, emissive_texture)
    if threshold > 0 and opacity_texture is None:  # one value, so all of it is there or none
        opacity = 1.0 if opacity >= threshold else 0.0
    return Material(
        path=path,
        base_color=base,
        base_color_texture=base_texture,
        roughness=roughness,
        roughness_texture=roughness_texture,
        metallic=metallic,
        metallic_texture=metallic_texture,
        specular=specular_of_ior(ior),
        opacity=opacity,
        opacity_texture=opacity_texture,
        opacity_threshold=threshold,
        normal_texture=inputs.texture("normal", raw=True),
        emissive=emissive,
        emissive_texture=emissive_texture,
        uv_transform=inputs.uv_transform,
        uv_primvar=inputs.uv_primvar,
    )


def _name_what_is_not_drawn(inputs: _Inputs, emissive_texture: Texture | None) -> None:
    if inputs.number("useSpecularWorkflow", 0.0)[0]:
        inputs.warn("the specular workflow is drawn as a dielectric")
    for name in ("clearcoat", "displacement"):
        plain, texture = inputs.number(name, 0.0)
        if plain or texture:
            inputs.warn(f"input {name}")
    if inputs.texture("occlusion", raw=True) is not None:
        inputs.warn("input occlusion: light decides what is in shade")
    if emissive_texture is not None:
        inputs.warn("emissiveColor textures do not shine")


def specular_of_ior(ior: float) -> float:
    """The principled model's ``specular`` for an index of refraction; 1.5 gives 0.5."""
    return float(min(1.0, (abs(ior - 1.0) / (ior + 1.0)) ** 2 / 0.08)) if ior > 0 else 0.5


def input_value(node: Any, name: str) -> Any:
    """An input's value at the earliest time, through the connections of node graphs."""
    item = node.GetInput(name)
    return value(_producer(item)) if item else None


def _producer(item: Any) -> Any:
    sources = item.GetValueProducingAttributes()
    return sources[0] if sources else item.GetAttr()


class _Inputs:
    """Reads a shader's inputs, following connections to UsdUVTexture nodes."""

    def __init__(self, shader: Any, reading: Reading) -> None:
        self.shader = shader
        self.reading = reading
        self.uv_transform: UvTransform | None = None
        self.uv_primvar = ""
        self._coordinates_known = False

    def warn(self, what: str) -> None:
        """Names what is not drawn as written."""
        self.reading.warn(self.shader.GetPrim(), what)

    def number(self, name: str, default: float) -> tuple[float, Texture | None]:
        """A float input: its value, or the texture that it is connected to."""
        plain, texture = self._read(name, raw=True)
        if isinstance(plain, bool | int | float) and math.isfinite(plain):
            return float(plain), texture
        if plain is not None:
            self.warn(f"input {name} is not a finite number")
        return default, texture

    def color(self, name: str, default: Vector3) -> tuple[Vector3, Texture | None]:
        """A colour input: its value, or the texture that it is connected to."""
        plain, texture = self._read(name, raw=False)
        if plain is None:
            return default, texture
        array = np.asarray(plain, dtype=np.float32).ravel()
        if array.shape != (3,) or not np.isfinite(array).all():
            self.warn(f"input {name} is not a finite colour")
            return default, texture
        return (float(array[0]), float(array[1]), float(array[2])), texture

    def texture(self, name: str, *, raw: bool) -> Texture | None:
        """The texture that an input is connected to."""
        return self._read(name, raw=raw)[1]

    def _read(self, name: str, *, raw: bool) -> tuple[Any, Texture | None]:
        from pxr import UsdShade

        shader_input = self.shader.GetInput(name)
        sources = shader_input.GetValueProducingAttributes() if shader_input else []
        if not sources:
            return None, None
        source = sources[0]
        node = UsdShade.Shader(source.GetPrim())
        if not UsdShade.Output.IsOutput(source):
            return value(source), None
        if str(node.GetIdAttr().Get()) != "UsdUVTexture":
            self.reading.warn(node.GetPrim(), f"{node.GetIdAttr().Get()} connected to {name}")
            return None, None
        output = source.GetName().removeprefix("outputs:")
        return self._uv_texture(node, output, raw=raw)

    def _uv_texture(self, node: Any, output: str, *, raw: bool) -> tuple[Any, Texture | None]:
        fallback = input_value(node, "fallback")
        fallback = tuple(float(v) for v in fallback) if fallback is not None else (0.0,) * 4
        channel = CHANNELS.get(output)
        plain = fallback[channel] if channel is not None else fallback[:3]
        file = node.GetInput("file")
        path = texture_path(node.GetPrim(), _producer(file), self.reading) if file else None
        if path is None:
            return plain, None
        self._note_coordinates(node)
        space = str(input_value(node, "sourceColorSpace") or "auto")
        picks = slice(0, 3) if channel is None else slice(channel, channel + 1)
        return plain, Texture(
            path=path,
            srgb=space == "sRGB" or (space == "auto" and not raw),
            channel=channel,
            scale=_four(input_value(node, "scale"), 1.0)[picks],
            bias=_four(input_value(node, "bias"), 0.0)[picks],
            wrap=self._wrap(node),
        )

    def _wrap(self, node: Any) -> str:
        modes = {str(input_value(node, name) or "repeat") for name in ("wrapS", "wrapT")}
        if len(modes) > 1 or not modes <= set(WRAPS):
            self.reading.warn(node.GetPrim(), f"wrap modes {sorted(modes)} are drawn as one")
        return WRAPS.get(sorted(modes)[0], "clamp")

    def _note_coordinates(self, node: Any) -> None:
        """Keeps the first texture's coordinates: one set is applied for the whole material."""
        found = _coordinates(node, self.reading)
        if not self._coordinates_known:
            self._coordinates_known = True
            self.uv_transform, self.uv_primvar = found
        elif found != (self.uv_transform, self.uv_primvar):
            self.reading.warn(node.GetPrim(), "second texture coordinates in one material")


def _four(values: Any, default: float) -> tuple[float, ...]:
    return tuple(float(v) for v in values) if values is not None else (default,) * 4


def _coordinates(node: Any, reading: Reading) -> tuple[UvTransform | None, str]:
    """The transform of a texture's coordinates, and the primvar that they are read from."""
    source = _connected(node, "st")
    if source is None:
        return None, ""
    kind = str(source.GetIdAttr().Get())
    if kind.startswith("UsdPrimvarReader"):
        return None, str(input_value(source, "varname") or "")
    if kind != "UsdTransform2d":
        reading.warn(source.GetPrim(), f"{kind} in texture coordinates")
        return None, ""
    reader = _connected(source, "in")
    transform = UvTransform(
        scale=_pair(input_value(source, "scale"), (1.0, 1.0)),
        rotation_deg=float(input_value(source, "rotation") or 0.0),
        translation=_pair(input_value(source, "translation"), (0.0, 0.0)),
    )
    finite = (*transform.scale, transform.rotation_deg, *transform.translation)
    if not np.isfinite(finite).all():
        reading.warn(source.GetPrim(), "a transform that is not finite counts as none")
        return None, ""
    return transform, str(input_value(reader, "varname") or "") if reader is not None else ""


def _connected(node: Any, name: str) -> Any:
    from pxr import UsdShade

    item = node.GetInput(name)
    sources = item.GetValueProducingAttributes() if item else []
    if not sources or not UsdShade.Output.IsOutput(sources[0]):
        return None
    return UsdShade.Shader(sources[0].GetPrim())


def _pair(values: Any, default: tuple[float, float]) -> tuple[float, float]:
    return (float(values[0]), float(values[1])) if values is not None else default
