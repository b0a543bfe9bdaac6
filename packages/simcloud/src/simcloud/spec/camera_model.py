"""Cameras of a spec: where they stand and how they see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Discriminator, Field, model_validator

from simcloud.spec.base import Coordinates, Name, Range, SpecModel
from simcloud.spec.distributions import Constant, Real, Text, Uniform, between
from simcloud.spec.motion_model import Motion
from simcloud.spec.sensor_model import Sensor

DEFAULT_FOV_DEG = 60.0
"""Horizontal field of view of a camera that states neither it nor a focal length."""


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


class InsideVolume(SpecModel):
    """A camera anywhere in a box of space, but not inside or close to a placed object."""

    kind: Literal["inside_volume"] = "inside_volume"
    x_m: Range
    """Smallest and largest X of the camera, drawn uniformly; metres."""
    y_m: Range
    """Smallest and largest Y."""
    z_m: Range
    """Smallest and largest Z."""
    target: Coordinates | None = None
    """Point at the picture's centre, metres; a box of them by distributions. Unset: the camera
    looks where ``yaw_deg`` and ``pitch_deg`` say."""
    yaw_deg: Real = Uniform(low=-180.0, high=180.0)
    """Without a target: about +Z, 0 looks along +Y, counter-clockwise seen from above."""
    pitch_deg: Annotated[Real, between(-89.9, 89.9)] = Constant(value=0.0)
    """Without a target: above the horizon."""
    roll_deg: Real = Constant(value=0.0)
    """About the viewing axis, clockwise as seen through the camera."""
    clearance_m: float = Field(default=0.3, ge=0, le=100)
    """Smallest distance to the box of any placed object. The stage's own geometry is not asked."""
    attempts: int = Field(default=50, ge=1, le=1000)
    """Places tried; if none is clear, the one farthest from everything is taken."""


class Mounted(SpecModel):
    """Fixed to another camera: the second eye of a stereo pair, one of a rig."""

    kind: Literal["mounted"] = "mounted"
    carrier: Name
    """Camera that carries it; that one's hand-held jitter moves both."""
    offset_m: Coordinates
    """Position in the carrier's frame: to its right, up, backwards. The right eye of a stereo pair
    with a base of 65 mm has ``[0.065, 0, 0]``."""
    rotation_deg: Coordinates = (
        Constant(value=0.0),
        Constant(value=0.0),
        Constant(value=0.0),
    )
    """Turned about its own X (up), then its own Y (left), then its viewing axis (clockwise as seen
    through the camera); all 0: it looks where the carrier looks."""


class OfStage(SpecModel):
    """A camera that the stage brings along: where it stands, and how it sees.

    Of a camera that moves, the pose at the earliest time sample counts.
    """

    kind: Literal["stage"] = "stage"
    prim: Text
    """Absolute path of a camera of the stage, for example `/World/Cameras/Door`; a choice of
    several draws one of them for each frame. With neither `horizontal_fov_deg` nor
    `focal_length_mm` its own lens counts: focal length, horizontal aperture, and aperture offsets
    on top of the spec's. Pixels are square, so that the height of its picture follows from
    `width_px` and `height_px`. Clipping range, focus and exposure are the spec's."""


class UnknownStanding(SpecModel):
    """Where a photograph's camera stood nobody knows; only imported runs have such cameras."""

    kind: Literal["unknown"] = "unknown"


class Handheld(SpecModel):
    """Small unsteadiness on top of a placement, normally distributed about each axis."""

    rotation_deg: Annotated[Real, between(0, 45)] = Constant(value=0.5)
    """Standard deviation of the turn about each of the camera's axes."""
    translation_mm: Annotated[Real, between(0, 1000)] = Constant(value=5.0)
    """Standard deviation of the shift along each of the camera's axes."""
    correlation_frames: int = Field(default=1, ge=1, le=100_000)
    """Frames over which the jitter drifts smoothly from one draw to the next, for runs whose frames
    follow each other in time; 1 draws each frame on its own."""


Standing = Annotated[
    LookAt | Orbit | InsideVolume | Mounted | OfStage | UnknownStanding, Discriminator("kind")
]


class Camera(SpecModel):
    """A camera with square pixels, and the lens and sensor behind it."""

    name: Name
    """Part of every member's name."""
    width_px: int = Field(ge=1, le=8192)
    """Width of the picture."""
    height_px: int = Field(ge=1, le=8192)
    """Height of the picture."""
    horizontal_fov_deg: Annotated[Real, between(1, 170)] | None = None
    """Horizontal field of view, 1 to 170; 60 where no focal length is given either, but for a
    camera of the stage, which has a lens of its own."""
    focal_length_mm: Annotated[Real, between(0.1, 10_000)] | None = None
    """Focal length, instead of the field of view."""
    horizontal_aperture_mm: float = Field(default=20.955, gt=0, le=1000)
    """Width of the film back; with the field of view it gives the focal length."""
    horizontal_aperture_offset_mm: Annotated[Real, between(-1000, 1000)] = Constant(value=0.0)
    """Moves the picture's window to the camera's right, as USD's does."""
    vertical_aperture_offset_mm: Annotated[Real, between(-1000, 1000)] = Constant(value=0.0)
    """Moves the picture's window up."""
    near_m: float = Field(default=0.01, gt=0, le=1e6)
    """Nearer surfaces are not seen."""
    far_m: float = Field(default=1000.0, gt=0, le=1e9)
    """Farther surfaces are not seen."""
    f_stop: Annotated[Real, between(0.5, 128)] | None = None
    """Depth of field: the focal length over the aperture's diameter. Unset: all of the picture is
    sharp. Labels are those of the sharp picture, as Replicator's are."""
    focus_distance_m: Annotated[Real, between(0.01, 1e6)] | None = None
    """Distance along the viewing axis of what is sharp."""
    focus: Literal["target"] | None = None
    """``target``: focused on the placement's target, instead of ``focus_distance_m``."""
    placement: Standing
    """Where it stands and looks."""
    handheld: Handheld | None = None
    """Unsteadiness on top of the placement; unset: as steady as a tripod."""
    motion: Motion | None = None
    """How it moved to where it stands; unset: it stood still."""
    exposure_ev: Real | None = None
    """Stops; unset: auto exposure by the picture's log mean."""
    sensor: Sensor | None = None
    """What the sensor does to the finished picture; unset: nothing."""

    @model_validator(mode="before")
    @classmethod
    def _field_of_view_filled_in(cls, data: object) -> object:
        if (
            not isinstance(data, dict)
            or data.get("horizontal_fov_deg") is not None
            or data.get("focal_length_mm") is not None
            or _has_no_default_lens(data.get("placement"))
        ):
            return data
        return {**data, "horizontal_fov_deg": DEFAULT_FOV_DEG}

    @model_validator(mode="after")
    def _lens_is_complete(self) -> Camera:
        if self.horizontal_fov_deg is not None and self.focal_length_mm is not None:
            raise ValueError("give horizontal_fov_deg or focal_length_mm, not both")
        if self.far_m <= self.near_m:
            raise ValueError(
                f"near_m must be below far_m, found {self.near_m:g} and {self.far_m:g}: nothing "
                "would be seen"
            )
        focused = (self.focus_distance_m is not None) + (self.focus is not None)
        if self.f_stop is None and focused:
            raise ValueError("focus_distance_m and focus mean nothing without f_stop")
        if self.f_stop is not None and focused != 1:
            raise ValueError("f_stop needs one of focus_distance_m and focus: target")
        if self.focus == "target" and getattr(self.placement, "target", None) is None:
            raise ValueError("focus: target needs a placement with a target")
        return self


def _has_no_default_lens(placement: object) -> bool:
    """Whether the camera has a lens of its own, or one that nobody knows."""
    if isinstance(placement, dict):
        return placement.get("kind") in ("unknown", "stage")
    return isinstance(placement, UnknownStanding | OfStage)


def check_rigs(cameras: Sequence[Camera]) -> None:
    """Raises ValueError for a camera mounted on one that isn't there or is itself mounted."""
    carriers = {camera.name for camera in cameras if not isinstance(camera.placement, Mounted)}
    for camera in cameras:
        if isinstance(camera.placement, Mounted) and camera.placement.carrier not in carriers:
            raise ValueError(
                f"cameras: {camera.name} is mounted on {camera.placement.carrier!r}, which is no "
                "camera with a placement of its own"
            )
