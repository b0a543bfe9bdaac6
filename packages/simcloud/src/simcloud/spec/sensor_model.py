"""What a camera's sensor and its processing do to the finished picture."""

from __future__ import annotations

from typing import Annotated

from pydantic import model_validator

from simcloud.spec.base import SpecModel
from simcloud.spec.distributions import Constant, Real, between


class Sensor(SpecModel):
    """Effects on ``rgb`` alone, in the order of the fields; labels do not see them.

    Each works on linear light between 0 and 1, the developed picture with its sRGB curve undone;
    ``jpeg_quality`` works on the encoded picture.
    """

    chromatic_aberration_px: Annotated[Real, between(-16, 16)] = Constant(value=0.0)
    """How much farther out than green red is drawn in the corners, and blue nearer, pixels."""
    defocus_blur_px: Annotated[Real, between(0, 16)] = Constant(value=0.0)
    """Standard deviation of a round Gaussian, pixels: the softness of a lens or of its focus."""
    motion_blur_px: Annotated[Real, between(0, 16)] = Constant(value=0.0)
    """Standard deviation of a Gaussian along one line, pixels: a camera that moved."""
    motion_blur_deg: Real = Constant(value=0.0)
    """Direction of the line, 0 along the rows, counter-clockwise."""
    vignetting: Annotated[Real, between(0, 0.95)] = Constant(value=0.0)
    """Share of the light that the corners lose, by the fourth power of a cosine."""
    exposure_ev: Annotated[Real, between(-8, 8)] = Constant(value=0.0)
    """Stops, added to the camera's own exposure; what passes full scale is clipped."""
    full_well_electrons: Annotated[Real, between(50, 1e6)] | None = None
    """Electrons at full scale: the variance of shot noise is the signal over this. Unset: no
    noise. A telephone by day has about 5000, at high gain a few hundred."""
    read_noise_electrons: Annotated[Real, between(0, 1e4)] = Constant(value=0.0)
    """Standard deviation of the noise that is there without light, in electrons."""
    adc_bits: Annotated[Real, between(4, 16)] | None = None
    """Linear steps of the analogue-to-digital converter, as a power of two; unset: no steps."""
    white_balance_k: Annotated[Real, between(2000, 20000)] = Constant(value=6500.0)
    """Light that is taken for white; below 6500 the picture turns blue, above it yellow."""
    jpeg_quality: Annotated[Real, between(1, 100)] | None = None
    """The picture is compressed and decoded again with this quality, 4:2:0; unset: it is not."""

    @model_validator(mode="after")
    def _noise_has_a_scale(self) -> Sensor:
        if self.full_well_electrons is None and self.read_noise_electrons != Constant(value=0.0):
            raise ValueError("read_noise_electrons needs full_well_electrons: it is their scale")
        return self
