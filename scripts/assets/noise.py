"""Periodic noise and colour helpers for procedural textures; every texture tiles without a seam."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def spectral(
    rng: np.random.Generator, size: int, *, slope: float, stretch: tuple[float, float] = (1.0, 1.0)
) -> FloatArray:
    """(size, size) noise of zero mean and unit deviation that repeats in both directions.

    Args:
        rng: source of randomness.
        size: pixels along each side.
        slope: amplitude falls with frequency to this power: 0 is white, 1 cloudy, 2 very smooth.
        stretch: how much longer features are along (rows, columns).
    """
    white = np.fft.rfft2(rng.standard_normal((size, size)))
    rows = np.fft.fftfreq(size)[:, None] * size * stretch[0]
    columns = np.fft.rfftfreq(size)[None, :] * size * stretch[1]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = 1.0
    shaped = white / np.maximum(frequency, 1.0) ** slope
    shaped[0, 0] = 0.0
    noise = np.fft.irfft2(shaped, s=(size, size))
    return np.asarray(noise / noise.std())


def band(
    rng: np.random.Generator,
    size: int,
    *,
    cycles: float,
    stretch: tuple[float, float] = (1.0, 1.0),
) -> FloatArray:
    """(size, size) periodic noise around one frequency in cycles per picture, unit deviation."""
    white = np.fft.rfft2(rng.standard_normal((size, size)))
    rows = np.fft.fftfreq(size)[:, None] * size * stretch[0]
    columns = np.fft.rfftfreq(size)[None, :] * size * stretch[1]
    octaves = np.log2(np.maximum(np.hypot(rows, columns), 1e-3) / cycles)
    noise = np.fft.irfft2(white * np.exp(-2.0 * octaves**2), s=(size, size))
    return np.asarray((noise - noise.mean()) / noise.std())


def smoothstep(low: float, high: float, values: FloatArray) -> FloatArray:
    """0 below ``low``, 1 above ``high``, smooth between."""
    t = np.clip((values - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t))


def mix(first: FloatArray, second: FloatArray, share: FloatArray) -> FloatArray:
    """(H, W, 3) blend of two colours or pictures by an (H, W) share of the second."""
    return np.asarray(first + (second - first) * share[..., None])


def rgb(red: int, green: int, blue: int) -> FloatArray:
    """(3,) display colour from bytes, in 0..1."""
    return np.array([red, green, blue], np.float64) / 255.0


def pixel_grid(size: int, width_m: float) -> tuple[FloatArray, FloatArray]:
    """(x, y) of pixel centres in metres over a square of that width; x along columns."""
    axis = (np.arange(size) + 0.5) / size * width_m
    x, y = np.meshgrid(axis, axis)
    return x, y
