"""Textures of surface defects: colour, roughness and normals from a height field, per instance."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from defect_outlines import TILE_M, Island
from mesh_ops import FloatArray
from noise import band, mix, smoothstep, spectral

TILE_PX = 256
OVERSAMPLING = 4
MARGIN_PX = 6
"""Texels kept around the outline; beyond them a map is flat, which costs no bytes."""

TEXEL_M = TILE_M / TILE_PX


@dataclass(frozen=True, slots=True)
class Relief:
    """What an instance looks like on its tile, rows from the top."""

    height_m: FloatArray
    """(H, W) metres above the plate."""
    albedo: FloatArray
    """(H, W, 3) display RGB in 0..1."""
    roughness: FloatArray
    """(H, W) in 0..1."""


@dataclass(frozen=True, slots=True)
class Maps:
    """8-bit pictures of one tile."""

    albedo: np.ndarray
    """(H, W, 3) RGB, sRGB."""
    roughness: np.ndarray
    """(H, W)."""
    normal: np.ndarray
    """(H, W, 3), 0..255 for -1..1, Y up."""


def coverage(islands: list[Island]) -> FloatArray:
    """(H, W) share of each texel that the islands cover."""
    size = TILE_PX * OVERSAMPLING
    canvas = np.zeros((size, size), np.uint8)
    for island in islands:
        x = (island.ring[:, 0] / TILE_M + 0.5) * size
        y = (0.5 - island.ring[:, 1] / TILE_M) * size
        corners = np.round(np.stack([x, y], axis=1) * 16.0).astype(np.int32)
        cv2.fillPoly(canvas, [corners], 255, shift=4)
    small = cv2.resize(canvas, (TILE_PX, TILE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float64) / 255.0


def depth_inside(islands: list[Island]) -> FloatArray:
    """(H, W) metres from the rim for what is inside, 0 outside."""
    share = coverage(islands)
    inside = (share > 0.5).astype(np.uint8)
    distance = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Hair cracks are narrower than a texel: there the covered share is the depth.
    return np.maximum(np.asarray(distance, np.float64), share) * TEXEL_M


def normals(height_m: FloatArray) -> FloatArray:
    """(H, W, 3) unit normals of a height field, X right, Y up."""
    down, right = np.gradient(height_m, TEXEL_M)
    vectors = np.stack([-right, down, np.ones_like(right)], axis=2)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=2, keepdims=True))


def grey(level: FloatArray | float, warmth: float = 0.0) -> FloatArray:
    """Display RGB of a grey, turned towards rust by ``warmth``."""
    tone = np.asarray(level, np.float64)[..., None]
    return np.asarray(tone * (1.0 + warmth * np.array([0.55, 0.05, -0.45])))


def crazing(rng: np.random.Generator, inside: FloatArray) -> Relief:
    """Dark grooves."""
    groove = smoothstep(0.0, 1.2 * TEXEL_M, inside)
    level = 0.20 + 0.05 * spectral(rng, TILE_PX, slope=0.8)
    return Relief(-0.00010 * groove, grey(level, rng.uniform(0.0, 0.25)), 0.75 - 0.1 * groove)


def inclusion(rng: np.random.Generator, inside: FloatArray) -> Relief:
    """Dark, fibrous matter, drawn along the rolling direction, lighter at its rim."""
    fibres = spectral(rng, TILE_PX, slope=0.7, stretch=(1.0, 9.0))
    rim = smoothstep(0.0, 0.00045, inside)
    level = 0.36 - 0.20 * rim + 0.07 * fibres
    height = 0.00003 * rim * (1.0 + 0.8 * fibres)
    return Relief(height, grey(level, rng.uniform(0.0, 0.2)), 0.72 + 0.1 * fibres)


def patches(rng: np.random.Generator, inside: FloatArray) -> Relief:
    """A mottled film of oxide: dark with light islands, or the other way about."""
    clouds = spectral(rng, TILE_PX, slope=1.25, stretch=(1.0, 1.6))
    grain = spectral(rng, TILE_PX, slope=0.4)
    mottle = smoothstep(-0.9, 1.1, clouds + 0.35 * grain)
    rim = 1.0 - smoothstep(0.0, 0.0006, inside)
    dark, light = rng.uniform(0.17, 0.25), rng.uniform(0.32, 0.42)
    level = dark + (light - dark) * mottle + 0.025 * grain - 0.05 * rim
    height = 0.000012 * (clouds + 0.6 * grain) + 0.00002 * smoothstep(0.0, 0.0003, inside)
    return Relief(height, grey(level, rng.uniform(-0.05, 0.22)), 0.62 + 0.12 * mottle)


def pitted_surface(rng: np.random.Generator, inside: FloatArray) -> Relief:
    """Craters: steep walls, dark and rough at the bottom, bright where the rim is worn."""
    grain = spectral(rng, TILE_PX, slope=0.5)
    bottom = smoothstep(0.0, 0.0004, inside)
    height = -np.minimum(inside * 1.1, 0.00045) + 0.000018 * grain * bottom
    level = 0.40 - 0.22 * bottom + 0.05 * grain
    return Relief(height, grey(level, rng.uniform(0.0, 0.25)), 0.45 + 0.3 * bottom)


def rolled_in_scale(rng: np.random.Generator, inside: FloatArray) -> Relief:
    """Flakes with layered, cracked surfaces, standing a little proud and bluish to brown."""
    layers = spectral(rng, TILE_PX, slope=1.0, stretch=(1.0, 2.2))
    ridges = band(rng, TILE_PX, cycles=26.0, stretch=(1.0, 1.8))
    rim = smoothstep(0.0, 0.00032, inside)
    level = 0.24 + 0.05 * layers + 0.05 * ridges * rim + 0.10 * (1.0 - rim)
    height = 0.00004 * rim + 0.000018 * (ridges + layers) * rim
    return Relief(height, grey(level, rng.uniform(-0.10, 0.22)), 0.66 - 0.06 * layers)


def scratches(rng: np.random.Generator, inside: FloatArray) -> Relief:
    """Fresh, bright metal: grooves that throw the light back at once."""
    grain = spectral(rng, TILE_PX, slope=0.6)
    level = 0.86 + 0.05 * grain
    height = -np.minimum(inside * 0.55, 0.00016) + 0.000010 * grain
    return Relief(height, grey(level), np.full_like(inside, 0.34))


RELIEFS = {
    "crazing": crazing,
    "inclusion": inclusion,
    "patches": patches,
    "pitted_surface": pitted_surface,
    "rolled-in_scale": rolled_in_scale,
    "scratches": scratches,
}


def draw(label: str, rng: np.random.Generator, islands: list[Island]) -> Maps:
    """The maps of one instance."""
    inside = depth_inside(islands)
    relief = RELIEFS[label](rng, inside)
    kept = cv2.dilate(
        (inside > 0.0).astype(np.uint8), np.ones((2 * MARGIN_PX + 1,) * 2, np.uint8)
    ).astype(np.float64)
    mean = np.clip(relief.albedo, 0.0, 1.0)[inside > 0.0].mean(axis=0)
    flat = np.broadcast_to(np.array([0.0, 0.0, 1.0]), (TILE_PX, TILE_PX, 3))
    rough = float(np.clip(relief.roughness, 0.0, 1.0)[inside > 0.0].mean())
    albedo = mix(np.broadcast_to(mean, flat.shape), np.clip(relief.albedo, 0.0, 1.0), kept)
    facing = mix(flat, normals(relief.height_m), kept)
    return Maps(
        albedo=np.round(albedo * 255.0).astype(np.uint8),
        roughness=np.round(
            np.clip(np.where(kept > 0, relief.roughness, rough), 0.05, 1.0) * 255.0
        ).astype(np.uint8),
        normal=np.round((facing * 0.5 + 0.5) * 255.0).astype(np.uint8),
    )
