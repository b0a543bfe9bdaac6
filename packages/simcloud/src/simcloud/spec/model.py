"""The spec: what makes a frame. These models are the only definition of it.

The JSON Schema (``schema/spec.json``), the docs and the canonical form are made from them. Lengths
are metres, angles degrees, the world is Z up.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, model_validator

from simcloud.annotators import ANNOTATORS, Encoding
from simcloud.spec.distributions import Constant, Real, Text, Uniform, between

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not 1 to 32 of [a-z0-9_-] beginning with a letter or digit")
    return name


Name = Annotated[str, AfterValidator(_checked_name)]
"""Name of a part of the spec: it becomes part of file names and column names."""
Coordinates = tuple[Real, Real, Real]


class SpecModel(BaseModel):
    """What every part of a spec has in common: frozen, no unknown fields, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SceneRef(SpecModel):
    """Which OpenUSD stage, by content."""

    root: str = Field(min_length=1, max_length=512)
    """Path of the root layer, relative to the scene's folder (in a file: to the spec)."""
    digest: str = Field(default="", pattern=r"^([0-9a-f]{64})?$")
    """SHA-256 over the root layer and all its dependencies; filled in when a run is created."""


class Renderer(SpecModel):
    """How pixels are made."""

    backend: Literal["auto", "mitsuba", "isaac"] = "auto"
    """Renderer; ``auto`` is resolved when a run is created."""
    variant: str = Field(default="auto", max_length=64)
    """Variant of the backend (``llvm_ad_rgb``, ``scalar_rgb``, ``cuda_ad_rgb``); pixels of two
    variants differ. ``auto`` is resolved when a run is created."""
    samples_per_pixel: int = Field(default=4, ge=1, le=4096)
    """Paths a pixel; the noise falls with the square root."""
    max_depth: int = Field(default=4, ge=1, le=64)
    """Longest path, in segments: 2 is direct light."""
    denoise: bool = True
    """Whether the picture is denoised with albedo and normals as guides."""
    guide_samples: int = Field(default=12, ge=1, le=1024)
    """Samples a pixel of the denoiser's guides. 12 on a jittered grid guide it as well as 32
    independent ones; the variant ``scalar_rgb`` takes at most 4, each of which costs it dearly."""


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
    exposure_ev: Real | None = None
    """Stops; unset: auto exposure by the picture's log mean."""


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
    clearance_m: float = Field(default=0.02, ge=0, le=10)
    """Smallest distance between its footprints and any other."""
    solid: bool = True
    """Whether it takes up floor; a rug doesn't, and what stands on it is raised by its height."""
    priority: int = Field(default=100, ge=0, le=1000)
    """Groups are placed by priority, then by name: an earlier one has the better choice of places.
    The position of a group in the spec changes nothing."""
    attempts: int = Field(default=40, ge=1, le=1000)
    """Places tried for each object."""


class Randomization(SpecModel):
    """Named distributions over the scene's parameters."""

    region: Region = Region()
    """Where objects on the floor may be."""
    dome: Dome | None = None
    """Environment light; unset keeps the stage's own lights alone."""
    rect_lights: tuple[RectLightSpec, ...] = Field(default=(), max_length=16)
    """Area lights added to the stage's own."""
    materials: tuple[MaterialChoice, ...] = Field(default=(), max_length=64)
    """Materials bound to prims of the stage."""
    objects: tuple[ObjectGroup, ...] = Field(default=(), max_length=64)
    """Objects of the library."""


def _known_annotators(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in ANNOTATORS:
            raise ValueError(f"unknown annotator {name!r}; there are: {', '.join(ANNOTATORS)}")
    if len(set(names)) != len(names):
        raise ValueError("an annotator is named twice")
    return tuple(name for name in ANNOTATORS if name in names)


class Spec(SpecModel):
    """What makes a frame."""

    version: Literal["simcloud.spec/v1"] = "simcloud.spec/v1"
    """Version of this document."""
    seed: int = Field(default=0, ge=0, le=2**53 - 1)
    """Root of all randomness."""
    scene: SceneRef
    """The stage."""
    cameras: tuple[Camera, ...] = Field(min_length=1, max_length=16)
    """Each takes a picture of every frame."""
    annotators: Annotated[tuple[str, ...], AfterValidator(_known_annotators)] = Field(
        default=("rgb", "bounding_box_2d_tight"), min_length=1
    )
    """What is stored of each picture; kept in the order of the annotator table."""
    encodings: dict[str, Encoding] = Field(default_factory=dict)
    """Encoding by annotator; defaults are filled in from the annotator table."""
    renderer: Renderer = Renderer()
    """How pixels are made."""
    randomization: Randomization = Randomization()
    """What differs from frame to frame."""

    @model_validator(mode="before")
    @classmethod
    def _encodings_filled_in(cls, data: object) -> object:
        if not isinstance(data, dict):
            return data
        given = data.get("encodings") or {}
        names = data.get("annotators", cls.model_fields["annotators"].default)
        if not isinstance(given, dict) or not isinstance(names, list | tuple):
            return data
        defaults = {
            name: ANNOTATORS[name].encodings[0].value
            for name in names
            if name in ANNOTATORS and ANNOTATORS[name].is_layer
        }
        return {**data, "encodings": {**defaults, **given}}

    @model_validator(mode="after")
    def _consistent(self) -> Spec:
        for annotator, encoding in self.encodings.items():
            if annotator not in self.annotators:
                raise ValueError(f"encodings: {annotator!r} is not among the annotators")
            allowed = ANNOTATORS[annotator].encodings
            if encoding not in allowed:
                raise ValueError(
                    f"encodings: {annotator} can't be {encoding.value}; it can be "
                    f"{', '.join(item.value for item in allowed)}"
                )
        groups = [group.name for group in self.randomization.objects]
        for kind, names in (
            ("cameras", [camera.name for camera in self.cameras]),
            ("randomization.objects", groups),
            ("randomization.materials", [item.name for item in self.randomization.materials]),
            ("randomization.rect_lights", [item.name for item in self.randomization.rect_lights]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"{kind}: a name is used twice")
        for group in self.randomization.objects:
            if isinstance(group.placement, OnTop) and group.placement.support not in groups:
                raise ValueError(
                    f"randomization.objects: {group.name} stands on {group.placement.support!r}, "
                    "which is not a group"
                )
        return self


def differing_fields(left: Spec, right: Spec) -> list[str]:
    """Paths of the fields in which two specs differ, at most 20, in order."""
    found: list[str] = []
    _compare(left.model_dump(mode="json"), right.model_dump(mode="json"), "", found)
    return found[:20]


def _compare(left: object, right: object, path: str, found: list[str]) -> None:
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            _compare(left.get(key), right.get(key), f"{path}.{key}" if path else key, found)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            _compare(one, other, f"{path}[{index}]", found)
    elif left != right:
        found.append(path)
