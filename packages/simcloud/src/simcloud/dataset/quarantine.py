"""Frames kept out of the data: which they are, by the indexes of committed shards, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict

from simcloud.dataset.index import ShardRecord, load_index, read_rows
from simcloud.dataset.layout import RunLocation
from simcloud.s3.objects import ObjectStore
from simcloud.s3.retrying import for_each


class QuarantinedFrame(BaseModel):
    """A frame kept out of the data, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frame: int
    """Frame index."""
    camera: str
    """Name of the camera."""
    rule: str
    """Label QA rule, or `render`."""
    detail: str
    """Which object, expected and found."""


async def quarantined_in(
    store: ObjectStore, location: RunLocation, records: Sequence[ShardRecord]
) -> tuple[QuarantinedFrame, ...]:
    """The quarantined frames of committed shards; reads the indexes of those that have any."""
    affected = [record for record in records if record.quarantined_frames]

    async def load(record: ShardRecord) -> list[QuarantinedFrame]:
        return quarantined_rows(await load_index(store, location, record.shard.shard))

    found = await for_each(affected, load, limit=4)
    return tuple(frame for frames in found for frame in frames)


def by_rule(quarantine: Iterable[QuarantinedFrame]) -> dict[str, int]:
    """Frame keys by the rule that they broke, in alphabetic order."""
    return dict(sorted(Counter(row.rule for row in quarantine).items()))


def quarantined_rows(index: bytes) -> list[QuarantinedFrame]:
    """The quarantined frames of an index, in its order."""
    table = read_rows(index, ["frame", "camera", "quarantine_rule", "quarantine_detail"])
    return [
        QuarantinedFrame(
            frame=row["frame"],
            camera=row["camera"],
            rule=row["quarantine_rule"],
            detail=row["quarantine_detail"],
        )
        for row in table.to_pylist()
        if row["quarantine_rule"] is not None
    ]
