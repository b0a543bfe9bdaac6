"""Lights of a spec."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, model_validator

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
    exposure_ev: Annotated[Real, between(-30, 30)] = Constant(value=0.0)
    """Stops on top of the intensity: each doubles it."""


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


_Factor = Annotated[Real, between(0, 1e6)]
_Kelvin = Annotated[Real, between(1667, 25000)]


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
    temperature_k: _Kelvin = Constant(value=6500.0)
    """Colour as a black body, 1667 to 25000 K; 6500 is white."""
    tint: tuple[_Factor, _Factor, _Factor] | None = None
    """Linear factor on red, green and blue, as of a coloured filter; unset: none."""

    @model_validator(mode="after")
    def _stands_somewhere(self) -> RectLightSpec:
        if (self.position_m is None) == (self.orbit is None):
            raise ValueError("give position_m or orbit, one of them")
        return self


class SphereLightSpec(SpecModel):
    """A sphere that shines in every direction, such as a bulb."""

    kind: Literal["sphere"] = "sphere"
    name: Name
    """Part of the names of its values."""
    position_m: Coordinates
    """Centre."""
    radius_m: Annotated[Real, between(1e-4, 1e4)]
    """Radius."""
    radiance: Annotated[Real, between(0, 1e9)]
    """W/(m^2 sr) up to the scene's common scale."""
    temperature_k: _Kelvin = Constant(value=6500.0)
    """Colour as a black body, 1667 to 25000 K; 6500 is white."""
    tint: tuple[_Factor, _Factor, _Factor] | None = None
    """Linear factor on red, green and blue; unset: none."""


class DiskLightSpec(SpecModel):
    """A round area light: one that shines down, or one in orbit that shines at a point."""

    kind: Literal["disk"] = "disk"
    name: Name
    """Part of the names of its values."""
    position_m: Coordinates | None = None
    """Centre of a light that shines down."""
    orbit: LightOrbit | None = None
    """Where a light stands that shines at a point; either this or ``position_m``."""
    radius_m: Annotated[Real, between(1e-4, 1e4)]
    """Radius."""
    radiance: Annotated[Real, between(0, 1e9)]
    """W/(m^2 sr) up to the scene's common scale."""
    temperature_k: _Kelvin = Constant(value=6500.0)
    """Colour as a black body, 1667 to 25000 K; 6500 is white."""
    tint: tuple[_Factor, _Factor, _Factor] | None = None
    """Linear factor on red, green and blue; unset: none."""

    @model_validator(mode="after")
    def _stands_somewhere(self) -> DiskLightSpec:
        if (self.position_m is None) == (self.orbit is None):
            raise ValueError("give position_m or orbit, one of them")
        return self


class DistantLightSpec(SpecModel):
    """Parallel light from one direction, such as the sun's; its shadows are sharp."""

    kind: Literal["distant"] = "distant"
    name: Name
    """Part of the names of its values."""
    azimuth_deg: Real
    """Where it comes from about +Z, 0 from negative Y, counter-clockwise seen from above."""
    elevation_deg: Annotated[Real, between(-90, 90)]
    """Above the horizon; 90 shines straight down."""
    irradiance: Annotated[Real, between(0, 1e9)]
    """W/m^2 on a surface that faces it, up to the scene's common scale."""
    temperature_k: _Kelvin = Constant(value=6500.0)
    """Colour as a black body, 1667 to 25000 K; 6500 is white."""
    tint: tuple[_Factor, _Factor, _Factor] | None = None
    """Linear factor on red, green and blue; unset: none."""


LightSpec = Annotated[SphereLightSpec | DiskLightSpec | DistantLightSpec, Discriminator("kind")]
