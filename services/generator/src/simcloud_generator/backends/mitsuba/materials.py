"""Materials as rows of one table, and their textures as places in one buffer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from simcloud.scene.translate.types import Material, Texture
from simcloud.spec.parameters import Vector3
from simcloud_generator.backends.images import ImageStore
from simcloud_generator.backends.mitsuba.texels import TexelStore

UInt32Array = npt.NDArray[np.uint32]

WORDS = 20
"""Of a row: five groups of four, each loaded at once."""

MIN_ROUGHNESS = 0.02
"""Sharper reflections than this are noise at a few samples per pixel."""

MAX_ALBEDO = 0.95
"""Brighter surfaces do not exist and never stop bouncing light."""

GLASS_ROUGHNESS = 0.3
"""See-through surfaces up to this roughness mirror like a pane; rougher ones are thin cloth."""

# Bits 0 to 5 of a material's flags are the wrap modes of its three textures, two bits each.
TEXTURED = 1 << 6
"""Roughness, metallic or opacity come from a texture."""
SEE_THROUGH = 1 << 7
"""Rays may pass."""
PANE = 1 << 8
"""A thin pane that mirrors what it does not let through."""
BUMPED = 1 << 9
"""It has a normal map."""
PLAIN_ROUGHNESS = 1 << 10
"""Roughness is the row's own, whatever the texture says: a frame gave the material another one."""
PLAIN_METALLIC = 1 << 11
"""As is the metallic share."""


@dataclass(frozen=True, slots=True)
class Features:
    """What the kernels of a scene must be able to do; the same for all its frames."""

    see_through: bool
    """Some material lets rays pass."""
    parameter_textures: bool
    """Some roughness, metallic or opacity comes from a texture."""
    normal_maps: bool


def scene_features(materials: Iterable[Material]) -> Features:
    """What kernels need for any frame that is made of these materials."""
    kinds = list(materials)
    return Features(
        see_through=any(kind.opacity_texture is not None or kind.opacity < 1.0 for kind in kinds),
        parameter_textures=any(_parameter_textures(kind) for kind in kinds),
        normal_maps=any(kind.normal_texture is not None for kind in kinds),
    )


def light_row(radiance: Vector3) -> UInt32Array:
    """A black surface that shines."""
    row = _empty_row()
    floats = row.view(np.float32)
    floats[3], floats[5], floats[6] = 1.0, 1.0, 1.0  # an index of 1 mirrors nothing
    floats[8:11] = radiance
    return row


def material_row(
    material: Material,
    tint: Vector3 | None,
    images: ImageStore,
    texels: TexelStore,
    *,
    has_uv: bool,
) -> UInt32Array:
    """A material's words.

    Base colour and roughness; metallic, index of refraction, opacity and flags; emission and,
    filled in by the lights, its density; offset and size of the colour's texture and of the
    parameters'; of the normal map, and two words of nothing.

    Args:
        material: what to draw.
        tint: linear factor on the base colour.
        images: where textures come from.
        texels: where they are put.
        has_uv: whether the mesh has texture coordinates; without them textures count by their
            material's plain values.
    """
    row = _empty_row()
    floats = row.view(np.float32)
    color = material.base_color_texture if has_uv else None
    factor = np.ones(3) if tint is None else np.asarray(tint, dtype=np.float64)
    floats[:3] = factor if color is not None else factor * np.asarray(material.base_color)
    floats[3] = np.clip(material.roughness, MIN_ROUGHNESS, 1.0)
    floats[4] = np.clip(material.metallic, 0.0, 1.0)
    specular = float(np.clip(material.specular, 0.0, 1.0))
    floats[5] = 2.0 / (1.0 - np.sqrt(0.08 * specular)) - 1.0
    plain = material.opacity_texture is None
    floats[6] = np.clip(material.opacity, 0.0, 1.0) if plain else 1.0
    floats[8:11] = material.emissive
    flags = 0
    if floats[6] < 1.0:
        flags |= SEE_THROUGH | (PANE if material.roughness <= GLASS_ROUGHNESS else 0)
    base = material.base or material
    if color is not None:
        passing = color != base.base_color_texture
        row[12:14], wrap = _place(texels, color, lambda: _colors(images, color), passing=passing)
        flags |= wrap
    if has_uv and _parameter_textures(material):
        # what a frame changes is in the row: the texture is the scene's, and made once
        key = ("parameters", base.path)
        wrap_mode = _parameter_textures(base)[0].wrap
        place = texels.row(key, wrap_mode, lambda: _parameters(images, base))
        row[14:16], wrap = _words(place)
        flags |= wrap << 2 | TEXTURED | (0 if plain else SEE_THROUGH)
        flags |= _plain_flags(material, base)
    bumps = material.normal_texture if has_uv else None
    if bumps is not None:
        row[16:18], wrap = _place(texels, bumps, lambda: _bumps(images, bumps))
        flags |= wrap << 4 | BUMPED
    row[7] = flags
    return row


def _plain_flags(material: Material, base: Material) -> int:
    """Which values a frame gave the material in place of the base's own."""

    def differ(name: str) -> bool:
        texture = f"{name}_texture"
        return (getattr(material, name), getattr(material, texture)) != (
            getattr(base, name),
            getattr(base, texture),
        )

    return differ("roughness") * PLAIN_ROUGHNESS | differ("metallic") * PLAIN_METALLIC


def _empty_row() -> UInt32Array:
    row = np.zeros(WORDS, dtype=np.uint32)
    row[13:18:2] = 1 | 1 << 16  # one texel, the buffer's white one
    return row


def _parameter_textures(material: Material) -> list[Texture]:
    found = (material.roughness_texture, material.metallic_texture, material.opacity_texture)
    return [texture for texture in found if texture is not None]


def _place(
    texels: TexelStore,
    texture: Texture,
    make: Callable[[], npt.NDArray[np.floating]],
    *,
    passing: bool = False,
) -> tuple[UInt32Array, int]:
    return _words(texels.row(texture, texture.wrap, make, passing=passing))


def _words(place: tuple[int, int, int, int]) -> tuple[UInt32Array, int]:
    offset, width, height, wrap = place
    return np.array([offset, width | height << 16], dtype=np.uint32), wrap


def _colors(images: ImageStore, texture: Texture) -> npt.NDArray[np.floating]:
    return np.broadcast_to(images.values(texture), (*images.values(texture).shape[:2], 3))


def _bumps(images: ImageStore, texture: Texture) -> npt.NDArray[np.floating]:
    # USD names a scale and bias that lead to -1..1; the buffer holds 0..1
    values = _colors(images, texture)
    return (values + 1.0) / 2.0 if texture.scale[0] > 1.0 else values


def _parameters(images: ImageStore, material: Material) -> npt.NDArray[np.floating]:
    """Roughness, metallic and opacity (H, W, 3), as large as the largest of their textures."""
    planes: list[npt.NDArray[np.floating]] = [
        np.full((1, 1), material.roughness, dtype=np.float32),
        np.full((1, 1), material.metallic, dtype=np.float32),
        np.ones((1, 1), dtype=np.float32),
    ]
    textures = (material.roughness_texture, material.metallic_texture, material.opacity_texture)
    for index, texture in enumerate(textures):
        if texture is not None:
            planes[index] = images.values(texture)[:, :, 0]
    if material.opacity_texture is not None and material.opacity_threshold > 0:
        planes[2] = (planes[2] >= material.opacity_threshold).astype(np.float32)
    height, width = (max(plane.shape[side] for plane in planes) for side in (0, 1))
    whole = [
        plane
        if plane.shape == (height, width)
        else cv2.resize(plane, (width, height), interpolation=cv2.INTER_LINEAR)
        for plane in planes
    ]
    whole[0] = np.maximum(whole[0], MIN_ROUGHNESS)
    return np.stack(whole, axis=-1)
