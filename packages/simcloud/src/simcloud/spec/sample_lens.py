"""What a camera's lens draws: under ``camera.<name>.<field>``."""

from __future__ import annotations

import math
from dataclasses import dataclass

from simcloud.spec.camera_model import Camera
from simcloud.spec.distributions import to_float32
from simcloud.spec.draws import Draws
from simcloud.spec.scene_camera import SceneCamera


@dataclass(frozen=True, slots=True)
class Lens:
    """A pinhole's proportions, float32."""

    focal_length_mm: float
    horizontal_aperture_mm: float
    offsets_mm: tuple[float, float]
    """To the right and up."""


def sample_lens(camera: Camera, own: SceneCamera | None, draws: Draws) -> Lens:
    """The lens of a camera in a frame.

    Args:
        camera: of the spec.
        own: the camera of the stage that it is, if any: its lens counts where the spec says
            nothing of one.
        draws: of the frame.
    """
    name = f"camera.{camera.name}"
    right, up = (
        draws.real(f"{name}.{field}", distribution)
        for field, distribution in (
            ("horizontal_aperture_offset_mm", camera.horizontal_aperture_offset_mm),
            ("vertical_aperture_offset_mm", camera.vertical_aperture_offset_mm),
        )
    )
    if own is None or (camera.horizontal_fov_deg, camera.focal_length_mm) != (None, None):
        aperture = to_float32(camera.horizontal_aperture_mm)
        return Lens(_focal_length_mm(camera, draws), aperture, (right, up))
    return Lens(
        own.focal_length_mm,
        own.horizontal_aperture_mm,
        (
            to_float32(right + own.horizontal_aperture_offset_mm),
            to_float32(up + own.vertical_aperture_offset_mm),
        ),
    )


def _focal_length_mm(camera: Camera, draws: Draws) -> float:
    name = f"camera.{camera.name}"
    if camera.focal_length_mm is not None:
        return draws.real(f"{name}.focal_length_mm", camera.focal_length_mm)
    assert camera.horizontal_fov_deg is not None  # the model fills one of the two in
    fov_deg = draws.real(f"{name}.horizontal_fov_deg", camera.horizontal_fov_deg)
    return to_float32(camera.horizontal_aperture_mm / (2 * math.tan(math.radians(fov_deg) / 2)))
