"""UsdPreviewSurface networks to neutral materials."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from simcloud.errors import InvalidRequest
from simcloud.scene.translate.omnipbr import omnipbr_material
from simcloud.scene.translate.types import LOOK_PREFIX, Material, Texture, UvTransform
from simcloud.spec.parameters import Vector3

Warn = Callable[[Any, str], None]

CHANNELS = {"r": 0, "g": 1, "b": 2, "a": 3}
WRAPS = {"repeat": "repeat", "mirror": "mirror", "clamp": "clamp", "useMetadata": "repeat"}


def read_material(prim: Any, warn: Warn) -> Material:
    """The neutral form of a UsdShade.Material.

    Raises:
        InvalidRequest: a texture's file is missing.
    """
    from pxr import UsdShade

    material = UsdShade.Material(prim)
    shader = material.ComputeSurfaceSource("")[0]
    if not shader:
        shader = material.ComputeSurfaceSource("mdl")[0]
    path = str(prim.GetPath())
    if not shader:
        warn(prim, "material without a surface shader")
        return Material(path=path)
    if str(shader.GetIdAttr().Get()) == "UsdPreviewSurface":
        return _preview_surface(path, shader, warn)
    if str(shader.GetSourceAssetSubIdentifier("mdl")).startswith("OmniPBR"):
        return omnipbr_material(path, shader, warn)
    warn(shader.GetPrim(), f"shader {shader.GetIdAttr().Get() or 'of unknown kind'}")
    return Material(path=path)


def color_material(color: Vector3, opacity: float) -> Material:
    """The material of a prim that has a display colour only; equal colours give equal keys."""
    values = (*color, opacity)
    key = LOOK_PREFIX + ",".join(f"{value:.6g}" for value in values)
    return Material(path=key, base_color=color, roughness=0.7, opacity=opacity)


def _preview_surface(path: str, shader: Any, warn: Warn) -> Material:
    inputs = _Inputs(shader, warn)
    base, base_texture = inputs.color("diffuseColor", (0.18, 0.18, 0.18))
    emissive, emissive_texture = inputs.color("emissiveColor", (0.0, 0.0, 0.0))
    roughness, roughness_texture = inputs.number("roughness", 0.5)
    metallic, metallic_texture = inputs.number("metallic", 0.0)
    opacity, opacity_texture = inputs.number("opacity", 1.0)
    threshold, _ = inputs.number("opacityThreshold", 0.0)
    ior, _ = inputs.number("ior", 1.5)
    if inputs.number("useSpecularWorkflow", 0.0)[0]:
        warn(shader.GetPrim(), "the specular workflow is drawn as a dielectric")
    for name in ("clearcoat", "displacement"):
        value, texture = inputs.number(name, 0.0)
        if value or texture:
            warn(shader.GetPrim(), f"input {name}")
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
    )


def specular_of_ior(ior: float) -> float:
    """The principled model's ``specular`` for an index of refraction; 1.5 gives 0.5."""
    return float(min(1.0, (abs(ior - 1.0) / (ior + 1.0)) ** 2 / 0.08)) if ior > 0 else 0.5


class _Inputs:
    """Reads a shader's inputs, following connections to UsdUVTexture nodes."""

    def __init__(self, shader: Any, warn: Warn) -> None:
        self.shader = shader
        self.warn = warn
        self.uv_transform: UvTransform | None = None
        self._transform_known = False

    def number(self, name: str, default: float) -> tuple[float, Texture | None]:
        """A float input: its value, or the texture that it is connected to."""
        value, texture = self._read(name, raw=True)
        if isinstance(value, bool | int | float) and math.isfinite(value):
            return float(value), texture
        if value is not None:
            self.warn(self.shader.GetPrim(), f"input {name} is not a finite number")
        return default, texture

    def color(self, name: str, default: Vector3) -> tuple[Vector3, Texture | None]:
        """A colour input: its value, or the texture that it is connected to."""
        value, texture = self._read(name, raw=False)
        if value is None:
            return default, texture
        array = np.asarray(value, dtype=np.float32).ravel()
        if array.shape != (3,) or not np.isfinite(array).all():
            self.warn(self.shader.GetPrim(), f"input {name} is not a finite colour")
            return default, texture
        return (float(array[0]), float(array[1]), float(array[2])), texture

    def texture(self, name: str, *, raw: bool) -> Texture | None:
        """The texture that an input is connected to."""
        return self._read(name, raw=raw)[1]

    def _read(self, name: str, *, raw: bool) -> tuple[Any, Texture | None]:
        shader_input = self.shader.GetInput(name)
        if not shader_input:
            return None, None
        sources = shader_input.GetValueProducingAttributes()
        if not sources:
            return None, None
        from pxr import UsdShade

        source = sources[0]
        node = UsdShade.Shader(source.GetPrim())
        if not UsdShade.Output.IsOutput(source):
            return source.Get(), None
        if str(node.GetIdAttr().Get()) != "UsdUVTexture":
            self.warn(node.GetPrim(), f"{node.GetIdAttr().Get()} connected to {name}")
            return None, None
        output = source.GetName().removeprefix("outputs:")
        return self._uv_texture(node, output, raw=raw)

    def _uv_texture(self, node: Any, output: str, *, raw: bool) -> tuple[Any, Texture | None]:
        def value(name: str) -> Any:
            item = node.GetInput(name)
            return item.Get() if item else None

        fallback = value("fallback")
        fallback = tuple(float(v) for v in fallback) if fallback is not None else (0.0,) * 4
        channel = CHANNELS.get(output)
        plain = fallback[channel] if channel is not None else fallback[:3]
        path = texture_path(node, value("file"), self.warn)
        if path is None:
            return plain, None
        self._note_transform(node)
        space = str(value("sourceColorSpace") or "auto")
        picks = slice(0, 3) if channel is None else slice(channel, channel + 1)
        scale, bias = value("scale"), value("bias")
        wraps = {str(value("wrapS") or "repeat"), str(value("wrapT") or "repeat")}
        if len(wraps) > 1 or not wraps <= set(WRAPS):
            self.warn(node.GetPrim(), f"wrap modes {sorted(wraps)} are drawn as one")
        return plain, Texture(
            path=path,
            srgb=space == "sRGB" or (space == "auto" and not raw),
            channel=channel,
            scale=tuple(float(v) for v in (scale or (1.0,) * 4))[picks],
            bias=tuple(float(v) for v in (bias or (0.0,) * 4))[picks],
            wrap=WRAPS.get(sorted(wraps)[0], "clamp"),
        )

    def _note_transform(self, node: Any) -> None:
        """Keeps the first texture's UV transform: one is applied for the whole material."""
        found = _find_transform(node, self.warn)
        if self._transform_known and found != self.uv_transform:
            self.warn(node.GetPrim(), "a second UV transform in one material")
        elif not self._transform_known:
            self._transform_known, self.uv_transform = True, found


def _find_transform(node: Any, warn: Warn) -> UvTransform | None:
    from pxr import UsdShade

    st = node.GetInput("st")
    sources = st.GetValueProducingAttributes() if st else []
    if not sources or not UsdShade.Output.IsOutput(sources[0]):
        return None
    source = UsdShade.Shader(sources[0].GetPrim())
    kind = str(source.GetIdAttr().Get())
    if kind.startswith("UsdPrimvarReader"):
        return None
    if kind != "UsdTransform2d":
        warn(source.GetPrim(), f"{kind} in texture coordinates")
        return None

    def pair(name: str, default: tuple[float, float]) -> tuple[float, float]:
        item = source.GetInput(name)
        value = item.Get() if item else None
        return (float(value[0]), float(value[1])) if value is not None else default

    rotation = source.GetInput("rotation")
    return UvTransform(
        scale=pair("scale", (1.0, 1.0)),
        rotation_deg=float((rotation.Get() if rotation else None) or 0.0),
        translation=pair("translation", (0.0, 0.0)),
    )


def texture_path(node: Any, asset: Any, warn: Warn) -> str | None:
    """Absolute path of a texture; None when no file is named or its kind is not supported.

    Raises:
        InvalidRequest: the file is missing.
    """
    if asset is None or not asset.path:
        return None
    if "<UDIM>" in asset.path:
        warn(node.GetPrim(), "UDIM textures")
        return None
    path = asset.resolvedPath
    if "[" in path:
        warn(node.GetPrim(), "textures inside usdz packages")
        return None
    if not path or not Path(path).is_file():
        raise InvalidRequest(
            "scene", f"{node.GetPath()} names the texture {asset.path}, which is not there"
        )
    return str(path)
