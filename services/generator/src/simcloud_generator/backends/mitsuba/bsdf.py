"""Neutral materials as Mitsuba BSDF dictionaries."""

from __future__ import annotations

from typing import Any

import mitsuba as mi
import numpy as np

from simcloud.scene.translate.types import Material, Texture
from simcloud.spec.parameters import Vector3
from simcloud_generator.backends.images import ImageStore, linear_to_srgb, srgb_to_linear

MIN_ROUGHNESS = 0.02
"""Sharper reflections than this are noise at a few samples per pixel."""

MAX_ALBEDO = 0.95
"""Brighter surfaces do not exist and never stop bouncing light."""


def bsdf_dict(
    material: Material, tint: Vector3 | None, images: ImageStore, *, has_uv: bool
) -> dict[str, Any]:
    """A two-sided principled BSDF, bumped and masked as the material says.

    Args:
        material: what to draw.
        tint: linear factor on the base colour.
        images: where textures come from.
        has_uv: whether the mesh has texture coordinates; without them textures count by their
            material's plain values.
    """
    surface: dict[str, Any] = {
        "type": "principled",
        "base_color": _base_color(material, tint, images, has_uv=has_uv),
        "roughness": _scalar(
            images,
            material.roughness_texture if has_uv else None,
            material.roughness,
            lowest=MIN_ROUGHNESS,
        ),
        "metallic": _scalar(
            images, material.metallic_texture if has_uv else None, material.metallic
        ),
        "specular": float(np.clip(material.specular, 0.0, 1.0)),
    }
    if material.normal_texture is not None and has_uv:
        surface = {
            "type": "normalmap",
            "normalmap": _normal_map(images, material.normal_texture),
            "bsdf": surface,
        }
    result: dict[str, Any] = {"type": "twosided", "bsdf": surface}
    opacity = _opacity(material, images, has_uv=has_uv)
    return result if opacity is None else {"type": "mask", "opacity": opacity, "bsdf": result}


def _base_color(
    material: Material, tint: Vector3 | None, images: ImageStore, *, has_uv: bool
) -> dict[str, Any]:
    factor = np.ones(3) if tint is None else np.asarray(tint, dtype=np.float64)
    texture = material.base_color_texture
    if texture is None or not has_uv:
        color = np.clip(np.asarray(material.base_color) * factor, 0.0, MAX_ALBEDO)
        return {"type": "rgb", "value": [float(value) for value in color]}
    # Eight bits and sRGB take a quarter of float32's memory, and carry all that the file had.
    levels = np.arange(256) / 255.0
    pixels = images.pixels(texture.path)
    planes = []
    for channel in range(3):
        source = channel if texture.channel is None else texture.channel
        index = channel if texture.channel is None else 0
        linear = srgb_to_linear(levels) if texture.srgb and source != 3 else levels
        linear = (linear * texture.scale[index] + texture.bias[index]) * factor[channel]
        table = np.rint(linear_to_srgb(np.clip(linear, 0.0, MAX_ALBEDO)) * 255).astype(np.uint8)
        planes.append(table[pixels[:, :, source]])
    image = mi.Bitmap(np.ascontiguousarray(np.stack(planes, axis=-1)))
    return {"type": "bitmap", "bitmap": image, "raw": False, "wrap_mode": texture.wrap}


def _scalar(
    images: ImageStore, texture: Texture | None, value: float, lowest: float = 0.0
) -> dict[str, Any] | float:
    if texture is None:
        return float(np.clip(value, lowest, 1.0))
    values = np.clip(images.values(texture)[:, :, :1], lowest, 1.0)
    return _raw_bitmap(values, texture)


def _normal_map(images: ImageStore, texture: Texture) -> dict[str, Any]:
    # USD names a scale and bias that lead to -1..1; Mitsuba wants 0..1 and applies its own.
    values = images.values(texture)
    if texture.scale[0] > 1.0:
        values = (values + 1.0) / 2.0
    return _raw_bitmap(np.clip(values, 0.0, 1.0).astype(np.float32), texture)


def _opacity(material: Material, images: ImageStore, *, has_uv: bool) -> dict[str, Any] | None:
    texture = material.opacity_texture
    if texture is not None and has_uv:
        values = images.values(texture)[:, :, :1]
        if material.opacity_threshold > 0:
            values = (values >= material.opacity_threshold).astype(np.float32)
        return _raw_bitmap(np.clip(values, 0.0, 1.0), texture)
    if texture is None and material.opacity < 1.0:
        return {"type": "rgb", "value": float(np.clip(material.opacity, 0.0, 1.0))}
    return None


def _raw_bitmap(values: Any, texture: Texture) -> dict[str, Any]:
    image = mi.Bitmap(np.ascontiguousarray(values, dtype=np.float32))
    return {"type": "bitmap", "bitmap": image, "raw": True, "wrap_mode": texture.wrap}
