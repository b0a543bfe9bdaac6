"""What scoring needs of a shard's index: labels, parameters, and where the pictures are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from simcloud.dataset.frames import FrameRef
from simcloud.dataset.index_schema import PARAM_PREFIX
from simcloud.dataset.manifest import ManifestShard
from simcloud.dataset.reader import Dataset
from simcloud.dataset.record import Box2D, ObjectRecord
from simcloud.errors import PreconditionFailed
from simcloud.scoring.join import LabelledFrame
from simcloud.scoring.types import FrameKey

PICTURE = "rgb"
"""The layer that models look at."""


@dataclass(frozen=True, slots=True)
class ShardLabels:
    """The stored frames of a shard; quarantined ones are left out."""

    shard: int
    frames: tuple[LabelledFrame, ...]
    """By frame and camera."""
    pictures: dict[FrameKey, FrameRef]
    """The rgb layer of each stored frame."""


async def read_labels(dataset: Dataset, shard: ManifestShard) -> ShardLabels:
    """Reads a shard's index.

    Raises:
        Corruption: the index is not the manifest's.
        PreconditionFailed: the run stores no pictures, so no model can look at it.
    """
    table = await dataset.rows(shard.shard)
    frames = []
    pictures = {}
    for row in table.to_pylist():
        if row["quarantine_rule"] is not None:
            continue
        frame = _frame(row)
        frames.append(frame)
        pictures[frame.key] = _picture(dataset, shard, row)
    return ShardLabels(shard=shard.shard, frames=tuple(frames), pictures=pictures)


def _frame(row: dict[str, Any]) -> LabelledFrame:
    return LabelledFrame(
        frame=row["frame"],
        camera=row["camera"],
        split=row["split"],
        params={
            name.removeprefix(PARAM_PREFIX): value
            for name, value in row.items()
            if name.startswith(PARAM_PREFIX) and value is not None
        },
        objects=tuple(_object(item) for item in row["objects"]),
    )


def _object(item: dict[str, Any]) -> ObjectRecord:
    return ObjectRecord(
        instance_id=item["instance_id"],
        name=item["name"],
        asset=item["asset"],
        label=item["label"],
        semantic_id=item["semantic_id"],
        local2world=None if item["local2world"] is None else tuple(item["local2world"]),
        box3d_min_m=_vector(item["box3d_min_m"]),
        box3d_max_m=_vector(item["box3d_max_m"]),
        box2d_tight=_box(item["box2d_tight"]),
        box2d_loose=_box(item["box2d_loose"]),
        visible_px=item["visible_px"],
        amodal_px=item["amodal_px"],
        occlusion=item["occlusion"],
        truncation=item["truncation"],
        distance_m=item["distance_m"],
        prim=item.get("prim") or "",
        group=item.get("group"),
        scale=item.get("scale"),
        tint_rgb=_vector(item.get("tint_rgb")),
        density_kg_m3=item.get("density_kg_m3"),
        friction=item.get("friction"),
        velocity_m_s=_vector(item.get("velocity_m_s")),
        angular_deg_s=_vector(item.get("angular_deg_s")),
        ignored=bool(item.get("ignored")),
    )


def _vector(values: list[float] | None) -> tuple[float, float, float] | None:
    return (values[0], values[1], values[2]) if values else None


def _box(values: list[int] | None) -> Box2D | None:
    return None if values is None else (values[0], values[1], values[2], values[3])


def _picture(dataset: Dataset, shard: ManifestShard, row: dict[str, Any]) -> FrameRef:
    location = dataset.location
    for layer in row["layers"] or ():
        if layer["annotator"] == PICTURE:
            return FrameRef(
                bucket=location.bucket,
                key=location.key(shard.path),
                etag=shard.etag,
                offset=layer["offset"],
                length=layer["length"],
                media_type=layer["media_type"],
            )
    raise PreconditionFailed(
        f"run {location} stores no {PICTURE} layer: add {PICTURE} to the spec's annotators and "
        "make it again under another name"
    )
