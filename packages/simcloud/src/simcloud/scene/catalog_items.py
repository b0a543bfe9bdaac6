"""What a catalog lists: things of a scene that have a name."""

from __future__ import annotations

from dataclasses import dataclass

from simcloud.geometry import float32
from simcloud.spec.parameters import Vector3


@dataclass(frozen=True, slots=True)
class Bounds:
    """An axis-aligned box in metres, Z up."""

    minimum: Vector3
    maximum: Vector3

    @property
    def size_m(self) -> Vector3:
        """Extent along x, y and z."""
        size = [float32(b - a) for a, b in zip(self.minimum, self.maximum, strict=True)]
        return size[0], size[1], size[2]


@dataclass(frozen=True, slots=True)
class CatalogAsset:
    """A class prim below ``/Library``."""

    name: str
    label: str | None
    bounds: Bounds
    """In the asset's own frame; its origin should be the centre of its base."""
    placement: str
    """Hint of the asset's author (custom data ``simcloud:placement``); ``any`` without one."""
    levels: tuple[tuple[str, float], ...] = ()
    """(name, height above its base) of its shelf levels, metres, from the lowest up: the custom
    data ``simcloud:levels``, a dictionary of heights above the asset's origin in its own unit."""

    @property
    def base_m(self) -> Vector3:
        """Centre of the base in the asset's frame: zero where its origin is where it should be."""
        low, high = self.bounds.minimum, self.bounds.maximum
        return (float32((low[0] + high[0]) / 2), float32((low[1] + high[1]) / 2), low[2])


@dataclass(frozen=True, slots=True)
class CatalogEnvironment:
    """A class prim below ``/Environments``."""

    name: str
    texture: str
    """Path of its image relative to the root layer's folder."""


@dataclass(frozen=True, slots=True)
class CatalogBackground:
    """A class prim below ``/Backgrounds``: a picture to composite objects on."""

    name: str
    picture: str
    """Path of its image relative to the root layer's folder."""
