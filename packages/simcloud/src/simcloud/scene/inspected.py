"""What was understood of a stage: the report, and its way through JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from simcloud.errors import Corruption
from simcloud.spec.parameters import Vector3

LISTED = 10_000
"""Entries of one list; a report stays a few megabytes whatever the stage holds."""


@dataclass(frozen=True, slots=True)
class InspectedTexture:
    """A picture that the scene names."""

    path: str
    """Relative to the root layer's folder."""
    prim: str
    """First prim that names it."""
    kind: str
    width_px: int
    height_px: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class InspectedLight:
    """A light of the stage."""

    path: str
    kind: str
    """``area``, ``distant`` or ``dome``."""
    strength: Vector3
    """Radiance of an area light or dome, irradiance of a distant light; linear RGB."""


@dataclass(frozen=True, slots=True)
class InspectedCamera:
    """A camera of the stage."""

    path: str
    horizontal_fov_deg: float
    vertical_fov_deg: float
    position_m: Vector3


@dataclass(frozen=True, slots=True)
class InspectedAsset:
    """A class prim below ``/Library``."""

    name: str
    label: str | None
    size_m: Vector3
    base_m: Vector3
    """Centre of the base in the asset's frame; should be zero."""
    placement: str
    triangles: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneInspection:
    """What was understood of a stage; lists are in a fixed order and hold ``LISTED`` at most."""

    stage: str
    up_axis: str = ""
    metres_per_unit: float = 0.0
    default_prim: str = ""
    meshes: int = 0
    """Meshes after the split by material, those of the library included."""
    triangles: int = 0
    """Of the stage itself: what every frame shows."""
    size_m: Vector3 | None = None
    """Extent of what every frame shows; None when that is nothing."""
    materials: tuple[str, ...] = ()
    textures: tuple[InspectedTexture, ...] = ()
    lights: tuple[InspectedLight, ...] = ()
    cameras: tuple[InspectedCamera, ...] = ()
    assets: tuple[InspectedAsset, ...] = ()
    environments: tuple[str, ...] = ()
    backgrounds: tuple[str, ...] = ()
    labels: dict[str, int] = field(default_factory=dict)
    """Class to the number of labelled objects of the stage; 0 for classes of the library alone."""
    files: int = 0
    total_bytes: int = 0
    """Of all layers and pictures."""
    unsupported: tuple[str, ...] = ()
    """``<prim path>: <what>``: drawn, but not as written."""
    hints: tuple[str, ...] = ()
    """What is allowed and probably not meant, with what to do."""
    problems: tuple[str, ...] = ()
    """Why no frame can be rendered; empty for a scene that works."""


def inspection_from_json(data: bytes) -> SceneInspection:
    """Reads what :func:`inspection_to_json` wrote.

    Raises:
        Corruption: it is no inspection.
    """
    try:
        raw: dict[str, Any] = json.loads(data)
        for name, kind in _LISTS.items():
            raw[name] = tuple(kind(**_frozen(item)) for item in raw[name])
        return SceneInspection(**_frozen(raw))
    except (ValueError, TypeError, KeyError) as error:
        raise Corruption(f"this is no inspection of a scene: {error}") from error


def inspection_to_json(inspection: SceneInspection) -> bytes:
    """The inspection as JSON."""
    return json.dumps(asdict(inspection)).encode()


_LISTS = {
    "textures": InspectedTexture,
    "lights": InspectedLight,
    "cameras": InspectedCamera,
    "assets": InspectedAsset,
}


def _frozen(raw: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(item) if isinstance(item, list) else item for key, item in raw.items()}
