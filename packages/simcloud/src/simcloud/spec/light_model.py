"""Lights and materials of a spec."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from simcloud.spec.base import Coordinates, Name, SpecModel
from simcloud.spec.distributions import Constant, Real, Text, Uniform, between


class Dome(SpecModel):
    """The environment's light."""

    environments: Text
    """Name below /Environments of the scene."""
    rotation_deg: Real = Uniform(low=0.0, high=360.0)
    """About +Z."""
    intensity: Annotated[Real, between(0, 1e9)] = Constant(value=1.0)
    """Factor on the image's radiance."""


class LightOrbit(SpecModel):
    """A light on a sphere around a point, shining at it."""

    target: Coordinates
    """Centre of the sphere, metres."""
    distance_m: Annotated[Real, between(1e-4, 1e6)]
    """Radius."""
    azimuth_deg: Real
    """About +Z, 0 standing at negative Y, counter-clockwise seen from above, as of a camera."""
    elevation_deg: Annotated[Real, between(-89.9, 89.9)]
    """Above the horizon; a few degrees graze the surface it stands on."""


class RectLightSpec(SpecModel):
    """A rectangular area light: one that shines down, or one in orbit that shines at a point."""

    name: Name
    """Part of the names of its values."""
    position_m: Coordinates | None = None
    """Centre of a light that shines down."""
    orbit: LightOrbit | None = None
    """Where a light stands that shines at a point; either this or ``position_m``."""
    width_m: Annotated[Real, between(1e-4, 1e4)]
    """Extent along X before yaw."""
    height_m: Annotated[Real, between(1e-4, 1e4)]
    """Extent along Y before yaw."""
    yaw_deg: Real = Constant(value=0.0)
    """About +Z; of a light in orbit about its axis, 0 keeping its width level."""
    radiance: Annotated[Real, between(0, 1e9)]
    """W/(m^2 sr) up to the scene's common scale."""
    temperature_k: Annotated[Real, between(1667, 25000)] = Constant(value=6500.0)
    """Colour as a black body, 1667 to 25000 K; 6500 is white."""

    @model_validator(mode="after")
    def _stands_somewhere(self) -> RectLightSpec:
        if (self.position_m is None) == (self.orbit is None):
            raise ValueError("give position_m or orbit, not both")
        return self


class MaterialChoice(SpecModel):
    """One material for some prims of the stage."""

    name: Name
    """Name of the value."""
    prims: tuple[str, ...] = Field(min_length=1)
    """Absolute paths of geometry prims that share the material."""
    material: Text
    """Absolute path of a material prim, for example ``/World/Looks/oak``."""
