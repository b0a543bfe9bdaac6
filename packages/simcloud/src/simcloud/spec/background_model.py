"""Backgrounds of a spec: pictures that objects are composited on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from simcloud.spec.base import SpecModel
from simcloud.spec.distributions import Constant, Real, Text, Uniform, between

_Gain = Annotated[Real, between(0.01, 100)]
_Slight = Uniform(low=0.95, high=1.05)


class Backgrounds(SpecModel):
    """Pictures behind the objects where ``renderer.mode`` is ``composite``; drawn per camera."""

    pictures: Text
    """Name below /Backgrounds of the scene."""
    zoom: Annotated[Real, between(1, 16)] = Uniform(low=1.0, high=1.4)
    """Magnification beyond what covers the view; the window is drawn from what is left over."""
    flip_chance: float = Field(default=0.5, ge=0, le=1)
    """Chance of a mirrored background."""
    brightness: _Gain = Uniform(low=0.85, high=1.15)
    """Factor on the background's linear values."""
    tint: tuple[_Gain, _Gain, _Gain] = (_Slight, _Slight, _Slight)
    """Linear factor on red, green, blue."""
    blur_px: Annotated[Real, between(0, 64)] = Constant(value=0.0)
    """Standard deviation of a Gaussian over the background, pixels."""
    harmonize: Annotated[Real, between(0, 1)] = Constant(value=0.5)
    """How far the objects' mean colour is brought to the background's."""
    shadow: Annotated[Real, between(0, 1)] = Constant(value=0.6)
    """Darkness of the contact shadow on the background below an object."""
