"""What a sensor makes of the light: noise, steps, white balance, compression.

Noise comes from counted bits of a key, through a table of the normal distribution: its values
depend on (seed, frame, camera) alone, and are equal on every machine.
"""

from __future__ import annotations

import functools
from statistics import NormalDist

import cv2
import numpy as np

from simcloud.errors import Bug
from simcloud.spec.color import black_body_rgb
from simcloud_generator.sensor.curves import Light, Picture

_TABLE_BITS = 16
"""Normal values are drawn from this many bits: the largest is 4.3 deviations."""
JPEG_SAMPLING = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420
"""Chroma at half the resolution, as cameras store it."""


class NormalValues:
    """Standard normal values in a row: the n-th depends on the key and on n alone.

    Args:
        key: two 64-bit words that the bits are counted from.
    """

    def __init__(self, key: tuple[int, int]) -> None:
        self._bits = np.random.Philox(key=np.array(key, dtype=np.uint64))

    def take(self, count: int) -> Light:
        """The next values (count,); all but the last call take a multiple of four."""
        words = self._bits.random_raw(-(-count // 4))
        # Four 16-bit parts a word, the lowest first, on machines of either byte order.
        parts = np.asarray(words, dtype="<u8").view("<u2")[:count]
        return np.take(_normal_table(), parts)


def add_noise(
    light: Light, normal: NormalValues, *, full_well_electrons: float, read_noise_electrons: float
) -> None:
    """Adds shot and read noise in place, clipped at 0 and at the full well.

    A value's electrons follow a Poisson distribution, and reading adds a normal one; both together
    are drawn as a normal one with their variance (EMVA 1288): light / full well + (read noise /
    full well) squared.

    Args:
        light: linear (H, W, 3) in 0..1, 1 being the full well.
        normal: where chance comes from.
        full_well_electrons: electrons at 1.
        read_noise_electrons: standard deviation in the dark.
    """
    dark = read_noise_electrons / full_well_electrons
    noise = light * np.float32(1.0 / full_well_electrons)
    noise += np.float32(dark * dark)
    np.sqrt(noise, out=noise)
    noise *= normal.take(light.size).reshape(light.shape)
    light += noise
    np.clip(light, 0.0, 1.0, out=light)


@functools.cache
def _normal_table() -> Light:
    """The middle of each of 2**16 equally likely intervals of the standard normal distribution."""
    count, normal = 1 << _TABLE_BITS, NormalDist()
    upper = [normal.inv_cdf((index + 0.5) / count) for index in range(count // 2, count)]
    return np.array([-value for value in reversed(upper)] + upper, dtype=np.float32)


def round_to_steps(light: Light, bits: int) -> None:
    """Rounds light in 0..1 in place to the steps of a converter with so many bits."""
    top = np.float32((1 << bits) - 1)
    light *= top
    np.rint(light, out=light)
    light /= top


def white_balance_gain(temperature_k: float) -> Light:
    """Factors on red, green and blue, float32 (3,), that turn light of a temperature white."""
    gains = [1.0 / part for part in black_body_rgb(temperature_k)]
    luminance = 0.2126 * gains[0] + 0.7152 * gains[1] + 0.0722 * gains[2]
    return np.array([gain / luminance for gain in gains], dtype=np.float32)


def recompressed(picture: Picture, quality: int) -> Picture:
    """The picture after JPEG: baseline, 4:2:0, with the standard tables scaled by the quality."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, JPEG_SAMPLING]
    done, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), options)
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR) if done else None
    if decoded is None:
        raise Bug(f"a picture of {picture.shape} could not be compressed as JPEG")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), dtype=np.uint8)
