"""From a tar in S3 to a committed shard: the index, once, and what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from simcloud.client._wire import CommittedShard
from simcloud.dataset.index import (
    INDEX_TYPE,
    ShardRecord,
    TarObject,
    load_shard_record,
    shard_record,
)
from simcloud.dataset.index_build import build_index, rebuild_index
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.rundoc import RunDocuments, is_still_there
from simcloud.dataset.runs import RunIsAborted
from simcloud.dataset.tar import StoredFrame
from simcloud.errors import Corruption
from simcloud.s3.errors import NoSuchKey
from simcloud.s3.objects import ObjectStore
from simcloud.spec.plan import ShardFrames
from simcloud.telemetry import metrics
from simcloud.telemetry.logging import get_logger
from simcloud_uploader.metrics import COMMITTED

_log = get_logger(__name__)


class Committer:
    """What makes shards visible."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def committed(self, run: RunDocuments, frames: ShardFrames) -> CommittedShard | None:
        """The shard if it is in S3 already; a tar without index gets its index first.

        Raises:
            Corruption: what is there is not this shard of this spec.
            RunIsAborted: the run was purged meanwhile.
        """
        location = run.location
        try:
            record = await load_shard_record(self._store, location, frames.shard)
        except NoSuchKey:
            info = await self._store.find(location.bucket, location.shard_key(frames.shard))
            if info is None:
                return None
            _log.info("index is made from the tar", run=str(location), shard=frames.shard)
            record = await self._write_index(run, frames, rows=None, tar=None)
        return replace(_committed(location, record), already_committed=True)

    async def committed_since(
        self, run: RunDocuments, frames: ShardFrames
    ) -> CommittedShard | None:
        """As ``committed``, when that has just found nothing: asks for the tar alone.

        An index is written after its tar, so one that came meanwhile has brought a tar.
        """
        tar = await self._store.find(run.location.bucket, run.location.shard_key(frames.shard))
        return None if tar is None else await self.committed(run, frames)

    async def commit(
        self,
        run: RunDocuments,
        frames: ShardFrames,
        tar: TarObject,
        rows: Sequence[StoredFrame] | None,
    ) -> CommittedShard:
        """Writes the index of a tar that was completed.

        Args:
            run: the run.
            frames: the shard.
            tar: the tar as S3 has it.
            rows: its frames, when the tar is what they were packed into; None: read from the tar.

        Raises:
            RunIsAborted: the run was purged meanwhile; index and tar are deleted again.
        """
        record = await self._write_index(run, frames, rows=rows, tar=tar)
        metrics.counter(COMMITTED).inc()
        return _committed(run.location, record)

    async def _write_index(
        self,
        run: RunDocuments,
        frames: ShardFrames,
        *,
        rows: Sequence[StoredFrame] | None,
        tar: TarObject | None,
    ) -> ShardRecord:
        location = run.location
        if rows is not None and tar is not None:
            # A quarter of a second of Parquet for a large shard: not on the event loop.
            data = await asyncio.to_thread(build_index, location.run, frames, tar, rows)
        else:
            data = await rebuild_index(self._store, location, frames)
        record = shard_record(data)
        _check(run, record)
        outcome = await self._store.put_if_absent(
            location.bucket, location.index_key(frames.shard), data, content_type=INDEX_TYPE
        )
        if not outcome.created:
            # Whoever wrote it made it from the same tar.
            record = await load_shard_record(self._store, location, frames.shard)
        if not await is_still_there(self._store, run):
            await self._take_back(location, record)
            raise RunIsAborted(f"{location} was aborted and purged")
        _log.debug("shard committed", run=str(location), shard=frames.shard)
        return record

    async def _take_back(self, location: RunLocation, record: ShardRecord) -> None:
        """Deletes what was written into a run that a purge had already left."""
        bucket, shard = location.bucket, record.shard.shard
        keys = [location.index_key(shard)]
        tar = await self._store.find(bucket, location.shard_key(shard))
        if tar is not None and tar.etag == record.tar.etag:
            keys.append(tar.key)
        _log.warning("the run was purged; its shard is deleted", run=str(location), shard=shard)
        await self._store.delete_many(bucket, keys)


def _check(run: RunDocuments, record: ShardRecord) -> None:
    if record.spec_digest != run.spec_digest or record.cameras != run.cameras:
        raise Corruption(
            f"{run.location.shard_key(record.shard.shard)} is of spec {record.spec_digest} with "
            f"cameras {record.cameras}; the run's are {run.spec_digest} and {run.cameras}"
        )


def _committed(location: RunLocation, record: ShardRecord) -> CommittedShard:
    return CommittedShard(
        frames=record.shard,
        key=location.key(record.tar.path),
        etag=record.tar.etag,
        size_bytes=record.tar.size_bytes,
        crc64nvme=record.tar.crc64nvme,
        stored_frames=record.stored_frames,
        quarantined_frames=record.quarantined_frames,
        fingerprints=record.fingerprints,
    )
