"""A shard's index: a Parquet file that is a pure function of its tar.

The file's key-value metadata holds the committed shard (``ShardRecord``), so its footer alone says
what a manifest needs.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import pyarrow as pa
import pyarrow.parquet as pq

from simcloud.dataset.index_schema import INDEX_VERSION
from simcloud.dataset.layout import RunLocation, shard_path
from simcloud.errors import Corruption
from simcloud.s3 import checksums
from simcloud.s3.answers import ObjectInfo
from simcloud.s3.objects import ObjectStore
from simcloud.spec.canonical import canonical_bytes
from simcloud.spec.plan import ShardFrames

INDEX_TYPE = "application/vnd.apache.parquet"
_METADATA = b"simcloud"
_MAGIC = b"PAR1"
_TAIL_BYTES = 64 << 10


@dataclass(frozen=True, slots=True)
class TarObject:
    """A shard's tar as S3 has it."""

    path: str
    """Within the run, for example ``shards/000000.tar``."""
    size_bytes: int
    crc64nvme: int
    """CRC of the whole object; with the size it is the shard's identity."""
    etag: str
    """Quotes included; for If-Match only."""

    @classmethod
    def of(cls, shard: int, info: ObjectInfo) -> TarObject:
        """What HEAD says of a shard.

        Raises:
            Corruption: S3 keeps no CRC-64/NVME of it, so nothing of ours wrote it.
        """
        if info.crc64nvme is None:
            raise Corruption(f"{info.key}: S3 keeps no CRC-64/NVME of it: not written by Simcloud")
        return cls(
            path=shard_path(shard),
            size_bytes=info.size_bytes,
            crc64nvme=info.crc64nvme,
            etag=info.etag,
        )


@dataclass(frozen=True, slots=True)
class ShardRecord:
    """A committed shard: what its index says of it."""

    run: str
    shard: ShardFrames
    tar: TarObject
    stored_frames: int
    """Frame keys (frame and camera) with their layers."""
    quarantined_frames: int
    """Frame keys that are their json member alone."""
    fingerprints: tuple[str, ...]
    """Digests of render fingerprints in order of first appearance."""
    spec_digest: str
    cameras: tuple[str, ...]
    """In the order in which they stand in the shard."""


def record_metadata(record: ShardRecord) -> dict[bytes, bytes]:
    """The key-value metadata of an index, in which it says what it knows of its shard."""
    plain = asdict(record)
    plain["tar"]["crc64nvme"] = checksums.to_hex(record.tar.crc64nvme)
    return {_METADATA: canonical_bytes({"version": INDEX_VERSION, **plain})}


def shard_record(data: bytes) -> ShardRecord:
    """What an index says of its shard, from the file or its end with the footer.

    Raises:
        Corruption: not an index of ours.
    """
    try:
        metadata = pq.read_metadata(pa.BufferReader(data)).metadata or {}
        plain = json.loads(metadata[_METADATA])
        if plain["version"] != INDEX_VERSION:
            raise Corruption(f"index is of version {plain['version']!r}, not {INDEX_VERSION!r}")
        return _from_plain(plain)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise Corruption(f"not an index of a shard: {error}") from error


def read_rows(data: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """Rows of an index.

    Args:
        data: the Parquet file.
        columns: names of the columns to read; None: all.

    Raises:
        Corruption: not Parquet.
    """
    try:
        return pq.read_table(
            pa.BufferReader(data), columns=None if columns is None else list(columns)
        )
    except (pa.ArrowException, OSError) as error:
        raise Corruption(f"the index can't be read: {error}") from error


async def load_shard_record(store: ObjectStore, location: RunLocation, shard: int) -> ShardRecord:
    """What the index in S3 says of its shard; reads the file's end only.

    Raises:
        NoSuchKey: the shard is not committed.
        Corruption: not an index of this shard.
    """
    return (await read_shard_record(store, location, shard))[0]


async def read_shard_record(
    store: ObjectStore, location: RunLocation, shard: int
) -> tuple[ShardRecord, str]:
    """As ``load_shard_record``, with the ETag of the object that said it, quotes included."""
    key = location.index_key(shard)
    body = await store.get_tail(location.bucket, key, _TAIL_BYTES)
    footer = _footer_bytes(body.data, key)
    if footer > len(body.data) and body.info.size_bytes > len(body.data):
        body = await store.get_tail(location.bucket, key, footer)
    # a Parquet reader looks at both ends
    record = shard_record(_MAGIC + body.data[-footer:])
    if record.shard.shard != shard or record.tar.path != shard_path(shard):
        raise Corruption(f"{key} is the index of shard {record.shard.shard} ({record.tar.path})")
    return record, body.info.etag


async def load_index(store: ObjectStore, location: RunLocation, shard: int) -> bytes:
    """A whole index.

    Raises:
        NoSuchKey: the shard is not committed.
    """
    return (await store.get(location.bucket, location.index_key(shard))).data


def _footer_bytes(tail: bytes, key: str) -> int:
    if len(tail) < 8 or tail[-4:] != _MAGIC:
        raise Corruption(f"{key} is not Parquet")
    (length,) = struct.unpack("<I", tail[-8:-4])
    return cast("int", length) + 8


def _from_plain(plain: dict[str, Any]) -> ShardRecord:
    tar = plain["tar"]
    return ShardRecord(
        run=plain["run"],
        shard=ShardFrames(**plain["shard"]),
        tar=TarObject(
            path=tar["path"],
            size_bytes=tar["size_bytes"],
            crc64nvme=checksums.from_hex(tar["crc64nvme"]),
            etag=tar["etag"],
        ),
        stored_frames=plain["stored_frames"],
        quarantined_frames=plain["quarantined_frames"],
        fingerprints=tuple(plain["fingerprints"]),
        spec_digest=plain["spec_digest"],
        cameras=tuple(plain["cameras"]),
    )
