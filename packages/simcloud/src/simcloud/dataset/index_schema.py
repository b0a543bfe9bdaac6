"""The index's Parquet schema: one row per frame and camera, defined here and nowhere else.

Sampled parameters are flat columns ``params.<name>``: numbers are doubles whatever their value (in
RFC 8785 JSON 2.0 and 2 are the same bytes, and a column's type must not depend on what was drawn),
truths are booleans, names are strings. Nulls in the camera's and objects' fields are what nobody
knows: imported photographs have no more than their labels say.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

INDEX_VERSION = "simcloud.index/v1"
PARAM_PREFIX = "params."


@dataclass(frozen=True, slots=True)
class Column:
    """One row of the table."""

    name: str
    type: pa.DataType
    description: str


def _struct(*fields: tuple[str, pa.DataType]) -> pa.DataType:
    return pa.struct([pa.field(name, kind) for name, kind in fields])


OBJECT = _struct(
    ("instance_id", pa.int32()),
    ("name", pa.string()),
    ("asset", pa.string()),
    ("label", pa.string()),
    ("semantic_id", pa.int32()),
    ("local2world", pa.list_(pa.float64())),
    ("box3d_min_m", pa.list_(pa.float64())),
    ("box3d_max_m", pa.list_(pa.float64())),
    ("box2d_tight", pa.list_(pa.int32())),
    ("box2d_loose", pa.list_(pa.int32())),
    ("visible_px", pa.int64()),
    ("amodal_px", pa.int64()),
    ("occlusion", pa.float64()),
    ("truncation", pa.float64()),
    ("distance_m", pa.float64()),
    ("prim", pa.string()),
    ("group", pa.string()),
    ("scale", pa.float64()),
    ("tint_rgb", pa.list_(pa.float64())),
    ("density_kg_m3", pa.float64()),
    ("friction", pa.float64()),
    ("velocity_m_s", pa.list_(pa.float64())),
    ("angular_deg_s", pa.list_(pa.float64())),
    ("ignored", pa.bool_()),
)
"""As ``simcloud.dataset.record.ObjectRecord``."""

DISTRACTOR = _struct(
    ("name", pa.string()),
    ("asset", pa.string()),
    ("local2world", pa.list_(pa.float64())),
    ("prim", pa.string()),
    ("scale", pa.float64()),
    ("group", pa.string()),
    ("tint_rgb", pa.list_(pa.float64())),
    ("density_kg_m3", pa.float64()),
    ("friction", pa.float64()),
    ("velocity_m_s", pa.list_(pa.float64())),
    ("angular_deg_s", pa.list_(pa.float64())),
)
"""As ``simcloud.dataset.record.DistractorRecord``."""

LAYER = _struct(
    ("annotator", pa.string()),
    ("member", pa.string()),
    ("offset", pa.int64()),
    ("length", pa.int64()),
    ("crc64nvme", pa.string()),
    ("media_type", pa.string()),
)
"""As ``simcloud.dataset.tar.StoredLayer``; the CRC in 16 hex digits."""

COLUMNS: tuple[Column, ...] = (
    Column("run", pa.string(), "Name of the run."),
    Column("frame", pa.int64(), "Frame index."),
    Column("camera", pa.string(), "Name of the camera."),
    Column(
        "split",
        pa.string(),
        "Split of the frame, as the plan says: a hash of its index, or a range.",
    ),
    Column("fingerprint", pa.string(), "Digest of the render fingerprint."),
    Column("spec_digest", pa.string(), "SHA-256 of the canonical spec."),
    Column("quarantine_rule", pa.string(), "Null, or the rule that keeps the frame out."),
    Column("quarantine_detail", pa.string(), "Null, or which object, expected and found."),
    Column("width", pa.int32(), "Width of the picture, pixels."),
    Column("height", pa.int32(), "Height of the picture, pixels."),
    Column("fx_px", pa.float64(), "Focal length along x, pixels."),
    Column("fy_px", pa.float64(), "Focal length along y, pixels."),
    Column("cx_px", pa.float64(), "Principal point, x, pixels from the left edge."),
    Column("cy_px", pa.float64(), "Principal point, y, pixels from the top edge."),
    Column("cam2world", pa.list_(pa.float64()), "16 values, row-major; -Z forward, +Y up; metres."),
    Column("focal_length_mm", pa.float64(), "Focal length, millimetres."),
    Column("horizontal_aperture_mm", pa.float64(), "Width of the film back, millimetres."),
    Column("near_m", pa.float64(), "Near clipping distance, metres."),
    Column("far_m", pa.float64(), "Far clipping distance, metres."),
    Column("objects", pa.list_(OBJECT), "Labelled objects as the camera sees them."),
    Column("distractors", pa.list_(DISTRACTOR), "Placed objects without a label, seen or not."),
    Column(
        "id_to_label",
        pa.list_(_struct(("id", pa.int32()), ("label", pa.string()))),
        "Labels of the ids of `semantic_segmentation`, by id.",
    ),
    Column("layers", pa.list_(LAYER), "Where each layer stands in the shard; none if quarantined."),
    Column("record_offset", pa.int64(), "First byte of the frame's json member in the shard."),
    Column("record_length", pa.int64(), "Length of the json member, bytes."),
)
"""Every fixed column; the ``params.<name>`` columns follow, by name."""


def index_schema(params: dict[str, pa.DataType]) -> pa.Schema:
    """The schema of a shard with these parameters."""
    fixed = [pa.field(column.name, column.type) for column in COLUMNS]
    flat = [pa.field(PARAM_PREFIX + name, params[name]) for name in sorted(params)]
    return pa.schema(fixed + flat)


def param_type(value: object) -> pa.DataType:
    """Column type of a sampled value as read from JSON."""
    if isinstance(value, bool):
        return pa.bool_()
    if isinstance(value, int | float):
        return pa.float64()
    return pa.string()
