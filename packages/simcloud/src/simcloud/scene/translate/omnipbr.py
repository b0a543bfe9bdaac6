"""Omniverse's OmniPBR material: its common inputs as a neutral material."""

from __future__ import annotations

import math
from typing import Any

from simcloud.scene.stage import value
from simcloud.scene.translate.reading import Reading
from simcloud.scene.translate.textures import texture_path
from simcloud.scene.translate.types import Material, Texture, UvTransform
from simcloud.spec.parameters import Vector3

KNOWN_INPUTS = frozenset(
    {
        "diffuse_color_constant",
        "diffuse_texture",
        "diffuse_tint",
        "reflection_roughness_constant",
        "reflectionroughness_texture",
        "reflection_roughness_texture_influence",
        "metallic_constant",
        "metallic_texture",
        "metallic_texture_influence",
        "specular_level",
        "enable_ORM_texture",
        "ORM_texture",
        "enable_emission",
        "emissive_color",
        "emissive_intensity",
        "enable_opacity",
        "enable_opacity_texture",
        "opacity_constant",
        "opacity_texture",
        "opacity_threshold",
        "normalmap_texture",
        "bump_factor",
        "texture_scale",
        "texture_translate",
        "texture_rotate",
        "project_uvw",
    }
)


def omnipbr_material(path: str, shader: Any, reading: Reading) -> Material:
    """The neutral form of an OmniPBR shader; inputs that are not understood are named."""
    reader = _Reader(shader, reading)
    unknown = sorted(reader.names - KNOWN_INPUTS)
    if unknown:
        reading.warn(shader.GetPrim(), f"OmniPBR inputs {', '.join(unknown)}")
    if reader.flag("project_uvw"):
        reading.warn(shader.GetPrim(), "OmniPBR projected texture coordinates")
    base = reader.color("diffuse_color_constant", (0.2, 0.2, 0.2))
    tint = reader.color("diffuse_tint", (1.0, 1.0, 1.0))
    orm = reader.asset("ORM_texture") if reader.flag("enable_ORM_texture") else None
    glow = reader.color("emissive_color", (1.0, 0.1, 0.1))
    intensity = reader.number("emissive_intensity", 40.0)
    lit = intensity if reader.flag("enable_emission") else 0.0
    use_opacity = reader.flag("enable_opacity")
    albedo = reader.asset("diffuse_texture")
    return Material(
        path=path,
        base_color=(base[0] * tint[0], base[1] * tint[1], base[2] * tint[2]),
        base_color_texture=Texture(path=albedo, srgb=True, scale=tint) if albedo else None,
        roughness=reader.number("reflection_roughness_constant", 0.5),
        roughness_texture=reader.data(
            "reflectionroughness_texture", orm, 1, "reflection_roughness_texture_influence"
        ),
        metallic=reader.number("metallic_constant", 0.0),
        metallic_texture=reader.data("metallic_texture", orm, 2, "metallic_texture_influence"),
        specular=reader.number("specular_level", 0.5),
        opacity=reader.number("opacity_constant", 1.0) if use_opacity else 1.0,
        opacity_texture=(
            reader.data("opacity_texture", None, 0, "")
            if use_opacity and reader.flag("enable_opacity_texture")
            else None
        ),
        opacity_threshold=reader.number("opacity_threshold", 0.0) if use_opacity else 0.0,
        normal_texture=reader.normal_map(),
        emissive=(glow[0] * lit, glow[1] * lit, glow[2] * lit),
        uv_transform=reader.uv_transform(),
    )


class _Reader:
    """Typed access to an MDL shader's inputs."""

    def __init__(self, shader: Any, reading: Reading) -> None:
        self.shader = shader
        self.reading = reading
        self.values = {str(i.GetBaseName()): value(i.GetAttr()) for i in shader.GetInputs()}

    @property
    def names(self) -> set[str]:
        return {name for name, value in self.values.items() if value is not None}

    def number(self, name: str, default: float) -> float:
        found = self.values.get(name)
        return default if found is None or not math.isfinite(found) else float(found)

    def flag(self, name: str) -> bool:
        return bool(self.values.get(name) or False)

    def color(self, name: str, default: Vector3) -> Vector3:
        found = self.values.get(name)
        if found is None or not all(map(math.isfinite, found)):
            return default
        return float(found[0]), float(found[1]), float(found[2])

    def asset(self, name: str) -> str | None:
        item = self.shader.GetInput(name)
        return texture_path(self.shader.GetPrim(), item.GetAttr(), self.reading) if item else None

    def data(self, name: str, packed: str | None, channel: int, influence: str) -> Texture | None:
        """A grey texture, or the channel of the packed occlusion-roughness-metallic one.

        An influence of 0 turns the texture off; one between 0 and 1 counts as 1 and is named.
        """
        share = self.number(influence, 1.0)
        if share <= 0.0:
            return None
        path = self.asset(name)
        if share < 1.0 and (path or packed):
            self.reading.warn(self.shader.GetPrim(), f"OmniPBR {influence} between 0 and 1")
        if path is not None:
            return Texture(path=path, srgb=False, channel=0, scale=(1.0,), bias=(0.0,))
        if packed is None:
            return None
        return Texture(path=packed, srgb=False, channel=channel, scale=(1.0,), bias=(0.0,))

    def normal_map(self) -> Texture | None:
        path = self.asset("normalmap_texture")
        if path is None:
            return None
        # UsdPreviewSurface's convention: raw values times 2 minus 1.
        return Texture(path=path, srgb=False, scale=(2.0, 2.0, 2.0), bias=(-1.0, -1.0, -1.0))

    def uv_transform(self) -> UvTransform | None:
        scale = self.values.get("texture_scale")
        translate = self.values.get("texture_translate")
        rotate = self.number("texture_rotate", 0.0)
        if scale is None and translate is None and rotate == 0.0:
            return None
        pair = (1.0, 1.0) if scale is None else (float(scale[0]), float(scale[1]))
        move = (0.0, 0.0) if translate is None else (float(translate[0]), float(translate[1]))
        return UvTransform(scale=pair, rotation_deg=rotate, translation=move)
