"""The frame record: the json member that closes every frame, and the row of the index made from it.

A record holds all that is known of a frame but its pixels: sampled parameters, camera, labels, and
for each layer its member, size, media type and checksum. It is a pure function of (spec, frame
index) within one render fingerprint: no times, no host names.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any, cast

from simcloud.errors import Corruption
from simcloud.spec.canonical import canonical_bytes
from simcloud.spec.parameters import Scalar

RECORD_VERSION = 1
_LATER = (
    "prim",
    "group",
    "scale",
    "tint_rgb",
    "density_kg_m3",
    "friction",
    "velocity_m_s",
    "angular_deg_s",
    "ignored",
)
"""Fields of an object that came after the first release: absent is empty, so that a record which
has nothing to say in them is byte for byte what it always was."""

Box2D = tuple[int, int, int, int]
"""x_min, y_min, x_max, y_max in pixels; edges: the maximum is exclusive."""


@dataclass(frozen=True, slots=True)
class CameraRecord:
    """A camera as it stood. Image frame: origin at the top left corner, pixel centres at +0.5.

    All but the size is None where nobody knows it: in an imported photograph.
    """

    width: int
    height: int
    fx_px: float | None
    fy_px: float | None
    cx_px: float | None
    cy_px: float | None
    cam2world: tuple[float, ...] | None
    """16 values, row-major, column vectors; USD camera frame: -Z forward, +Y up; metres, Z up."""
    focal_length_mm: float | None
    horizontal_aperture_mm: float | None
    near_m: float | None
    far_m: float | None


@dataclass(frozen=True, slots=True)
class ObjectRecord:
    """One labelled object of a frame, as one camera sees it.

    None stands for what nobody knows: an imported label says no more than its source does.
    """

    instance_id: int
    """Its id in `instance_segmentation`, 2 or more; unique in the frame, alike for all cameras."""
    name: str
    """Prim name below /World/Objects, or the prim's path for what the stage itself holds."""
    asset: str
    """Library asset; empty for what the stage itself holds."""
    label: str
    semantic_id: int
    local2world: tuple[float, ...] | None
    """16 values, row-major, column vectors, scale included."""
    box3d_min_m: tuple[float, float, float] | None
    box3d_max_m: tuple[float, float, float] | None
    """Extent in the object's own frame, before its scale."""
    box2d_tight: Box2D | None
    """Extent of the visible pixels; None when there are none."""
    box2d_loose: Box2D | None
    """Extent as if nothing stood before it, clipped to the image; None when outside."""
    visible_px: int | None
    amodal_px: int | None
    """Pixels within the image if nothing stood before it."""
    occlusion: float | None
    """1 - visible_px / amodal_px; 1 when amodal_px is 0."""
    truncation: float | None
    """Share of the object's projected extent that lies outside the image, 0 to 1."""
    distance_m: float | None
    """From the camera to the centre of its 3D box."""
    prim: str = ""
    """Absolute path of the labelled prim."""
    group: str | None = None
    """Group of the spec that placed it; None for what the stage itself holds."""
    scale: float | None = None
    """Sampled uniform scale, part of ``local2world``; None for what the stage itself holds."""
    tint_rgb: tuple[float, float, float] | None = None
    """Sampled linear factor on its base colour; None where colours were left alone."""
    density_kg_m3: float | None = None
    """Sampled for its fall; None for what was not dropped."""
    friction: float | None = None
    """Likewise."""
    velocity_m_s: tuple[float, float, float] | None = None
    """Sampled for the motion that led to the frame, in its own axes; None where it stood still."""
    angular_deg_s: tuple[float, float, float] | None = None
    """Likewise, as a rotation vector."""
    ignored: bool = False
    """Whether it counts neither way when scored: a crowd region of COCO, a difficult object of
    Pascal VOC."""


@dataclass(frozen=True, slots=True)
class DistractorRecord:
    """One placed object without a label, seen or not: it may hide others, and counts for nothing.

    Fields mean what they mean in ``ObjectRecord``.
    """

    name: str
    asset: str
    local2world: tuple[float, ...]
    """16 values, row-major, column vectors, scale included."""
    prim: str
    scale: float
    group: str | None = None
    """None for what no group of the spec placed."""
    tint_rgb: tuple[float, float, float] | None = None
    density_kg_m3: float | None = None
    friction: float | None = None
    velocity_m_s: tuple[float, float, float] | None = None
    angular_deg_s: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """One layer of a frame."""

    annotator: str
    member: str
    """Name of the tar member."""
    media_type: str
    size_bytes: int
    crc64nvme: str
    """16 lower-case hex digits."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Why a frame is kept out of the data."""

    rule: str
    """Label QA rule, or ``render`` when there is no picture at all."""
    detail: str
    """Which object, expected and found."""


@dataclass(frozen=True, slots=True)
class FrameRecord:
    """All that is known of a frame but its pixels."""

    frame: int
    camera: str
    split: str
    spec_digest: str
    fingerprint: str
    """Digest of the render fingerprint."""
    params: dict[str, Scalar]
    """Every sampled value by name; the same names in every frame of a spec."""
    view: CameraRecord
    objects: tuple[ObjectRecord, ...] = ()
    id_to_label: dict[str, str] = field(default_factory=dict)
    """`semantic_segmentation` id, as decimal text, to label."""
    layers: tuple[LayerRecord, ...] = ()
    quarantine: Quarantine | None = None
    distractors: tuple[DistractorRecord, ...] = ()
    """Alike for all cameras; absent from the JSON when there are none."""

    def to_json(self) -> bytes:
        """RFC 8785 JSON, UTF-8; later fields only where they say something."""
        plain = asdict(self)
        if not self.distractors:
            del plain["distractors"]
        for item in (*plain["objects"], *plain.get("distractors", ())):
            _without_empty(item)
        return canonical_bytes({"version": RECORD_VERSION, **plain})


def _without_empty(item: dict[str, object]) -> None:
    for name in _LATER:
        value = item.get(name)
        if value is None or value is False or value == "":
            item.pop(name, None)


@dataclass(frozen=True, slots=True)
class RecordHead:
    """Of a record, what says which frame it is of, and what came with it."""

    frame: object
    camera: object
    split: object
    spec_digest: object
    fingerprint: object
    layers: list[dict[str, object]]
    """Fields of ``LayerRecord``."""
    quarantined: bool


def record_head(data: bytes) -> RecordHead:
    """Looks through a record whose frame passes by.

    All that ``record_from_json`` refuses is refused. No objects are made of the labels: that costs
    as much as reading them.

    Raises:
        Corruption: not a record, or of another version.
    """
    try:
        raw = json.loads(data)
        version = raw["version"]
        if version == RECORD_VERSION:
            _check_fields(raw)
            return RecordHead(
                frame=raw["frame"],
                camera=raw["camera"],
                split=raw["split"],
                spec_digest=raw["spec_digest"],
                fingerprint=raw["fingerprint"],
                layers=raw["layers"],
                quarantined=bool(raw["quarantine"]),
            )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Corruption(f"frame record can't be read: {error}") from error
    raise Corruption(f"frame record is not of version {RECORD_VERSION}")


class _Fields:
    """Names that a plain object must and may have to become one of a class."""

    def __init__(self, kind: type[Any], *, always: Collection[str] = ()) -> None:
        self._kind = kind.__name__
        self._allowed = frozenset(item.name for item in fields(kind)) | {*always}
        self._required = frozenset(
            item.name
            for item in fields(kind)
            if item.default is MISSING and item.default_factory is MISSING
        ) | {*always}

    def check(self, plain: dict[str, object]) -> None:
        """Returns when it has them.

        Raises:
            TypeError: it has not.
        """
        if not self._required <= plain.keys() <= self._allowed:
            odd = sorted(self._required - plain.keys() or plain.keys() - self._allowed)
            raise TypeError(f"{self._kind}: {odd[0]!r} is missing or unknown")


_VIEW = _Fields(CameraRecord)
_OBJECT = _Fields(ObjectRecord)
_DISTRACTOR = _Fields(DistractorRecord)
_LAYER = _Fields(LayerRecord)
_QUARANTINE = _Fields(Quarantine)
_RECORD = _Fields(FrameRecord, always=("version", "objects", "layers", "quarantine"))


def _check_fields(raw: dict[str, Any]) -> None:
    _RECORD.check(raw)
    view = raw["view"]
    _VIEW.check(view)
    if not isinstance(view["cam2world"], list | None):
        raise TypeError("cam2world is no matrix")
    for item in raw["objects"]:
        _OBJECT.check(item)
    for item in raw.get("distractors", ()):
        _DISTRACTOR.check(item)
    for item in raw["layers"]:
        _LAYER.check(item)
    if raw["quarantine"]:
        _QUARANTINE.check(raw["quarantine"])


def record_from_json(data: bytes) -> FrameRecord:
    """Reads a record.

    Raises:
        Corruption: not a record, or of another version.
    """
    try:
        raw = json.loads(data)
        if raw.pop("version") != RECORD_VERSION:
            raise Corruption(f"frame record is not of version {RECORD_VERSION}")
        view = raw.pop("view")
        objects = raw.pop("objects")
        layers = raw.pop("layers")
        quarantine = raw.pop("quarantine")
        distractors = raw.pop("distractors", ())
        return FrameRecord(
            view=_view(view),
            objects=tuple(ObjectRecord(**_with_tuples(item)) for item in objects),
            layers=tuple(LayerRecord(**item) for item in layers),
            quarantine=Quarantine(**quarantine) if quarantine else None,
            distractors=tuple(DistractorRecord(**_with_tuples(item)) for item in distractors),
            **raw,
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Corruption(f"frame record can't be read: {error}") from error


def _view(values: dict[str, object]) -> CameraRecord:
    matrix = values["cam2world"]
    placed = None if matrix is None else tuple(cast("list[float]", matrix))
    return CameraRecord(**{**values, "cam2world": placed})  # type: ignore[arg-type]


def _with_tuples(item: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in item.items()}
