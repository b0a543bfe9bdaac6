"""Lights and materials of a spec."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

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


class RectLightSpec(SpecModel):
    """A rectangular area light that shines down."""

    name: Name
    """Part of the names of its values."""
    position_m: Coordinates
    """Centre."""
    width_m: Annotated[Real, between(1e-4, 1e4)]
    """Extent along X before yaw."""
    height_m: Annotated[Real, between(1e-4, 1e4)]
    """Extent along Y before yaw."""
    yaw_deg: Real = Constant(value=0.0)
    """About +Z."""
    radiance: Annotated[Real, between(0, 1e9)]
    """W/(m^2 sr) up to the scene's common scale."""
    temperature_k: Annotated[Real, between(1667, 25000)] = Constant(value=6500.0)
    """Colour as a black body, 1667 to 25000 K; 6500 is white."""


class MaterialChoice(SpecModel):
    """One material for some prims of the stage."""

    name: Name
    """Name of the value."""
    prims: tuple[str, ...] = Field(min_length=1)
    """Absolute paths of geometry prims that share the material."""
    material: Text
    """Absolute path of a material prim, for example ``/World/Looks/oak``."""
