"""What a lens does to light on its way to the sensor.

Each output pixel is a sum of its own, whichever thread computes it; its last bits depend on the
CPU's features and OpenCV's version, which the render fingerprint names, and on nothing else.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from simcloud_generator.sensor.curves import Light

REACH = 3.0
"""Gaussians end at this many standard deviations; 0.3 % of their weight lies beyond."""


def chromatic_aberration(light: Light, shift_px: float) -> Light:
    """Red drawn larger and blue smaller than green, about the picture's centre.

    Args:
        light: linear (H, W, 3).
        shift_px: how far the corners move, outwards for red; in steps of 1/32.
    """
    height, width = light.shape[:2]
    corner_px = math.hypot(width, height) / 2
    result = light.copy()
    for channel, sign in ((0, 1.0), (2, -1.0)):
        # A pixel takes what stood where it is drawn from: inwards for what moves outwards.
        factor = 1.0 - sign * shift_px / corner_px
        middle = ((width - 1) / 2, (height - 1) / 2)
        source = np.array(
            [[factor, 0.0, middle[0] * (1 - factor)], [0.0, factor, middle[1] * (1 - factor)]]
        )
        plane = cv2.warpAffine(
            cv2.extractChannel(light, channel),
            source,
            (width, height),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        cv2.insertChannel(plane, result, channel)
    return result


def gaussian_weights(deviation_px: float) -> npt.NDArray[np.float64]:
    """Weights of a Gaussian at whole pixels (2 r + 1,), its middle in the middle; their sum is 1.

    Each is the Gaussian's integral over its pixel, so that narrow ones are right too.
    """
    if deviation_px <= 0:
        return np.ones(1)
    reach = math.ceil(REACH * deviation_px)
    scale = deviation_px * math.sqrt(2)
    edges = [math.erf((offset - 0.5) / scale) for offset in range(-reach, reach + 2)]
    weights = np.diff(edges)
    return np.asarray(weights / weights.sum())


def defocused(light: Light, deviation_px: float) -> Light:
    """Spread by a round Gaussian; the picture goes on beyond its edges as it ends."""
    weights = gaussian_weights(deviation_px).astype(np.float32)
    result = cv2.sepFilter2D(light, -1, weights, weights, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(result, dtype=np.float32)


def line_kernel(deviation_px: float, direction_deg: float) -> npt.NDArray[np.float64]:
    """A Gaussian along a line through the middle, (2 r + 1, 2 r + 1); its sum is 1.

    Args:
        deviation_px: standard deviation along the line.
        direction_deg: 0 along the rows, counter-clockwise in the picture.
    """
    weights = gaussian_weights(deviation_px)
    reach = len(weights) // 2
    angle = math.radians(direction_deg)
    # Points of the line are shared among their four pixels; one more pixel makes room for that.
    kernel = np.zeros((2 * reach + 3, 2 * reach + 3))
    for offset, weight in zip(range(-reach, reach + 1), weights, strict=True):
        row = reach + 1 - offset * math.sin(angle)
        column = reach + 1 + offset * math.cos(angle)
        top, left = math.floor(row), math.floor(column)
        down, right = row - top, column - left
        share = np.outer((1 - down, down), (1 - right, right))
        # A line along an axis ends on the last row or column, and shares nothing beyond it.
        part = kernel[top : top + 2, left : left + 2]
        part += weight * share[: part.shape[0], : part.shape[1]]
    return kernel


def moved(light: Light, deviation_px: float, direction_deg: float) -> Light:
    """Spread along a line; edges go on as they end."""
    # OpenCV's filters correlate: turned by half a circle, and this kernel is its own half turn.
    kernel = line_kernel(deviation_px, direction_deg).astype(np.float32)
    result = cv2.filter2D(light, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(result, dtype=np.float32)


def vignetting_gain(height: int, width: int, loss: float) -> Light:
    """The share of the light that arrives, float32 (H, W): 1 in the middle, 1 - loss in a corner.

    The fourth power of the cosine of the angle to the axis, at that angle which loses so much.
    """
    tangent_squared = (1.0 - loss) ** -0.5 - 1.0
    y, x = _squares(height), _squares(width)
    corner = (height / 2) ** 2 + (width / 2) ** 2
    gain = 1.0 / (1.0 + tangent_squared * (y[:, None] + x[None, :]) / corner)
    return np.asarray(gain * gain, dtype=np.float32)


def _squares(count: int) -> npt.NDArray[np.float64]:
    """Squared distance of each pixel's centre from the middle."""
    centred = np.arange(count) + 0.5 - count / 2
    return np.asarray(centred * centred)
