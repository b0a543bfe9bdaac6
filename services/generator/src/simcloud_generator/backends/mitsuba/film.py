"""From radiance to the picture: denoising, exposure, tone curve, sRGB."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

AUTO_EXPOSURE_KEY = 0.20
"""Geometric mean of the exposed picture's luminance."""

DARKEST = 1e-4
"""Luminance below this counts as this for the exposure, in units of radiance."""

TONE_SCALE = 0.8
"""Before the tone curve: keeps its middle grey where the key puts it."""


def denoise(color: Float32Array, albedo: Float32Array, normal: Float32Array) -> Float32Array:
    """Open Image Denoise, Balanced, with guides that are themselves nearly free of noise.

    Args:
        color: radiance (H, W, 3).
        albedo: 0..1 (H, W, 3).
        normal: -1..1 (H, W, 3).
    """
    # imported by name: its stub file is not valid Python, which ends a type check
    oidn: Any = importlib.import_module("mitsuba_oidn")
    result = oidn.denoise(
        np.ascontiguousarray(color, np.float32),
        np.ascontiguousarray(np.clip(albedo, 0.0, 1.0), np.float32),
        np.ascontiguousarray(np.clip(normal, -1.0, 1.0), np.float32),
        hdr=True,
        clean_aux=True,
        quality=oidn.Quality.Balanced,
    )
    return np.asarray(result, dtype=np.float32)


def develop(radiance: Float32Array, exposure_ev: float | None) -> npt.NDArray[np.uint8]:
    """The finished picture, uint8 sRGB (H, W, 3).

    Args:
        radiance: linear (H, W, 3).
        exposure_ev: stops; None exposes by the picture's geometric mean.
    """
    clean = np.nan_to_num(radiance, nan=0.0, posinf=65504.0, neginf=0.0).clip(0.0)
    if exposure_ev is None:
        luminance = 0.2126 * clean[..., 0] + 0.7152 * clean[..., 1] + 0.0722 * clean[..., 2]
        logs = np.log(np.maximum(luminance, DARKEST).astype(np.float64))
        factor = AUTO_EXPOSURE_KEY / float(np.exp(logs.mean()))
    else:
        factor = 2.0**exposure_ev
    x = clean.astype(np.float64) * (factor * TONE_SCALE)
    # Narkowicz's fit of the ACES filmic curve
    x = (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14)
    x = np.clip(x, 0.0, 1.0)
    x = np.where(x < 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    return (x * 255.0 + 0.5).astype(np.uint8)
