"""sRGB pictures as linear light and back, by tables."""

from __future__ import annotations

import functools

import cv2
import numpy as np
import numpy.typing as npt

Light = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]

FULL_SCALE = 65_535
"""Steps of linear light in the way back: 20 of them are sRGB's smallest step of eight bits."""


def to_light(picture: Picture) -> Light:
    """Linear light 0..1, float32 of the same shape."""
    return np.asarray(cv2.LUT(picture, _decoding()), dtype=np.float32)


def to_picture(light: Light) -> Picture:
    """Nearest eight-bit sRGB value of linear light; what lies outside 0..1 is clipped."""
    steps = np.clip(light, 0.0, 1.0)
    steps *= np.float32(FULL_SCALE)
    steps += np.float32(0.5)
    return np.asarray(np.take(_encoding(), steps.astype(np.uint16)))


def srgb_decoded(value: float) -> float:
    """IEC 61966-2-1, one value in 0..1."""
    return value / 12.92 if value <= 0.04045 else float(((value + 0.055) / 1.055) ** 2.4)


def srgb_encoded(value: float) -> float:
    """The inverse of :func:`srgb_decoded`."""
    return value * 12.92 if value <= 0.0031308 else float(1.055 * value ** (1 / 2.4) - 0.055)


@functools.cache
def _decoding() -> Light:
    return np.array([srgb_decoded(level / 255) for level in range(256)], dtype=np.float32)


@functools.cache
def _encoding() -> Picture:
    values = [srgb_encoded(step / FULL_SCALE) for step in range(FULL_SCALE + 1)]
    return np.array([int(value * 255 + 0.5) for value in values], dtype=np.uint8)
