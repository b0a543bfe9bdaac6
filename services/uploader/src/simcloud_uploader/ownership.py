"""Owning a shard: an epoch object in S3, kept fresh, fenced and let go."""

from __future__ import annotations

from dataclasses import dataclass, replace

from simcloud import failpoints
from simcloud.dataset.layout import KeyKind, RunLocation
from simcloud.dataset.runs import RunIsAborted
from simcloud.errors import Conflict, NotReady, PreconditionFailed
from simcloud.failpoints import Failpoint
from simcloud.s3.errors import NoSuchKey, ObjectChanged
from simcloud.s3.objects import ObjectStore
from simcloud_uploader.epochs import (
    Epoch,
    EpochState,
    SeenEpoch,
    epoch_from_json,
    released,
    writer_metadata,
)
from simcloud_uploader.multipart import TAR_TYPE, WRITER_METADATA, Upload
from simcloud_uploader.parts import StoredPart

_READ_TRIES = 8


class ShardTaken(Conflict):
    """Another writer owns the shard: drop the frames and wait for its index."""

    reason = "SHARD_TAKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applicant:
    """Who wants to own which shard, and what it would send."""

    location: RunLocation
    shard: int
    first_frame: int
    instance: str
    writer: str
    spec_digest: str
    fingerprint: str
    allow_mixed_fingerprints: bool
    part_size_bytes: int
    """For a new upload."""


class Ownership:
    """An epoch of ours. Made by ``claiming.claim`` alone; writes are for one task at a time."""

    def __init__(
        self, store: ObjectStore, applicant: Applicant, document: Epoch, *, etag: str
    ) -> None:
        self._store = store
        self._applicant = applicant
        self._etag = etag
        self.document = document

    @property
    def upload(self) -> Upload:
        """The upload that the epoch names."""
        applicant = self._applicant
        return Upload(
            location=applicant.location,
            shard=applicant.shard,
            upload_id=self.document.upload_id,
            writer=writer_metadata(
                applicant.location.run, applicant.shard, self.document.upload_epoch
            ),
        )

    async def fence(self) -> None:
        """Returns while the shard is ours.

        Raises:
            ShardTaken: there is a newer epoch.
            RunIsAborted: the newer epoch says so.
        """
        location, shard = self._applicant.location, self._applicant.shard
        key = location.epoch_key(shard, self.document.epoch + 1)
        if await self._store.find(location.bucket, key) is None:
            return
        newest = await newest_epoch(self._store, location, shard)
        raise taken(location, shard, newest.document if newest else None)

    async def write(self, document: Epoch) -> None:
        """Writes the epoch again; returns when it was still ours afterwards.

        In this order, since S3 may hold a write up for as long as a takeover takes: one that landed
        before the next epoch was made is read by whoever made it, after a later one this raises.

        With ``If-Match``: a write of ours whose answer was lost must not land after a later one and
        unlist parts that were promised durable.

        Raises:
            ShardTaken: as ``fence``.
        """
        location = self._applicant.location
        key = location.epoch_key(self._applicant.shard, document.epoch)
        data = document.to_json()
        try:
            etag = await self._store.put(location.bucket, key, data, if_match=self._etag)
        except (ObjectChanged, NoSuchKey):
            # A write that was cancelled has landed after all, or a sweep was early.
            await self.fence()
            found = await self._store.find(location.bucket, key)
            if found is None:
                raise taken(location, self._applicant.shard, None) from None
            etag = await self._store.put(location.bucket, key, data, if_match=found.etag)
        self._etag = etag
        self.document = document
        await self.fence()

    async def catch_up(self, former: Epoch) -> None:
        """Takes over what the owner before us wrote between our look at its epoch and our claim.

        Raises:
            ShardTaken: as ``fence``.
        """
        location = self._applicant.location
        key = location.epoch_key(self._applicant.shard, former.epoch)
        try:
            latest = epoch_from_json((await self._store.get(location.bucket, key)).data, key=key)
        except NoSuchKey:
            return  # swept
        same_upload = latest.upload_id == self.document.upload_id
        if same_upload and len(latest.parts) > len(self.document.parts):
            await self.write(replace(self.document, parts=latest.parts))

    async def release(self, parts: tuple[StoredPart, ...]) -> None:
        """Lets go: anyone may go on at once, after ``parts``."""
        await self.write(released(replace(self.document, parts=parts)))

    async def begin_again(self) -> str:
        """A new upload in place of a lost one, in the same epoch; returns the lost one's id."""
        lost = self.document.upload_id
        epoch = self.document.epoch
        upload_id = await create_upload(self._store, self._applicant, epoch)
        try:
            await self.write(
                replace(self.document, upload_id=upload_id, upload_epoch=epoch, parts=())
            )
        except (ShardTaken, RunIsAborted):
            await self._abort_upload(upload_id)  # no epoch names it
            raise
        return lost

    async def withdraw(self) -> None:
        """Takes the claim back: the run was aborted, and perhaps purged, while it was made.

        A purge lists what to delete once; what came after its listing is deleted here.
        """
        location, shard = self._applicant.location, self._applicant.shard
        keys = [location.epoch_key(shard, self.document.epoch)]
        if await self._store.find(location.bucket, location.spec_key) is None:
            keys.append(location.fingerprint_key)
        await self._store.delete_many(location.bucket, keys)
        await self._abort_upload(self.document.upload_id)

    async def _abort_upload(self, upload_id: str) -> None:
        location, shard = self._applicant.location, self._applicant.shard
        await self._store.abort_multipart(
            location.bucket, location.shard_key(shard), upload_id=upload_id
        )


async def newest_epoch(store: ObjectStore, location: RunLocation, shard: int) -> SeenEpoch | None:
    """The newest epoch of a shard with S3's times; None when there is none."""
    for _ in range(_READ_TRIES):
        newest = 0
        async for row in store.list_keys(location.bucket, location.epochs_prefix(shard)):
            key = location.parse(row.key)
            if key is not None and key.kind is KeyKind.EPOCH:
                newest = max(newest, key.number)
        if not newest:
            return None
        name = location.epoch_key(shard, newest)
        try:
            body = await store.get(location.bucket, name)
        except NoSuchKey:
            continue  # swept between the two
        return SeenEpoch(
            document=epoch_from_json(body.data, key=name),
            last_modified=body.info.last_modified,
            date=body.info.date,
        )
    raise NotReady(f"the epochs of shard {shard} of {location} change faster than they are read")


async def create_upload(store: ObjectStore, applicant: Applicant, epoch: int) -> str:
    """Begins the upload of an epoch and returns its id; it carries the epoch as its writer."""
    location, shard = applicant.location, applicant.shard
    upload_id = await store.create_multipart(
        location.bucket,
        location.shard_key(shard),
        metadata={WRITER_METADATA: writer_metadata(location.run, shard, epoch)},
        content_type=TAR_TYPE,
    )
    failpoints.reached(Failpoint.AFTER_CREATE)
    return upload_id


def taken(
    location: RunLocation, shard: int, document: Epoch | None, *, stale_in_s: float | None = None
) -> Conflict | PreconditionFailed:
    """The error of one who does not own the shard, or not any more.

    Args:
        location: the run.
        shard: number of the shard.
        document: the newest epoch, when it is known.
        stale_in_s: when it may be taken over, seconds, when it is known.
    """
    if document is not None and document.state is EpochState.ABORTED:
        return RunIsAborted(f"{location} was aborted")
    owner = document.writer if document is not None else "another writer"
    details: dict[str, object] = {"shard": shard, "owner": owner}
    if document is not None:
        details["epoch"] = document.epoch
    if stale_in_s is not None:
        details["stale_in_s"] = round(stale_in_s, 1)
    return ShardTaken(
        f"shard {shard} of {location} belongs to {owner}: drop the frames and wait for its index",
        **details,
    )
