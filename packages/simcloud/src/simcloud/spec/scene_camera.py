"""A camera that a stage brings along."""

from __future__ import annotations

from dataclasses import dataclass

from simcloud.spec.parameters import Matrix4


@dataclass(frozen=True, slots=True)
class SceneCamera:
    """A camera of the stage."""

    path: str
    """Absolute path of its prim."""
    cam2world: Matrix4
    """Rigid; USD camera frame: -Z forward, +Y up; metres, Z up."""
    focal_length_mm: float
    horizontal_aperture_mm: float
    vertical_aperture_mm: float
    horizontal_aperture_offset_mm: float
    vertical_aperture_offset_mm: float
    near_m: float
    far_m: float
