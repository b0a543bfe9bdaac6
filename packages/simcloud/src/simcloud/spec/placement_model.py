"""Where the objects of a group go: one model for each kind of placement."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, model_validator

from simcloud.spec.base import Extent, Name, SpecModel, checked_name
from simcloud.spec.distributions import Constant, Real, Uniform, between

_PRIM_PATH = re.compile(r"(/[A-Za-z_]\w*)+")


def is_prim_path(name: str) -> bool:
    """Whether a name is the absolute path of a prim rather than that of a group."""
    return name.startswith("/")


def _checked_target(name: str) -> str:
    if is_prim_path(name):
        if not _PRIM_PATH.fullmatch(name):
            raise ValueError(f"{name!r} is no path of a prim, such as /World/Room/Table")
        return name
    return checked_name(name)


Target = Annotated[str, AfterValidator(_checked_target)]
"""Name of a group, or absolute path of a prim of the stage."""


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

    @model_validator(mode="after")
    def _has_length(self) -> Wall:
        if self.start_m == self.end_m:
            raise ValueError(f"a wall leads from one point to another, both are {self.start_m}")
        return self


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
    pitch_deg: Real = Constant(value=0.0)
    """About the object's own Y, before the yaw."""
    roll_deg: Real = Constant(value=0.0)
    """About the object's own X, before pitch and yaw."""
    z_m: Real = Constant(value=0.0)
    """Height of the object's lowest point."""
    snap: Literal["floor", "none"] = "floor"
    """``floor``: the lowest point stands on the floor at ``z_m``, or on a rug that lies there.
    ``none``: it hangs in the air, and the region counts for nothing."""


class Grid(SpecModel):
    """In rows and columns, an object a cell."""

    kind: Literal["grid"] = "grid"
    x_m: Extent
    """Smallest and largest X of the whole grid."""
    y_m: Extent
    """Smallest and largest Y."""
    rows: int = Field(ge=1, le=256)
    """Cells along Y."""
    columns: int = Field(ge=1, le=256)
    """Cells along X."""
    fill: Literal["in_order", "shuffled"] = "in_order"
    """Cells by growing X, then growing Y, or in an order drawn for each frame."""
    jitter_x_m: Real = Constant(value=0.0)
    """Added to the middle of the cell."""
    jitter_y_m: Real = Constant(value=0.0)
    """Added to the middle of the cell."""
    yaw_deg: Real = Constant(value=0.0)
    """About +Z; 0 faces -Y."""
    z_m: float = 0.0
    """Height that they stand at."""


class Path(SpecModel):
    """One behind the other along a line."""

    kind: Literal["path"] = "path"
    points_m: tuple[tuple[float, float], ...] = Field(min_length=2, max_length=256)
    """Corners of the line, X and Y."""
    spacing_m: float = Field(gt=0, le=1e4)
    """From one object's middle to the next one's, along the line."""
    start_m: Real = Constant(value=0.0)
    """Way along the line to the first object; one draw a frame."""
    fill: Literal["in_order", "shuffled"] = "in_order"
    """Places from the line's beginning on, or in an order drawn for each frame."""
    aside_m: Real = Constant(value=0.0)
    """To the left of the line, going along it."""
    jitter_m: Real = Constant(value=0.0)
    """Added to the way along the line."""
    facing: Literal["along", "back", "left", "right"] = "along"
    """Where the fronts look, going along the line."""
    yaw_jitter_deg: Real = Constant(value=0.0)
    """Added to that direction."""

    @model_validator(mode="after")
    def _has_length(self) -> Path:
        for index, (one, other) in enumerate(zip(self.points_m, self.points_m[1:], strict=False)):
            if one == other:
                raise ValueError(f"points_m[{index + 1}] is the same point as the one before it")
        return self


class Shelf(SpecModel):
    """On the levels of a shelf, side by side and in rows, facing as the shelf does."""

    kind: Literal["shelf"] = "shelf"
    support: Name
    """Group of the shelves; nothing is placed in a frame without one."""
    levels: tuple[Annotated[float, Field(ge=0)] | Name, ...] = Field(min_length=1, max_length=64)
    """Heights of the levels above the shelf's base, metres before its scale, or their names (the
    asset's custom data ``simcloud:levels``)."""
    spacing_m: float = Field(gt=0, le=100)
    """From one object's middle to the next one's, along the shelf."""
    rows: int = Field(default=1, ge=1, le=64)
    """One behind the other."""
    margin_m: float = Field(default=0.0, ge=0, le=10)
    """Kept free at the shelf's sides, front and back: its own boards' thickness, at least."""
    fill: Literal["in_order", "shuffled"] = "in_order"
    """Places by shelf, level, row (the front one first) and from left to right, or in an order
    drawn for each frame."""
    jitter_along_m: Real = Constant(value=0.0)
    """Added along the shelf."""
    jitter_across_m: Real = Constant(value=0.0)
    """Added towards the shelf's back."""
    yaw_jitter_deg: Real = Constant(value=0.0)
    """Added to the shelf's direction."""


class Surface(SpecModel):
    """Anywhere on the upper side of a prim of the stage, all of its area alike."""

    kind: Literal["surface"] = "surface"
    prim: Target
    """Path of the prim; what lies below it in the stage's tree counts."""
    max_slope_deg: float = Field(default=45.0, ge=0, lt=90)
    """Steeper parts are left out."""
    align: bool = False
    """Whether objects stand at right angles to the surface rather than upright."""
    yaw_deg: Real = Uniform(low=-180.0, high=180.0)
    """About the object's own Z."""
    sink_m: Real = Constant(value=0.0)
    """How deep the object's base is in the surface."""

    @model_validator(mode="after")
    def _is_a_prim(self) -> Surface:
        if not is_prim_path(self.prim):
            raise ValueError(f"prim: {self.prim!r} is no path, such as /World/Ground")
        return self


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


class Box(SpecModel):
    """A region of space along the world's axes."""

    x_m: Extent
    """Smallest and largest X."""
    y_m: Extent
    """Smallest and largest Y."""
    z_m: Extent
    """Smallest and largest Z."""


class Orientation(SpecModel):
    """Turned by roll about the object's own X, then pitch about Y, then yaw about Z."""

    yaw_deg: Real = Constant(value=0.0)
    """About the world's +Z."""
    pitch_deg: Real = Constant(value=0.0)
    """About +Y."""
    roll_deg: Real = Constant(value=0.0)
    """About +X."""


class Drop(SpecModel):
    """Let go above a container or a region, and settled by physics.

    The objects start one above the other so that none touches another, fall, and come to rest on
    the stage, on the objects of groups that do not drop, and on each other. Collision shapes are
    convex hulls of the objects' meshes; what they fall upon keeps its hollows. What does not come
    to rest inside the region is taken out and counted in ``objects.<group>.dropped_out``, as is
    what does not fit between the region's walls at the scale that was drawn; what fits at no scale
    is refused with the spec.
    """

    kind: Literal["drop"] = "drop"
    into: Target | Box
    """A group (each object falls into one of its objects, drawn; into none in a frame without
    one), a prim of the stage by its path, or a box in the world."""
    height_m: Annotated[Real, between(0, 10)] = Constant(value=0.1)
    """Free fall of the lowest object, from the region's upper side."""
    gap_m: float = Field(default=0.01, ge=0, le=1)
    """Smallest distance between two objects when they are let go."""
    along: Annotated[Real, between(-0.5, 0.5)] = Uniform(low=-0.5, high=0.5)
    """Start across the region's width, as a share of the room there is, 0 in the middle."""
    across: Annotated[Real, between(-0.5, 0.5)] = Uniform(low=-0.5, high=0.5)
    """Start across the region's depth, as a share of the room there is."""
    orientation: Orientation | None = None
    """When let go; unset draws any rotation, all alike."""
    density_kg_m3: Annotated[Real, between(1, 30_000)] = Constant(value=300.0)
    """Mass of an object over the volume of its hull."""
    friction: Annotated[Real, between(0, 4)] = Constant(value=0.6)
    """Coefficient of sliding friction."""
    walls: Literal["while_falling", "kept", "none"] = "while_falling"
    """Invisible walls around the region: only while things fall (what then leaves the region is
    taken out), to the end (a heap without a container leans on them), or not at all. Those of a
    container begin at its rim, those of a box at its bottom."""
    settle_s: float = Field(default=4.0, gt=0, le=30)
    """Longest time of settling after the fall, simulated seconds; stragglers are frozen."""


Placement = Annotated[
    AlongWall | Scatter | Grid | Path | Shelf | Surface | OnTop | OnWall | Drop,
    Discriminator("kind"),
]


def stage_prims(placement: Placement) -> tuple[str, ...]:
    """Paths of the prims of the stage that a placement refers to."""
    match placement:
        case Drop(into=str(name)) if is_prim_path(name):
            return (name,)
        case Surface():
            return (placement.prim,)
        case _:
            return ()


def surface_prim(placement: Placement) -> str | None:
    """Path of the prim whose surface a placement needs to know; None when it needs none."""
    return placement.prim if isinstance(placement, Surface) else None
