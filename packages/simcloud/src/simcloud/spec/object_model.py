"""Objects of a spec: which, how many and where."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field

from simcloud.spec.base import Name, SpecModel
from simcloud.spec.motion_model import Motion
from simcloud.spec.distributions import Constant, Real, Text, Uniform, between


class Wall(SpecModel):
    """A straight wall that things may stand against; the room is on its left going along it."""

    name: Name
    """For people."""
    start_m: tuple[float, float]
    """Where it begins, X and Y."""
    end_m: tuple[float, float]
    """Where it ends."""
    weight: float = Field(default=1.0, ge=0)
    """Relative chance of being chosen."""


class AlongWall(SpecModel):
    """With the back to a wall, facing the room."""

    kind: Literal["along_wall"] = "along_wall"
    walls: tuple[Wall, ...] = Field(min_length=1)
    """Walls to choose from."""
    gap_m: Real = Constant(value=0.05)
    """Between the wall and the object."""
    yaw_jitter_deg: Real = Constant(value=0.0)
    """Added to the direction that faces the room."""


class Scatter(SpecModel):
    """Anywhere on the floor of a region."""

    kind: Literal["scatter"] = "scatter"
    x_m: Real
    """X of the object's centre."""
    y_m: Real
    """Y of the object's centre."""
    yaw_deg: Real = Uniform(low=-180.0, high=180.0)
    """About +Z; 0 faces -Y."""


class OnTop(SpecModel):
    """Standing on another group's objects."""

    kind: Literal["on_top"] = "on_top"
    support: Name
    """Group whose first object carries it; nothing is placed in a frame without one."""
    along: Real = Uniform(low=-0.5, high=0.5)
    """Centre across the support's width, as a share of the width, 0 in the middle."""
    across: Real = Constant(value=0.0)
    """Centre across the support's depth, as a share of the depth."""
    yaw_jitter_deg: Real = Constant(value=0.0)
    """Added to the support's direction."""


class OnWall(SpecModel):
    """Hung flat on a wall."""

    kind: Literal["on_wall"] = "on_wall"
    walls: tuple[Wall, ...] = Field(min_length=1)
    """Walls to choose from."""
    height_m: Real
    """Of the object's base above the floor."""


Placement = Annotated[AlongWall | Scatter | OnTop | OnWall, Discriminator("kind")]


class Region(SpecModel):
    """Floor that objects must stay within, all of their footprint."""

    x_m: tuple[float, float] = (-1e6, 1e6)
    """Smallest and largest X."""
    y_m: tuple[float, float] = (-1e6, 1e6)
    """Smallest and largest Y."""


class ObjectGroup(SpecModel):
    """Some objects of the scene's library, chosen, counted and placed alike."""

    name: Name
    """Names its values and its objects (``<name>_00``)."""
    count: Annotated[Real, between(0, 64)] = Constant(value=1)
    """How many are tried, 0 to 64; one that finds no free place is left out."""
    assets: Text
    """Name below /Library of the scene, drawn for each object."""
    placement: Placement
    """Where they go."""
    scale: Annotated[Real, between(1e-3, 1e3)] = Constant(value=1.0)
    """Uniform."""
    tint: tuple[Real, Real, Real] | None = None
    """Linear factor on the base colour, red, green, blue; unset leaves colours alone."""
    motion: Motion | None = None
    """How each of them moved to its place; unset: they stood still."""
    clearance_m: float = Field(default=0.02, ge=0, le=10)
    """Smallest distance between its footprints and any other."""
    solid: bool = True
    """Whether it takes up floor; a rug doesn't, and what stands on it is raised by its height."""
    priority: int = Field(default=100, ge=0, le=1000)
    """Groups are placed by priority, then by name: an earlier one has the better choice of places.
    The position of a group in the spec changes nothing."""
    attempts: int = Field(default=40, ge=1, le=1000)
    """Places tried for each object."""
