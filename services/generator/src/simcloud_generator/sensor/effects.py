"""All effects of a sensor, in the order in which light and signal meet them.

Lens: lateral chromatic aberration, defocus, motion, vignetting. Sensor: exposure, noise, the
converter's steps. Processing: white balance, sRGB at eight bits, JPEG. Noise comes before white
balance, whose gains amplify it, as in a camera.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simcloud.spec.parameters import SensorEffects
from simcloud_generator.backends.base import RenderedView
from simcloud_generator.sensor.curves import Light, Picture, to_light, to_picture
from simcloud_generator.sensor.electronics import (
    NormalValues,
    add_noise,
    recompressed,
    round_to_steps,
    white_balance_gain,
)
from simcloud_generator.sensor.optics import (
    chromatic_aberration,
    defocused,
    moved,
    vignetting_gain,
)

NEUTRAL_K = 6500.0
BLOCK_ROWS = 16
"""A multiple of four, so that each block takes whole words of random bits."""


def sensed(view: RenderedView) -> RenderedView:
    """The view with its camera's sensor applied to ``rgb``; nothing else changes."""
    effects = view.camera.sensor
    if effects is None or "rgb" not in view.arrays:
        return view
    picture = apply_sensor(view.arrays["rgb"], effects)
    return replace(view, arrays={**view.arrays, "rgb": picture})


def apply_sensor(picture: Picture, effects: SensorEffects) -> Picture:
    """A picture as the sensor would have given it.

    Args:
        picture: uint8 sRGB (H, W, 3), left as it is.
        effects: which, and how strong; neutral ones cost nothing.

    Returns:
        uint8 sRGB (H, W, 3); the same bytes for the same arguments within one render fingerprint.
    """
    result = _developed(_through_lens(to_light(picture), effects), effects)
    if effects.jpeg_quality is not None:
        result = recompressed(result, effects.jpeg_quality)
    return result


def _through_lens(light: Light, effects: SensorEffects) -> Light:
    if effects.chromatic_aberration_px != 0.0:
        light = chromatic_aberration(light, effects.chromatic_aberration_px)
    if effects.defocus_blur_px > 0.0:
        light = defocused(light, effects.defocus_blur_px)
    if effects.motion_blur_px > 0.0:
        light = moved(light, effects.motion_blur_px, effects.motion_blur_deg)
    return light


def _developed(light: Light, effects: SensorEffects) -> Picture:
    """From the light behind the lens to eight bits, a few rows at a time.

    A block's numbers stay in the processor's cache: half the time of doing it picture by picture.
    """
    height, width = light.shape[:2]
    gain = np.full((height, width), 2.0**effects.exposure_ev, dtype=np.float32)
    if effects.vignetting > 0.0:
        gain *= vignetting_gain(height, width, effects.vignetting)
    balance = white_balance_gain(effects.white_balance_k)
    normal = NormalValues(effects.noise_key)
    picture = np.empty(light.shape, dtype=np.uint8)
    for top in range(0, height, BLOCK_ROWS):
        rows = slice(top, top + BLOCK_ROWS)
        block = light[rows] * gain[rows, :, None]
        # A full well holds no more, however long the exposure.
        np.minimum(block, np.float32(1.0), out=block)
        if effects.full_well_electrons is not None:
            add_noise(
                block,
                normal,
                full_well_electrons=effects.full_well_electrons,
                read_noise_electrons=effects.read_noise_electrons,
            )
        if effects.adc_bits is not None:
            round_to_steps(block, effects.adc_bits)
        if effects.white_balance_k != NEUTRAL_K:
            block *= balance
        picture[rows] = to_picture(block)
    return picture
