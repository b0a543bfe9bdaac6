"""What a plug-in randomizer is: it sees a sampled frame and says what is to be changed in it.

An installed package names its class in the entry point group ``simcloud.randomizers``. A randomizer
must be pure: what it answers depends on what it is given and on nothing else, so that a frame is
the same wherever and whenever it is rendered. Chance comes from `PluginDraws` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from pydantic import BaseModel

from simcloud.errors import InvalidRequest
from simcloud.spec.kinds import Kind
from simcloud.spec.parameters import (
    DomeLight,
    FrameParameters,
    MaterialBinding,
    Matrix4,
    PlacedObject,
    Quaternion,
    RectLight,
    Scalar,
    ShapeLight,
    Vector3,
)
from simcloud.spec.streams import RandomStream

ENTRY_POINTS = "simcloud.randomizers"
"""Group of the entry points."""

SettingsT = TypeVar("SettingsT", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class PluginDraws:
    """Random bits of one plug-in in one frame; the same name gives the same bits again."""

    seed: int
    """The spec's seed."""
    frame: int
    """Frame index."""
    plugin: str
    """Name of the plug-in in the spec: two entries of one randomizer draw apart."""

    def stream(self, name: str) -> RandomStream:
        """The random bits of ``plugin.<plugin>.<name>``."""
        return RandomStream(seed=self.seed, frame=self.frame, name=f"plugin.{self.plugin}.{name}")

    def real(self, name: str, distribution: Kind) -> float:
        """A number of a distribution, for example ``Uniform(low=0, high=1)``; a float32 value.

        Raises:
            InvalidRequest: it drew a name.
        """
        value = distribution.draw(self.stream(name))
        if isinstance(value, str):
            raise InvalidRequest(f"plugin.{self.plugin}.{name}", f"must draw numbers, drew {value}")
        return value

    def text(self, name: str, distribution: Kind) -> str:
        """A name of a distribution, for example ``Choice(values=("oak", "tile"))``."""
        return str(distribution.draw(self.stream(name)))


@dataclass(frozen=True, slots=True)
class RandomizerFrame(Generic[SettingsT]):
    """What a randomizer is given."""

    frame: int
    """Frame index."""
    parameters: FrameParameters
    """The frame as sampled, before any plug-in: the order of plug-ins means nothing."""
    settings: SettingsT
    """The spec's settings, read by the randomizer's own model."""
    draws: PluginDraws
    """Its random bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectChange:
    """What becomes of a placed object; None leaves a field alone."""

    position_m: Vector3 | None = None
    """World position of the asset's origin."""
    orientation_wxyz: Quaternion | None = None
    """Unit quaternion, asset to world."""
    scale: float | None = None
    """Uniform, above 0."""
    tint_rgb: Vector3 | None = None
    """Linear factor on the base colour."""
    labelled: bool | None = None
    """Whether its label counts."""
    removed: bool = False
    """Whether it is taken away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraChange:
    """What becomes of a camera; None leaves a field alone."""

    cam2world: Matrix4 | None = None
    """Row-major, column vectors, USD camera frame."""
    focal_length_mm: float | None = None
    """Focal length."""
    exposure_ev: float | None = None
    """Stops."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a randomizer answers. Floats are rounded to float32 when the changes are made."""

    add_objects: tuple[PlacedObject, ...] = ()
    """Further objects; their names are new in the frame."""
    objects: Mapping[str, ObjectChange] = field(default_factory=dict)
    """Changes by the name of a placed object."""
    add_rect_lights: tuple[RectLight, ...] = ()
    """Further lights; their names are new in the frame."""
    add_lights: tuple[ShapeLight, ...] = ()
    """Further spheres, disks and parallel lights; their names are new in the frame."""
    dome: DomeLight | None = None
    """Instead of the frame's environment light; None leaves it alone."""
    bindings: tuple[MaterialBinding, ...] = ()
    """Materials bound to prims, instead of what the frame bound to the same prims."""
    cameras: Mapping[str, CameraChange] = field(default_factory=dict)
    """Changes by the name of a camera."""
    values: Mapping[str, Scalar] = field(default_factory=dict)
    """Values for the index: exactly those of :attr:`Randomizer.values`, in every frame."""


class Randomizer(Protocol[SettingsT]):
    """A class with these; made once in each process, without arguments."""

    @property
    def settings(self) -> type[SettingsT]:
        """Model of the settings that a spec gives."""
        ...

    @property
    def values(self) -> tuple[str, ...]:
        """Names of the values that every frame gets: columns ``params.plugin.<plugin>.<value>``."""
        ...

    def randomize(self, frame: RandomizerFrame[SettingsT]) -> Changes:
        """What is to be changed in a frame."""
        ...
