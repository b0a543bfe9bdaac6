"""Plates of steel: what rolling, pickling and brushing leave behind, as tiling maps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from mesh_ops import FloatArray
from noise import band, mix, rgb, smoothstep, spectral

SIZE_PX = 512
WIDTH_M = 0.064


@dataclass(frozen=True, slots=True)
class Finish:
    """A relief that several plates share."""

    name: str
    slope: float
    """Root mean square of the surface's slope."""
    draw: Callable[[np.random.Generator], FloatArray]
    """Height in arbitrary units, (SIZE_PX, SIZE_PX)."""


@dataclass(frozen=True, slots=True)
class Plate:
    """One plate's look."""

    name: str
    finish: str
    level: float
    """Mean display grey, 0..1."""
    clouds: float
    """How much the tone varies over centimetres."""
    streaks: float
    """How much it varies across the rolling direction."""
    rust: float
    """Share of the surface with a film of rust, 0..1."""
    roughness: float
    metallic: float


def _rolled(rng: np.random.Generator) -> FloatArray:
    fine = spectral(rng, SIZE_PX, slope=0.5, stretch=(1.0, 14.0))
    return fine + 0.5 * spectral(rng, SIZE_PX, slope=0.5)


def _brushed(rng: np.random.Generator) -> FloatArray:
    return spectral(rng, SIZE_PX, slope=0.25, stretch=(1.0, 60.0))


def _pickled(rng: np.random.Generator) -> FloatArray:
    return band(rng, SIZE_PX, cycles=70.0) + 0.4 * spectral(rng, SIZE_PX, slope=0.4)


def _scaled(rng: np.random.Generator) -> FloatArray:
    lumps = spectral(rng, SIZE_PX, slope=1.1)
    flakes = np.maximum(band(rng, SIZE_PX, cycles=40.0, stretch=(1.0, 1.8)) - 0.6, 0.0)
    return lumps + 1.2 * flakes + 0.35 * spectral(rng, SIZE_PX, slope=0.3)


FINISHES: tuple[Finish, ...] = (
    Finish("rolled", 0.075, _rolled),
    Finish("brushed", 0.085, _brushed),
    Finish("pickled", 0.080, _pickled),
    Finish("scaled", 0.110, _scaled),
)

PLATES: tuple[Plate, ...] = (
    Plate("hot_rolled_dark", "scaled", 0.42, 0.05, 0.02, 0.0, 0.52, 0.75),
    Plate("hot_rolled_grey", "scaled", 0.52, 0.04, 0.03, 0.0, 0.50, 0.8),
    Plate("hot_rolled_blue", "scaled", 0.46, 0.05, 0.02, 0.0, 0.46, 0.85),
    Plate("hot_rolled_rusty", "scaled", 0.48, 0.05, 0.02, 0.34, 0.56, 0.7),
    Plate("pickled_light", "pickled", 0.64, 0.03, 0.02, 0.0, 0.46, 0.9),
    Plate("pickled_stained", "pickled", 0.58, 0.07, 0.03, 0.10, 0.48, 0.85),
    Plate("cold_rolled", "rolled", 0.66, 0.02, 0.03, 0.0, 0.40, 0.95),
    Plate("cold_rolled_banded", "rolled", 0.60, 0.02, 0.08, 0.0, 0.42, 0.95),
    Plate("cold_rolled_oiled", "rolled", 0.54, 0.06, 0.03, 0.0, 0.34, 0.95),
    Plate("brushed", "brushed", 0.66, 0.02, 0.05, 0.0, 0.38, 1.0),
    Plate("brushed_worn", "brushed", 0.56, 0.05, 0.05, 0.06, 0.44, 0.95),
)

_TINTS = {"hot_rolled_blue": (0.93, 1.0, 1.10), "cold_rolled_oiled": (1.05, 1.0, 0.92)}


def relief(finish: Finish, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 normal map with the finish's slope, Y up, tiling."""
    height = finish.draw(rng)
    down = (np.roll(height, -1, 0) - np.roll(height, 1, 0)) / 2.0
    right = (np.roll(height, -1, 1) - np.roll(height, 1, 1)) / 2.0
    gain = finish.slope / float(np.sqrt((down**2 + right**2).mean()))
    vectors = np.stack([-right * gain, down * gain, np.ones_like(height)], axis=2)
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    return np.asarray(np.round((vectors * 0.5 + 0.5) * 255.0), np.uint8)


def albedo(plate: Plate, rng: np.random.Generator) -> np.ndarray:
    """(H, W, 3) uint8 sRGB, tiling."""
    clouds = spectral(rng, SIZE_PX, slope=1.5)
    streaks = spectral(rng, SIZE_PX, slope=0.8, stretch=(1.0, 40.0))
    grain = spectral(rng, SIZE_PX, slope=0.35, stretch=(1.0, 3.0))
    level = plate.level * (1.0 + plate.clouds * clouds + plate.streaks * streaks + 0.03 * grain)
    tint = np.array(_TINTS.get(plate.name, (1.0, 1.0, 1.0)))
    color = np.clip(level[..., None] * tint, 0.0, 1.0)
    if plate.rust > 0.0:
        spread = spectral(rng, SIZE_PX, slope=1.1) + 0.3 * grain
        edge = float(np.quantile(spread, 1.0 - plate.rust))
        share = 0.6 * smoothstep(edge - 0.25, edge + 0.7, spread)
        tone = mix(rgb(88, 66, 54), rgb(122, 92, 72), smoothstep(-1.5, 1.5, streaks + grain))
        color = mix(color, tone, share)
    return np.asarray(np.round(np.clip(color, 0.0, 1.0) * 255.0), np.uint8)
