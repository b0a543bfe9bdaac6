"""The sensor of a camera in one frame: draws under ``camera.<name>.sensor.<field>``."""

from __future__ import annotations

from simcloud.spec.distributions import Real
from simcloud.spec.draws import Draws
from simcloud.spec.parameters import SensorEffects
from simcloud.spec.sensor_model import Sensor


def sample_sensor(sensor: Sensor, camera_name: str, draws: Draws) -> SensorEffects:
    """The effects of one frame.

    Args:
        sensor: the spec's distributions.
        camera_name: ``camera.<name>``, what the values are kept under.
        draws: of the frame.
    """
    prefix = f"{camera_name}.sensor"

    def optional(field: str, distribution: Real | None) -> float | None:
        return None if distribution is None else draws.real(f"{prefix}.{field}", distribution)

    def whole(field: str, distribution: Real | None) -> int | None:
        value = optional(field, distribution)
        return None if value is None else round(value)

    noise = draws.stream(f"{prefix}.noise")
    return SensorEffects(
        chromatic_aberration_px=draws.real(
            f"{prefix}.chromatic_aberration_px", sensor.chromatic_aberration_px
        ),
        defocus_blur_px=draws.real(f"{prefix}.defocus_blur_px", sensor.defocus_blur_px),
        motion_blur_px=draws.real(f"{prefix}.motion_blur_px", sensor.motion_blur_px),
        motion_blur_deg=draws.real(f"{prefix}.motion_blur_deg", sensor.motion_blur_deg),
        vignetting=draws.real(f"{prefix}.vignetting", sensor.vignetting),
        exposure_ev=draws.real(f"{prefix}.exposure_ev", sensor.exposure_ev),
        full_well_electrons=optional("full_well_electrons", sensor.full_well_electrons),
        read_noise_electrons=draws.real(
            f"{prefix}.read_noise_electrons", sensor.read_noise_electrons
        ),
        adc_bits=whole("adc_bits", sensor.adc_bits),
        white_balance_k=draws.real(f"{prefix}.white_balance_k", sensor.white_balance_k),
        jpeg_quality=whole("jpeg_quality", sensor.jpeg_quality),
        noise_key=(noise.word(), noise.word()),
    )
