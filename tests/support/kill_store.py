"""What S3 holds of a run while it is shaken, and at its end, beside an undisturbed run's."""

from __future__ import annotations

import asyncio
import hashlib
import io
from contextlib import suppress
from dataclasses import dataclass, field

import pyarrow.parquet as pq

from simcloud.dataset.layout import KeyKind, RunLocation
from simcloud.errors import SimcloudError
from simcloud.s3.client import S3Settings
from simcloud.s3.objects import ObjectStore, open_store

_LOOK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class StoredShard:
    """A committed shard: its identity, and what it is made of."""

    size_bytes: int
    crc64nvme: int
    sha256: str
    rows: str
    """SHA-256 of the index's rows; its metadata holds the ETag, which depends on the parts."""
    parts: int = field(compare=False)


async def stored_shards(store: ObjectStore, location: RunLocation) -> dict[int, StoredShard]:
    """Every shard of a run that has its tar and its index, read back whole."""
    found = {}
    async for row in store.list_keys(location.bucket, location.shards_prefix):
        key = location.parse(row.key)
        assert key is not None, row.key
        assert key.kind is KeyKind.SHARD, row.key
        info = await store.head(location.bucket, row.key)
        assert info.crc64nvme is not None
        data = (await store.get(location.bucket, row.key)).data
        index = (await store.get(location.bucket, location.index_key(key.shard))).data
        found[key.shard] = StoredShard(
            size_bytes=len(data),
            crc64nvme=info.crc64nvme,
            sha256=hashlib.sha256(data).hexdigest(),
            rows=_rows(index),
            # An ETag of a multipart upload ends with how many parts it had.
            parts=int(info.etag.strip('"').rpartition("-")[2]),
        )
    return found


def _rows(index: bytes) -> str:
    table = pq.read_table(io.BytesIO(index)).replace_schema_metadata()
    return hashlib.sha256(repr(table.to_pylist()).encode()).hexdigest()


async def leftovers(store: ObjectStore, location: RunLocation) -> list[str]:
    """What the commit protocol leaves behind until the sweep: open uploads, epoch objects."""
    uploads = [
        f"{upload.key} {upload.upload_id}"
        async for upload in store.list_uploads(location.bucket, location.root)
    ]
    async for row in store.list_keys(location.bucket, location.uploads_prefix):
        key = location.parse(row.key)
        if key is not None and key.kind is KeyKind.EPOCH:
            uploads.append(row.key)
    return uploads


@dataclass
class Watcher:
    """Looks at a run again and again, as any reader may at any moment.

    What is visible must be whole: a shard's object is the undisturbed run's from its first sight
    on and never changes, an index has its shard, a manifest all indexes.
    """

    settings: S3Settings
    location: RunLocation
    expected: dict[int, StoredShard]
    looks: int = 0
    _seen: dict[str, str] = field(default_factory=dict)

    async def watch(self, ended: asyncio.Event) -> None:
        """Looks until the run has ended; while S3 is dead there is nothing to be seen."""
        async with open_store(self.settings) as store:
            while not ended.is_set():
                with suppress(SimcloudError):
                    await self._look(store)
                    self.looks += 1
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_EVERY_S):
                        await ended.wait()

    async def _look(self, store: ObjectStore) -> None:
        # In this order, as each is written after the next: what was seen of one must be there of
        # the next.
        location = self.location
        manifests = await self._list(store, location.key("manifests/"))
        indexes = await self._list(store, location.key("index/"))
        shards = await self._list(store, location.shards_prefix)
        numbers = {location.parse(key).shard for key in shards}  # type: ignore[union-attr]
        indexed = {location.parse(key).shard for key in indexes}  # type: ignore[union-attr]
        assert indexed <= numbers, f"indexes without their shards: {indexed - numbers}"
        if manifests:
            assert indexed == set(self.expected), f"published with shards {sorted(indexed)} alone"
        for key, etag in shards.items():
            if key not in self._seen:
                await self._check_whole(store, key)
            assert self._seen.setdefault(key, etag) == etag, f"{key} has changed"

    async def _list(self, store: ObjectStore, prefix: str) -> dict[str, str]:
        return {row.key: row.etag async for row in store.list_keys(self.location.bucket, prefix)}

    async def _check_whole(self, store: ObjectStore, key: str) -> None:
        info = await store.head(self.location.bucket, key)
        parsed = self.location.parse(key)
        assert parsed is not None
        wanted = self.expected[parsed.shard]
        found = (info.size_bytes, info.crc64nvme)
        assert found == (wanted.size_bytes, wanted.crc64nvme), f"{key} is not whole: {found}"
