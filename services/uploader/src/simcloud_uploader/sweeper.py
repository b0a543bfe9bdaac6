"""What nobody goes on with: uploads aborted, epoch objects deleted; and a run stopped for good."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from simcloud.dataset.committed import committed_shards
from simcloud.dataset.layout import KeyKind, RunKey, RunLocation
from simcloud.dataset.rundoc import is_aborted, load_spec
from simcloud.errors import Bug, InvalidRequest, NotFound
from simcloud.s3.buckets import ListedObject
from simcloud.s3.multipart import ListedUpload
from simcloud.s3.objects import ObjectStore
from simcloud.spec.canonical import canonical_bytes
from simcloud.telemetry import metrics
from simcloud_uploader.epochs import Epoch, EpochState
from simcloud_uploader.metrics import SWEPT
from simcloud_uploader.ownership import newest_epoch

_ABORT_TRIES = 16
MAX_RUNS = 1000
"""Runs of which one process or one listing knows."""


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep removed, and what it left."""

    uploads: int
    epochs: int
    left: int
    """Epoch objects that stay: of open shards, and those that are too young."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """What ``abort_run`` did."""

    shards: int
    uploads: int
    objects: int


def abandoned(
    upload: ListedUpload,
    *,
    is_committed: bool,
    run_aborted: bool,
    named_at: datetime | None,
    now: datetime,
    upload_ttl_s: float,
) -> bool:
    """Whether an upload may be aborted. Pure.

    Args:
        upload: as listed.
        is_committed: whether its shard has an index.
        run_aborted: whether its run is aborted.
        named_at: last change of the newest epoch object if that names it, else None.
        now: S3's time.
        upload_ttl_s: age from which on an upload is nobody's, seconds.
    """
    if is_committed or run_aborted:
        return True
    newest = max(upload.initiated, named_at) if named_at is not None else upload.initiated
    return (now - newest).total_seconds() > upload_ttl_s


class Sweeper:
    """Removes what the commit protocol leaves behind.

    Args:
        store: S3.
        upload_ttl_s: age from which on an upload that nobody commits is aborted, seconds.
        stale_after_s: epoch objects of committed shards are kept that long for late owners.
    """

    def __init__(self, store: ObjectStore, *, upload_ttl_s: float, stale_after_s: float) -> None:
        self._store = store
        self._upload_ttl_s = upload_ttl_s
        self._stale_after_s = stale_after_s

    async def sweep(self, location: RunLocation) -> Swept:
        """Sweeps one run. Safe at any time, from any replica, twice at once."""
        committed = set(await committed_shards(self._store, location))
        aborted = await is_aborted(self._store, location)
        uploads = await self._sweep_uploads(location, committed, aborted=aborted)
        epochs, left = await self._sweep_epochs(location, committed)
        return Swept(uploads, epochs, left)

    async def runs_with_uploads(self, bucket: str, prefix: str) -> list[RunLocation]:
        """Runs directly below a prefix that have open uploads, at most a thousand: one LIST."""
        below = f"{prefix}/" if prefix else ""
        found: dict[RunLocation, None] = {}
        async for upload in self._store.list_uploads(bucket, below):
            try:
                run = upload.key[len(below) :].partition("/")[0]
                location = RunLocation(bucket=bucket, prefix=prefix, run=run)
            except InvalidRequest:
                continue  # somebody else's
            key = location.parse(upload.key)
            if key is not None and key.kind is KeyKind.SHARD:
                found[location] = None
            if len(found) >= MAX_RUNS:
                break
        return list(found)

    async def runs(self, bucket: str, prefix: str) -> AsyncIterator[RunLocation]:
        """What may be a run by its name, directly below a prefix."""
        async for name in self._store.list_folders(bucket, f"{prefix}/" if prefix else ""):
            try:
                yield RunLocation(bucket=bucket, prefix=prefix, run=name)
            except InvalidRequest:
                continue  # somebody else's

    async def has_epochs(self, location: RunLocation) -> bool:
        """Whether a run has epoch objects: one LIST."""
        async for _ in self._epochs(location):
            return True
        return False

    async def _epochs(self, location: RunLocation) -> AsyncIterator[tuple[RunKey, ListedObject]]:
        """The epoch objects of a run, of all shards."""
        async for row in self._store.list_keys(location.bucket, location.uploads_prefix):
            key = location.parse(row.key)
            if key is not None and key.kind is KeyKind.EPOCH:
                yield key, row

    async def _sweep_uploads(
        self, location: RunLocation, committed: set[int], *, aborted: bool
    ) -> int:
        count = 0
        async for upload in self._store.list_uploads(location.bucket, location.shards_prefix):
            key = location.parse(upload.key)
            if key is None or key.kind is not KeyKind.SHARD:
                continue
            if not await self._is_abandoned(
                location, upload, key.shard, is_committed=key.shard in committed, aborted=aborted
            ):
                continue
            await self._store.abort_multipart(
                location.bucket, upload.key, upload_id=upload.upload_id
            )
            count += 1
            metrics.counter(SWEPT).labels("upload").inc()
        return count

    async def _is_abandoned(
        self,
        location: RunLocation,
        upload: ListedUpload,
        shard: int,
        *,
        is_committed: bool,
        aborted: bool,
    ) -> bool:
        if is_committed or aborted:
            return True
        # S3 tells its time with any answer; the run's spec exists as long as the run does.
        spec = await self._store.find(location.bucket, location.spec_key)
        if spec is None:
            return True  # of a purged run: nobody can open its shards
        newest = await newest_epoch(self._store, location, shard)
        named = newest is not None and newest.document.upload_id == upload.upload_id
        return abandoned(
            upload,
            is_committed=False,
            run_aborted=False,
            named_at=newest.last_modified if newest is not None and named else None,
            now=spec.date,
            upload_ttl_s=self._upload_ttl_s,
        )

    async def _sweep_epochs(self, location: RunLocation, committed: set[int]) -> tuple[int, int]:
        """Epoch objects of committed shards; the newest waits until no owner can be at work."""
        now = None
        keys: list[str] = []
        left = 0
        async for key, row in self._epochs(location):
            if key.shard not in committed:
                left += 1
                continue
            if now is None:
                # S3 tells its time with any answer; the run's spec may be purged already.
                found = await self._store.find(location.bucket, row.key)
                if found is None:
                    continue  # another replica's sweep was quicker
                now = found.date
            if (now - row.last_modified).total_seconds() > self._stale_after_s:
                keys.append(row.key)
            else:
                left += 1
        metrics.counter(SWEPT).labels("epoch").inc(len(keys))
        return await self._store.delete_many(location.bucket, keys), left

    async def abort_run(
        self, location: RunLocation, *, reason: str, purge: bool, leftovers: bool = False
    ) -> Stopped:
        """Stops a run for good. Idempotent.

        In this order: ``_aborted``, so that nobody opens a shard any more; to purge it, spec.json,
        so that whoever still writes finds no run afterwards and takes the write back
        (``is_still_there``); a newer epoch for every open shard, so that its owner stops at its
        next write; then the uploads; then, to purge it, all other objects by a listing,
        ``_aborted`` last: a purge that was cut short can be repeated.

        Raises:
            NotFound: there is no such run; nothing is written, its name stays free. With
                ``leftovers`` what a writer that died left of a purged run counts as one.
        """
        if not await is_aborted(self._store, location):
            await self._require(location, leftovers=leftovers)
        await self._store.put_if_absent(
            location.bucket, location.aborted_key, canonical_bytes({"reason": reason})
        )
        objects = await self._delete_spec(location) if purge else 0
        committed = set(await committed_shards(self._store, location))
        open_shards = {key.shard async for key, _ in self._epochs(location)} - committed
        stopped = 0
        for shard in sorted(open_shards):
            stopped += await self._stop_shard(location, shard)
        uploads = await self._sweep_uploads(location, committed, aborted=True)
        objects += await self._purge(location) if purge else 0
        return Stopped(shards=stopped, uploads=uploads, objects=objects)

    async def _require(self, location: RunLocation, *, leftovers: bool) -> None:
        try:
            await load_spec(self._store, location)
        except NotFound:
            if leftovers:
                async for row in self._store.list_keys(location.bucket, location.root):
                    if location.parse(row.key) is not None:
                        return
            raise

    async def _delete_spec(self, location: RunLocation) -> int:
        if await self._store.find(location.bucket, location.spec_key) is None:
            return 0
        return await self._store.delete_many(location.bucket, [location.spec_key])

    async def _stop_shard(self, location: RunLocation, shard: int) -> bool:
        for _ in range(_ABORT_TRIES):
            newest = await newest_epoch(self._store, location, shard)
            if newest is None or newest.document.state is EpochState.ABORTED:
                return False
            document = _aborted_epoch(newest.document)
            outcome = await self._store.put_if_absent(
                location.bucket, location.epoch_key(shard, document.epoch), document.to_json()
            )
            if outcome.created:
                return True
        raise Bug(f"shard {shard} of {location} gets new owners although the run is aborted")

    async def _purge(self, location: RunLocation) -> int:
        keys = [row.key async for row in self._store.list_keys(location.bucket, location.root)]
        last = [key for key in keys if key == location.aborted_key]
        deleted = await self._store.delete_many(
            location.bucket, [key for key in keys if key != location.aborted_key]
        )
        return deleted + await self._store.delete_many(location.bucket, last)


def _aborted_epoch(newest: Epoch) -> Epoch:
    return Epoch(
        epoch=newest.epoch + 1,
        state=EpochState.ABORTED,
        instance="",
        writer="",
        upload_id="",
        upload_epoch=0,
        spec_digest=newest.spec_digest,
        fingerprint=newest.fingerprint,
        part_size_bytes=newest.part_size_bytes,
        first_frame=newest.first_frame,
    )
