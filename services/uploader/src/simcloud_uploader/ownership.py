"""Owning a shard: epoch objects in S3, made, kept fresh, fenced and let go."""

from __future__ import annotations

from dataclasses import dataclass, replace

from simcloud import failpoints
from simcloud.dataset.layout import KeyKind, RunLocation
from simcloud.dataset.runs import RunIsAborted
from simcloud.errors import Conflict, NotReady, PreconditionFailed
from simcloud.failpoints import Failpoint
from simcloud.s3.errors import NoSuchKey, NoSuchUpload, ObjectChanged
from simcloud.s3.objects import ObjectStore
from simcloud.telemetry import metrics
from simcloud.telemetry.logging import get_logger
from simcloud_uploader.epochs import (
    Claim,
    Epoch,
    EpochState,
    Owned,
    RunAborted,
    SeenEpoch,
    WaitForOwnStream,
    continues_upload,
    decide,
    epoch_from_json,
    released,
    writer_metadata,
)
from simcloud_uploader.metrics import TAKEOVERS
from simcloud_uploader.multipart import TAR_TYPE, WRITER_METADATA, Upload
from simcloud_uploader.parts import StoredPart

_CLAIM_TRIES = 8
_log = get_logger(__name__)


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
    """An epoch of ours. Made by ``claim`` alone; writes are for one task at a time."""

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
        raise _taken(location, shard, newest.document if newest else None)

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
                raise _taken(location, self._applicant.shard, None) from None
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
        upload_id = await _create_upload(self._store, self._applicant, epoch)
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
    for _ in range(_CLAIM_TRIES):
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


async def claim(store: ObjectStore, applicant: Applicant, *, stale_after_s: float) -> Ownership:
    """Makes the shard's next epoch, and goes on with the upload before it where that is possible.

    Raises:
        ShardTaken: another writer is at work.
        NotReady: this writer's former stream may be; wait as it says.
        RunIsAborted: the run was aborted.
    """
    location, shard = applicant.location, applicant.shard
    for _ in range(_CLAIM_TRIES):
        newest = await newest_epoch(store, location, shard)
        decision = decide(
            newest,
            instance=applicant.instance,
            writer=applicant.writer,
            stale_after_s=stale_after_s,
        )
        match decision:
            case RunAborted():
                raise RunIsAborted(f"{location} was aborted")
            case Owned(document, stale_in_s):
                raise _taken(location, shard, document, stale_in_s=stale_in_s)
            case WaitForOwnStream(document, stale_in_s):
                raise NotReady(
                    f"shard {shard} of {location} was open at another uploader, which may still "
                    f"be at work; open it again",
                    retry_after_s=stale_in_s,
                    epoch=document.epoch,
                )
            case Claim():
                ownership = await _try_claim(store, applicant, decision)
                if ownership is not None:
                    return ownership
    raise NotReady(f"shard {shard} of {location} is contended; open it again", retry_after_s=1.0)


async def _try_claim(store: ObjectStore, applicant: Applicant, decision: Claim) -> Ownership | None:
    former = decision.continues
    location, shard = applicant.location, applicant.shard
    goes_on = continues_upload(
        former,
        spec_digest=applicant.spec_digest,
        fingerprint=applicant.fingerprint,
        mixed=applicant.allow_mixed_fingerprints,
    ) and await _is_whole(store, location, shard, former)
    document = await _next_document(store, applicant, decision.epoch, former if goes_on else None)
    outcome = await store.put_if_absent(
        location.bucket, location.epoch_key(shard, decision.epoch), document.to_json()
    )
    unused = former.upload_id if former is not None and not goes_on else ""
    if not outcome.created:
        unused = "" if goes_on else document.upload_id
    if unused:
        await store.abort_multipart(location.bucket, location.shard_key(shard), upload_id=unused)
    if not outcome.created:
        return None
    ownership = Ownership(store, applicant, document, etag=outcome.etag)
    if former is not None and goes_on and former.state is EpochState.OPEN:
        # It counted as dead and may not be. One that had let go writes nothing any more.
        await ownership.catch_up(former)
    if former is not None:
        metrics.counter(TAKEOVERS).labels("continued" if goes_on else "new").inc()
        _log.info(
            "shard taken over",
            run=str(location),
            shard=shard,
            epoch=document.epoch,
            continued=goes_on,
            resume_frame=ownership.document.next_frame,
        )
    return ownership


async def _next_document(
    store: ObjectStore, applicant: Applicant, epoch: int, former: Epoch | None
) -> Epoch:
    if former is not None:
        return replace(
            former,
            epoch=epoch,
            state=EpochState.OPEN,
            instance=applicant.instance,
            writer=applicant.writer,
            fingerprint=applicant.fingerprint,
        )
    return Epoch(
        epoch=epoch,
        state=EpochState.OPEN,
        instance=applicant.instance,
        writer=applicant.writer,
        upload_id=await _create_upload(store, applicant, epoch),
        upload_epoch=epoch,
        spec_digest=applicant.spec_digest,
        fingerprint=applicant.fingerprint,
        part_size_bytes=applicant.part_size_bytes,
        first_frame=applicant.first_frame,
    )


async def _create_upload(store: ObjectStore, applicant: Applicant, epoch: int) -> str:
    location, shard = applicant.location, applicant.shard
    upload_id = await store.create_multipart(
        location.bucket,
        location.shard_key(shard),
        metadata={WRITER_METADATA: writer_metadata(location.run, shard, epoch)},
        content_type=TAR_TYPE,
    )
    failpoints.reached(Failpoint.AFTER_CREATE)
    return upload_id


async def _is_whole(
    store: ObjectStore, location: RunLocation, shard: int, former: Epoch | None
) -> bool:
    """Whether S3 still has every part that an epoch lists, as it lists it."""
    if former is None:
        return False
    try:
        listed = await store.list_parts(
            location.bucket, location.shard_key(shard), upload_id=former.upload_id
        )
    except NoSuchUpload:
        return False
    there = {(part.number, part.size_bytes, part.etag) for part in listed}
    return all((part.number, part.size_bytes, part.etag) in there for part in former.parts)


def _taken(
    location: RunLocation, shard: int, document: Epoch | None, *, stale_in_s: float | None = None
) -> Conflict | PreconditionFailed:
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
