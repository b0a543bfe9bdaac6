"""Becoming a shard's owner: its next epoch made, the upload before it gone on with or dropped."""

from __future__ import annotations

from dataclasses import replace

from simcloud.dataset.layout import RunLocation
from simcloud.dataset.runs import RunIsAborted
from simcloud.errors import NotReady
from simcloud.s3.errors import NoSuchUpload
from simcloud.s3.objects import ObjectStore
from simcloud.telemetry import metrics
from simcloud.telemetry.logging import get_logger
from simcloud_uploader.epochs import (
    Claim,
    Epoch,
    EpochState,
    Owned,
    RunAborted,
    WaitForOwnStream,
    continues_upload,
    decide,
)
from simcloud_uploader.metrics import TAKEOVERS
from simcloud_uploader.ownership import Applicant, Ownership, create_upload, newest_epoch, taken

_CLAIM_TRIES = 8
_log = get_logger(__name__)


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
                raise taken(location, shard, document, stale_in_s=stale_in_s)
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
        upload_id=await create_upload(store, applicant, epoch),
        upload_epoch=epoch,
        spec_digest=applicant.spec_digest,
        fingerprint=applicant.fingerprint,
        part_size_bytes=applicant.part_size_bytes,
        first_frame=applicant.first_frame,
    )


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
