"""Cameras of a spec: where they stand and how they see."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field

from simcloud.spec.base import Coordinates, Name, SpecModel
from simcloud.spec.motion_model import Motion
from simcloud.spec.distributions import Constant, Real, between


class LookAt(SpecModel):
    """A camera placed by two points."""

    kind: Literal["look_at"] = "look_at"
    eye: Coordinates
    """Position of the camera, metres."""
    target: Coordinates
    """Point at the picture's centre, metres."""
    roll_deg: Real = Constant(value=0.0)
    """About the viewing axis, clockwise as seen through the camera."""


class Orbit(SpecModel):
    """A camera on a sphere around a point."""

    kind: Literal["orbit"] = "orbit"
    target: Coordinates
    """Centre of the sphere and of the picture, metres."""
    distance_m: Annotated[Real, between(1e-4, 1e6)]
    """Radius."""
    azimuth_deg: Real
    """About +Z, 0 looking along +Y from negative Y, counter-clockwise seen from above."""
    elevation_deg: Annotated[Real, between(-89.9, 89.9)]
    """Above the horizon."""
    roll_deg: Real = Constant(value=0.0)
    """About the viewing axis."""


class Camera(SpecModel):
    """A pinhole camera with square pixels."""

    name: Name
    """Part of every member's name."""
    width_px: int = Field(ge=1, le=8192)
    """Width of the picture."""
    height_px: int = Field(ge=1, le=8192)
    """Height of the picture."""
    horizontal_fov_deg: Annotated[Real, between(1, 170)] = Constant(value=60.0)
    """Horizontal field of view, 1 to 170."""
    horizontal_aperture_mm: float = Field(default=20.955, gt=0, le=1000)
    """Width of the film back; with the field of view it gives the focal length."""
    near_m: float = Field(default=0.01, gt=0, le=1e6)
    """Nearer surfaces are not seen."""
    far_m: float = Field(default=1000.0, gt=0, le=1e9)
    """Farther surfaces are not seen."""
    placement: Annotated[LookAt | Orbit, Discriminator("kind")]
    """Where it stands and looks."""
    motion: Motion | None = None
    """How it moved to where it stands; unset: it stood still."""
    exposure_ev: Real | None = None
    """Stops; unset: auto exposure by the picture's log mean."""
