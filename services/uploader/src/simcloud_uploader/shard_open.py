"""Opening a shard: everything that is checked and made before the first frame."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from simcloud.client._wire import CommittedShard
from simcloud.concurrency import ByteBudget, run_cleanup
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.rundoc import RunDocuments, is_aborted, is_still_there
from simcloud.dataset.runs import RunIsAborted
from simcloud.errors import (
    FramesTooLarge,
    InvalidRequest,
    Overloaded,
    PreconditionFailed,
    SimcloudError,
)
from simcloud.s3.errors import NoSuchKey
from simcloud.s3.objects import ObjectStore
from simcloud.spec.canonical import canonical_bytes
from simcloud.telemetry.logging import get_logger
from simcloud_uploader.claiming import claim
from simcloud_uploader.commit import Committer
from simcloud_uploader.documents import Documents
from simcloud_uploader.messages import OpenRequest
from simcloud_uploader.ownership import Applicant, Ownership
from simcloud_uploader.parts import PartLimits, choose_part_size
from simcloud_uploader.receive import ExpectedFrames
from simcloud_uploader.settings import UploaderSettings

_RETRY_AFTER_S = 2.0
_log = get_logger(__name__)


class FingerprintRefused(PreconditionFailed):
    """The run holds frames of another render fingerprint."""

    reason = "FINGERPRINT_REFUSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedShard:
    """A shard of ours."""

    run: RunDocuments
    expected: ExpectedFrames
    ownership: Ownership


class ShardOpener:
    """Opens shards for the streams of one process.

    Args:
        store: S3.
        settings: the uploader's.
        budget: the process's.
        committer: finds what is committed already.
        documents: of the runs.
        instance: name of this process, unlike any other's.
    """

    def __init__(
        self,
        store: ObjectStore,
        *,
        settings: UploaderSettings,
        budget: ByteBudget,
        committer: Committer,
        documents: Documents,
        instance: str,
    ) -> None:
        self._store = store
        self._settings = settings
        self._budget = budget
        self._committer = committer
        self._documents = documents
        self._instance = instance

    async def look(self, request: OpenRequest) -> RunDocuments | CommittedShard:
        """The run of an open request, or the shard if it is committed already.

        Raises:
            NotFound: there is no such run.
            InvalidRequest: the shard is not in the plan.
            PreconditionFailed: aborted, or another spec.
        """
        run = await self._documents.load(request.location)
        if await is_aborted(self._store, request.location):
            raise RunIsAborted(f"{request.location} was aborted")
        if request.spec_digest != run.spec_digest:
            raise PreconditionFailed(
                f"{request.location} is of spec {run.spec_digest}, not {request.spec_digest}",
                spec_digest=run.spec_digest,
            )
        _check_planned(request, run)
        return await self._committer.committed(run, request.frames) or run

    async def own(self, request: OpenRequest, run: RunDocuments) -> OpenedShard | CommittedShard:
        """Owns the shard, unless it was committed in the meantime.

        Raises:
            Overloaded: too many streams wait.
            FramesTooLarge: the frames are larger than the budget, now and for ever.
            Conflict: another writer is at work.
            NotReady: this writer's former stream may be.
            PreconditionFailed: aborted, or the fingerprint may not join.
        """
        part_size = self._part_size(request, run)
        self._check_room(request, part_size)
        await self._check_fingerprint(request)
        ownership = await claim(
            self._store,
            Applicant(
                location=request.location,
                shard=request.frames.shard,
                first_frame=request.frames.first,
                instance=self._instance,
                writer=request.writer,
                spec_digest=request.spec_digest,
                fingerprint=request.fingerprint,
                allow_mixed_fingerprints=request.allow_mixed_fingerprints,
                part_size_bytes=part_size,
            ),
            stale_after_s=self._settings.stale_after_s,
        )
        _log.debug(
            "shard owned",
            run=str(request.location),
            shard=request.frames.shard,
            epoch=ownership.document.epoch,
            resume_frame=ownership.document.next_frame,
        )
        try:
            # All may have come between the first look and the claim: an abort writes `_aborted`
            # before it lists the epochs, a purge deletes spec.json before it lists what else to
            # delete, so one of the two sees the other.
            if await is_aborted(self._store, request.location):
                raise RunIsAborted(f"{request.location} was aborted")
            if not await is_still_there(self._store, run):
                raise RunIsAborted(f"{request.location} was aborted and purged")
            committed = await self._committer.committed_since(run, request.frames)
            self._check_room(request, ownership.document.part_size_bytes)
        except BaseException as error:
            if isinstance(error, RunIsAborted):
                undo = ownership.withdraw()
            else:
                undo = ownership.release(ownership.document.parts)
            with suppress(SimcloudError, TimeoutError):  # then it is owned until it is stale
                await run_cleanup(undo, deadline_s=self._settings.cleanup_s)
            raise
        if committed is not None:
            return committed
        return OpenedShard(
            run=run,
            ownership=ownership,
            expected=ExpectedFrames(
                spec=run.spec,
                spec_digest=run.spec_digest,
                plan=run.plan,
                frames=request.frames,
                fingerprint=request.fingerprint,
                max_frame_bytes=request.max_frame_bytes,
            ),
        )

    def _part_size(self, request: OpenRequest, run: RunDocuments) -> int:
        settings = self._settings
        return choose_part_size(
            wanted_bytes=settings.part_size_bytes,
            frames=len(request.frames),
            max_frame_bytes=request.max_frame_bytes,
            members=len(run.cameras) * (len(run.spec.annotators) + 1),
            limits=PartLimits(
                min_part_bytes=settings.min_part_bytes,
                max_part_bytes=settings.max_part_bytes,
                max_parts=settings.max_parts,
            ),
        )

    def _check_room(self, request: OpenRequest, part_size: int) -> None:
        unit = part_size + request.max_frame_bytes
        if unit > self._budget.limit:
            raise FramesTooLarge(
                f"a part of {part_size} bytes and a frame of {request.max_frame_bytes} are more "
                f"than this uploader's whole budget of {self._budget.limit}: make frames smaller "
                "(resolution, cameras, annotators) or raise its budget_bytes",
            )
        if self._budget.available < unit and (
            self._budget.waiting >= self._settings.max_waiting_streams
        ):
            raise Overloaded(
                f"{self._budget.waiting} streams wait for memory already",
                retry_after_s=_RETRY_AFTER_S,
            )

    async def _check_fingerprint(self, request: OpenRequest) -> None:
        location = request.location
        # Whoever may join writes it too: those who may not must see that others were here.
        first = await pinned_fingerprint(self._store, location, request.fingerprint)
        if first != request.fingerprint and not request.allow_mixed_fingerprints:
            raise FingerprintRefused(
                f"{location} holds frames of render fingerprint {first}; {request.fingerprint} may "
                "not join it: use the same versions and hardware, or allow mixed fingerprints",
                fingerprint=first,
            )


async def pinned_fingerprint(store: ObjectStore, location: RunLocation, fingerprint: str) -> str:
    """The fingerprint a run was begun with; this one when nobody has begun it yet.

    The first to open a shard writes it beside the epochs with ``If-None-Match``, so that two
    workers that begin a run together agree.
    """
    # Read first: of all shards of a run only the first has something to write.
    with suppress(NoSuchKey):
        return await _fingerprint_at(store, location)
    outcome = await store.put_if_absent(
        location.bucket, location.fingerprint_key, canonical_bytes({"fingerprint": fingerprint})
    )
    return fingerprint if outcome.created else await _fingerprint_at(store, location)


async def _fingerprint_at(store: ObjectStore, location: RunLocation) -> str:
    body = await store.get(location.bucket, location.fingerprint_key)
    return cast("dict[str, str]", json.loads(body.data))["fingerprint"]


def _check_planned(request: OpenRequest, run: RunDocuments) -> None:
    number = request.frames.shard
    if number >= run.plan.shard_count:
        raise InvalidRequest(
            "open.range.shard", f"is {number}; the plan has {run.plan.shard_count} shards"
        )
    planned = run.plan.shard(number)
    if request.frames != planned:
        raise InvalidRequest(
            "open.range",
            f"shard {number} holds frames [{planned.first}, {planned.end}), "
            f"found [{request.frames.first}, {request.frames.end})",
        )
