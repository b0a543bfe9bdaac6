"""Which shards of a plan are committed: what S3 has, from a LIST and the indexes' footers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from simcloud.dataset.index import ShardRecord, load_shard_record
from simcloud.dataset.layout import KeyKind, RunLocation
from simcloud.dataset.rundoc import RunDocuments
from simcloud.errors import Corruption
from simcloud.s3 import checksums
from simcloud.s3.objects import ObjectStore
from simcloud.s3.retrying import for_each
from simcloud.spec.plan import ShardFrames

_CONCURRENCY = 16
"""Indexes looked at at once."""

ReadRecord = Callable[[int, str], Awaitable[ShardRecord]]
"""What an index says of its shard: by the shard's number and the index's ETag."""


@dataclass(frozen=True, slots=True)
class Collected:
    """The plan's shards as S3 has them."""

    records: dict[int, ShardRecord]
    """Committed ones by number, ascending."""
    missing: tuple[ShardFrames, ...]
    """Those that are not committed, ascending."""

    @property
    def stored_frames(self) -> int:
        """Frame keys with their layers."""
        return sum(record.stored_frames for record in self.records.values())

    @property
    def quarantined_frames(self) -> int:
        """Frame keys that are their json member alone."""
        return sum(record.quarantined_frames for record in self.records.values())

    @property
    def stored_bytes(self) -> int:
        """Bytes of the committed tars."""
        return sum(record.tar.size_bytes for record in self.records.values())


async def committed_shards(store: ObjectStore, location: RunLocation) -> list[int]:
    """Numbers of the shards that have an index, ascending: one LIST."""
    return list(await listed_indexes(store, location))


async def listed_indexes(store: ObjectStore, location: RunLocation) -> dict[int, str]:
    """ETags of the indexes there are, by the shard's number, ascending: one LIST."""
    found = {}
    async for row in store.list_keys(location.bucket, location.index_prefix):
        key = location.parse(row.key)
        if key is not None and key.kind is KeyKind.INDEX:
            found[key.shard] = row.etag
    return found


async def collect_shards(
    store: ObjectStore, documents: RunDocuments, *, read: ReadRecord | None = None
) -> Collected:
    """The committed shards of the newest plan, from a LIST of indexes and their footers.

    Args:
        store: S3.
        documents: the run's spec and plan.
        read: what an index says, by its shard's number and its ETag in the LIST; None: its footer
            is read.

    Raises:
        Corruption: an index is not of this run's spec or plan.
    """
    location = documents.location
    count = documents.plan.shard_count
    listed = await listed_indexes(store, location)

    async def load(number: int) -> ShardRecord:
        if read is None:
            record = await load_shard_record(store, location, number)
        else:
            record = await read(number, listed[number])
        check_record(record, documents)
        return record

    present = [number for number in listed if number < count]
    records = await for_each(present, load, limit=_CONCURRENCY)
    by_number = {record.shard.shard: record for record in records}
    missing = tuple(item for item in documents.plan.shards() if item.shard not in by_number)
    return Collected(records=by_number, missing=missing)


def check_record(record: ShardRecord, documents: RunDocuments) -> None:
    """Returns when a shard is of this run.

    Raises:
        Corruption: another spec, range or cameras than the run's.
    """
    where = f"{documents.location}: index of shard {record.shard.shard}"
    if record.spec_digest != documents.spec_digest:
        raise Corruption(
            f"{where} is of spec {record.spec_digest}, the run's is {documents.spec_digest}"
        )
    if record.shard != documents.plan.shard(record.shard.shard):
        raise Corruption(
            f"{where} holds frames [{record.shard.first}, {record.shard.end}), not the plan's"
        )
    if record.cameras != documents.cameras:
        raise Corruption(f"{where} has cameras {record.cameras}, the spec {documents.cameras}")


async def tar_problem(store: ObjectStore, location: RunLocation, record: ShardRecord) -> str:
    """What is wrong with a shard's tar by HEAD; empty when it is the one of its index."""
    key = location.key(record.tar.path)
    info = await store.find(location.bucket, key)
    if info is None:
        return f"{key} does not exist, but its index does"
    if info.crc64nvme is None and info.etag == record.tar.etag:
        # A server that keeps no CRC: this is the object that was read back at its commit.
        info = replace(info, crc64nvme=record.tar.crc64nvme)
    found = (info.size_bytes, info.crc64nvme)
    if found != (record.tar.size_bytes, record.tar.crc64nvme):
        crc = "none" if info.crc64nvme is None else checksums.to_hex(info.crc64nvme)
        return (
            f"{key} has {info.size_bytes} bytes and CRC {crc}; its index says "
            f"{record.tar.size_bytes} and {checksums.to_hex(record.tar.crc64nvme)}"
        )
    return ""
