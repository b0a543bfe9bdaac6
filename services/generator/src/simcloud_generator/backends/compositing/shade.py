"""Direct light on surfaces: Lambert and GGX, mixed by how metallic they are."""

from __future__ import annotations

import numpy as np

from simcloud_generator.backends.compositing.light import Light, PointLight
from simcloud_generator.backends.compositing.surface import MIN_ROUGHNESS, Surfaces, dot
from simcloud_generator.backends.images import Float32Array

TINY = np.float32(1e-12)
"""Least square of a length that is divided by."""

NEAR_LIGHT_M = 0.2
"""A point light closer than this counts as this far away: a real one has an extent."""

GROUND_DARKENING = 0.45
"""Share of the environment's light that the ground takes from a surface right above it."""

GROUND_REACH_M = 0.12
"""Height at which that has fallen to a third."""


def shade(surfaces: Surfaces, light: Light) -> tuple[Float32Array, Float32Array]:
    """Radiance (3, N) towards the viewer, and irradiance (3, N); linear."""
    s = surfaces
    normal_view = np.clip(dot(s.normal, s.view), 1e-3, 1.0)
    metallic = np.clip(s.metallic, 0.0, 1.0)
    diffuse = s.albedo * (1.0 - metallic) * np.float32(1.0 / np.pi)
    base = 0.08 * s.specular * (1.0 - metallic) + s.albedo * metallic
    roughness = np.clip(s.roughness, MIN_ROUGHNESS, 1.0)
    reflected = np.zeros_like(s.albedo)
    irradiance = np.zeros_like(s.albedo)
    if light.surroundings is not None:
        open_sky = 1.0 - GROUND_DARKENING * np.exp(-np.maximum(s.height, 0.0) / GROUND_REACH_M)
        irradiance += light.surroundings.irradiance(s.normal) * open_sky
        mirror = 2.0 * normal_view * s.normal - s.view
        around = light.surroundings.radiance(mirror, roughness)
        weight = _environment_weight(base, roughness, normal_view)
        reflected += around * weight * open_sky
    for point in light.points:
        towards, arriving = _arriving(s, point)
        cosine = np.clip(dot(s.normal, towards), 0.0, 1.0)
        falling = arriving * cosine
        irradiance += falling
        reflected += falling * _ggx(s, towards, base, roughness, normal_view)
    return s.emission + diffuse * irradiance + reflected, irradiance


def _arriving(s: Surfaces, light: PointLight) -> tuple[Float32Array, Float32Array]:
    """Unit directions (3, N) to a light, and what would fall on a surface that faces it (3, N)."""
    place, facing, power = (
        value.astype(np.float32)[:, None]
        for value in (light.position, light.facing, light.power_rgb)
    )
    if light.parallel:
        shape = s.position.shape
        return np.broadcast_to(place, shape), np.broadcast_to(power, shape)
    offset = place - s.position
    squared = dot(offset, offset)
    towards: Float32Array = np.asarray(offset / _root(squared), dtype=np.float32)
    shining = np.clip(-dot(towards, facing), 0.0, 1.0)
    strength = shining / np.maximum(squared, np.float32(NEAR_LIGHT_M**2))
    return towards, np.asarray(strength * power, dtype=np.float32)


def _root(squared: Float32Array) -> Float32Array:
    return np.asarray(np.sqrt(np.maximum(squared, TINY)), dtype=np.float32)


def _ggx(
    s: Surfaces,
    towards: Float32Array,
    base: Float32Array,
    roughness: Float32Array,
    normal_view: Float32Array,
) -> Float32Array:
    """The microfacet lobe (3, N), with Schlick's Fresnel and Karis's visibility."""
    middle = towards + s.view
    middle /= _root(dot(middle, middle))
    alpha = roughness * roughness
    squared = alpha * alpha
    normal_middle = np.clip(dot(s.normal, middle), 0.0, 1.0)
    density = normal_middle * normal_middle * (squared - 1.0) + 1.0
    distribution = squared / (np.pi * density * density)
    normal_light = np.clip(dot(s.normal, towards), 0.0, 1.0)
    k = alpha / 2
    visibility = 0.25 / ((normal_light * (1 - k) + k) * (normal_view * (1 - k) + k))
    grazing = 1.0 - np.clip(dot(s.view, middle), 0.0, 1.0)
    fresnel = base + (1.0 - base) * grazing**5
    return np.asarray(fresnel * (distribution * visibility), dtype=np.float32)


def _environment_weight(
    base: Float32Array, roughness: Float32Array, normal_view: Float32Array
) -> Float32Array:
    """What a lobe reflects of even surroundings: Karis's fit of the split sum (2014)."""
    x = 1.0 - roughness
    y = 0.0425 - 0.0275 * roughness
    bend = np.minimum(x * x, np.exp2(-9.28 * normal_view)) * x + y
    scale = -1.04 * bend + (1.04 - 0.572 * roughness)
    offset = 1.04 * bend + (0.022 * roughness - 0.04)
    weight: Float32Array = np.clip(base * scale + offset, 0.0, 1.0)
    return weight
