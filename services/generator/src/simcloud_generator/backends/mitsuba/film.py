"""From radiance to the picture: denoising, exposure, tone curve, sRGB."""

from __future__ import annotations

import functools
import importlib
from collections import OrderedDict
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]

AUTO_EXPOSURE_KEY = 0.20
"""Geometric mean of the exposed picture's luminance."""

MIDDLE_GREY = 0.18
SCALE_BLOCK_PX = 16
"""As Open Image Denoise has them for its own scale."""

DARKEST = 1e-4
"""Luminance below this counts as this for the exposure, in units of radiance."""

KEPT_FILTERS = 4
"""Sizes of pictures in use at once, cameras of one frame."""

TONE_SCALE = 0.8
"""Before the tone curve: keeps its middle grey where the key puts it."""


class Denoiser:
    """Open Image Denoise, Fast, with guides that are themselves nearly free of noise.

    Balanced takes about 1.7 times as long for 0.35 dB more. On the CPU, even where there is a GPU.
    One filter for each size of picture: a filter of its own for each picture, which is what the
    package's own function makes when the scale changes, holds memory and takes a tenth longer.
    """

    def __init__(self) -> None:
        # imported by name: its stub file is not valid Python, which ends a type check
        self._oidn: Any = importlib.import_module("mitsuba_oidn")
        self._filters: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def denoise(
        self, color: Float32Array, albedo: Float32Array, normal: Float32Array
    ) -> Float32Array:
        """A picture without noise, float32 (H, W, 3).

        The input's scale is computed here: Open Image Denoise sums it up thread by thread, and its
        last bits depend on how many there are.

        Args:
            color: radiance (H, W, 3).
            albedo: 0..1 (H, W, 3).
            normal: -1..1 (H, W, 3).
        """
        color = np.ascontiguousarray(color, np.float32)
        result = np.empty_like(color)
        images = {
            "color": color,
            "albedo": np.ascontiguousarray(np.clip(albedo, 0.0, 1.0), np.float32),
            "normal": np.ascontiguousarray(np.clip(normal, -1.0, 1.0), np.float32),
            "output": result,
        }
        denoiser = self._filter(color.shape)
        for name, image in images.items():
            denoiser.set_image(name, image)
        denoiser.input_scale = _input_scale(color)
        denoiser.commit()
        denoiser.execute()
        return result

    def _filter(self, shape: tuple[int, ...]) -> Any:
        found = self._filters.get(shape)
        if found is None:
            found = self._filters[shape] = _cpu_device(self._oidn).new_filter("RT")
            found.hdr = True
            found.clean_aux = True
            found.quality = self._oidn.Quality.Fast
            if len(self._filters) > KEPT_FILTERS:
                self._filters.popitem(last=False)
        self._filters.move_to_end(shape)
        return found


@functools.cache
def _cpu_device(oidn: Any) -> Any:
    device = oidn.Device(oidn.DeviceType.CPU)
    device.commit()
    return device


def _input_scale(color: Float32Array) -> float:
    """What brings a picture's middle grey to 0.18; bright and dark blocks count alike."""
    height, width = color.shape[:2]
    size = (max(1, width // SCALE_BLOCK_PX), max(1, height // SCALE_BLOCK_PX))
    blocks = np.asarray(
        cv2.resize(np.ascontiguousarray(color), size, interpolation=cv2.INTER_AREA), np.float32
    )
    return MIDDLE_GREY / _geometric_mean(blocks.reshape(size[1], size[0], 3))


def _geometric_mean(radiance: npt.NDArray[np.floating]) -> float:
    """Geometric mean of the luminance of (H, W, 3)."""
    luminance = 0.2126 * radiance[..., 0] + 0.7152 * radiance[..., 1] + 0.0722 * radiance[..., 2]
    return float(np.exp(np.log(np.maximum(luminance, DARKEST).astype(np.float64)).mean()))


def develop(radiance: Float32Array, exposure_ev: float | None) -> npt.NDArray[np.uint8]:
    """The finished picture, uint8 sRGB (H, W, 3).

    Args:
        radiance: linear (H, W, 3).
        exposure_ev: stops; None exposes by the picture's geometric mean.
    """
    clean = np.nan_to_num(radiance, nan=0.0, posinf=65504.0, neginf=0.0).clip(0.0)
    if exposure_ev is None:
        factor = AUTO_EXPOSURE_KEY / _geometric_mean(clean)
    else:
        factor = 2.0**exposure_ev
    x = clean.astype(np.float64) * (factor * TONE_SCALE)
    # Narkowicz's fit of the ACES filmic curve
    x = (x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14)
    x = np.clip(x, 0.0, 1.0)
    x = np.where(x < 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)
    return (x * 255.0 + 0.5).astype(np.uint8)
