"""One UploadShard stream: reads frames, stores parts, writes epochs, commits.

Five tasks share the pure ``ShardStream``; none awaits between reading and changing it. ``_read``
takes what comes, one ``_store`` a part sends it, ``_keep_epoch`` makes parts durable and keeps the
epoch fresh, ``_admit`` waits for memory, ``_watch`` ends idle and stopped streams.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace

from simcloud import failpoints
from simcloud.client._wire import CommittedShard
from simcloud.clock import Clock
from simcloud.concurrency import ByteBudget, OneOperation, leaves, run_cleanup
from simcloud.dataset.rundoc import is_aborted, load_spec
from simcloud.dataset.runs import RunIsAborted
from simcloud.errors import (
    Corruption,
    DeadlineExceeded,
    InvalidRequest,
    NotReady,
    SimcloudError,
    StorageError,
)
from simcloud.failpoints import Failpoint
from simcloud.s3 import checksums
from simcloud.s3.objects import ObjectStore
from simcloud.telemetry import metrics
from simcloud.telemetry.logging import get_logger
from simcloud_uploader.commit import Committer
from simcloud_uploader.credit import StreamCredit
from simcloud_uploader.live import LiveStream
from simcloud_uploader.messages import (
    CommitRequest,
    Credited,
    Durable,
    Event,
    Opened,
    OpenRequest,
    Request,
    Restarted,
)
from simcloud_uploader.metrics import (
    BYTES_RECEIVED,
    CREDIT_WAITING,
    RESTARTS,
)
from simcloud_uploader.multipart import Completer, PartUploader, UploadLost
from simcloud_uploader.ownership import ShardTaken
from simcloud_uploader.parts import Part, StoredPart
from simcloud_uploader.receive import FrameStart, LayerPiece
from simcloud_uploader.settings import UploaderSettings
from simcloud_uploader.shard_open import OpenedShard
from simcloud_uploader.shard_stream import Phase, ShardStream

_log = get_logger(__name__)

Send = Callable[[Event], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the streams of a process share."""

    settings: UploaderSettings
    store: ObjectStore
    parts: PartUploader
    completer: Completer
    committer: Committer
    budget: ByteBudget
    clock: Clock


class ShardSession:
    """A stream that owns its shard. ``run`` once; everything is given back when it returns.

    Bounded: what the client may have sent is leased from the budget. Cancelled or failed, it leaves
    a checkpoint: whole frames as a part where S3 takes them, and a released epoch.
    """

    def __init__(
        self,
        means: Means,
        opened: OpenedShard,
        *,
        requests: AsyncIterator[Request],
        send: Send,
        live: LiveStream,
    ) -> None:
        document = opened.ownership.document
        self._means = means
        self._settings = means.settings
        self._opened = opened
        self._ownership = opened.ownership
        self._requests = requests
        self._sink = send
        self._live = live
        self._stream = ShardStream(
            opened.expected,
            part_size_bytes=document.part_size_bytes,
            written=document.parts,
            max_row_bytes=means.settings.max_row_bytes,
        )
        self._credit = StreamCredit(
            means.budget,
            part_size_bytes=document.part_size_bytes,
            max_extra_parts=means.settings.parts_in_flight,
        )
        self._unit = document.part_size_bytes + opened.expected.max_frame_bytes
        self._sending = asyncio.Lock()
        self._epoch_writes = asyncio.Lock()
        self._unwritten = asyncio.Event()
        self._storing: set[asyncio.Task[None]] = set()
        self._finished: asyncio.Future[CommittedShard] = asyncio.get_running_loop().create_future()
        self._half_closed = False
        self._credit_sent = 0
        self._heard_at = means.clock.monotonic()
        self._received = metrics.counter(BYTES_RECEIVED)

    async def run(self) -> CommittedShard:
        """Takes the shard from its resume point to its commit.

        Raises:
            SimcloudError: as the contract says; what is durable stays.
        """
        try:
            async with OneOperation() as self._tasks:
                document = self._ownership.document
                await self._send(
                    Opened(document.epoch, self._stream.resume_frame, document.part_size_bytes)
                )
                others = [
                    self._tasks.create_task(work)
                    for work in (self._admit(), self._read(), self._keep_epoch(), self._watch())
                ]
                committed = await self._finished
                # Not in the middle of a message: gRPC goes on with it, and the next one, with the
                # committed shard, would be one too many.
                async with self._sending:
                    for task in others:
                        task.cancel()
            return committed
        except BaseException as error:
            # A cancel that came too is raised in place of what failed, from it.
            failed = leaves(error.__cause__ or error)
            if not any(isinstance(each, ShardTaken | RunIsAborted) for each in failed):
                await self._leave()
            raise
        finally:
            self._credit.close()

    # Credit.

    async def _admit(self) -> None:
        waiting = metrics.gauge(CREDIT_WAITING)
        waiting.inc()
        try:
            lease = await self._means.budget.acquire(self._unit)
            self._credit.admit(lease)
        finally:
            waiting.dec()
        self._heard_at = self._means.clock.monotonic()
        await self._send_credit()

    async def _send_credit(self) -> None:
        async with self._sending:
            if self._credit.granted > self._credit_sent:
                self._credit_sent = self._credit.granted
                await self._sink(Credited(self._credit_sent))

    # Frames in.

    async def _read(self) -> None:
        async for request in self._requests:
            self._heard_at = self._means.clock.monotonic()
            part = self._take(request)
            if part is not None:
                self._begin_storing(part)
                # While the next message is waited for, the task alone holds the part's memory.
                del part
                self._credit.grow()
                await self._send_credit()
        self._half_closed = True
        if self._stream.phase is Phase.DISCARDING:
            raise NotReady("S3 lost the upload; the stream ended before the frames came again")
        if self._stream.phase is not Phase.CLOSED:
            raise InvalidRequest(
                "commit", "the stream ended without it; what is durable stays, open again to go on"
            )

    def _take(self, request: Request) -> Part | None:
        match request:
            case FrameStart():
                return self._take_payload(len(request.record), request)
            case LayerPiece():
                return self._take_payload(len(request.data), request)
            case CommitRequest(frame_count):
                return self._stream.commit(frame_count)
            case OpenRequest():
                raise InvalidRequest("open", "came twice; a stream is for one shard")

    def _take_payload(self, payload_bytes: int, request: FrameStart | LayerPiece) -> Part | None:
        self._received.inc(payload_bytes)
        if self._stream.drops(request):
            return None
        self._credit.charge(payload_bytes)
        if isinstance(request, FrameStart):
            return self._stream.start(request)
        return self._stream.piece(request)

    # Parts out.

    def _begin_storing(self, part: Part) -> None:
        task = self._tasks.create_task(self._store(part, self._stream.restarts))
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)

    async def _store(self, part: Part, generation: int) -> None:
        payload_bytes = part.payload_bytes
        try:
            stored = await self._means.parts.upload(self._ownership.upload, part)
        except UploadLost as lost:
            await self._restart(lost.reason, generation)
            return
        del part
        if generation != self._stream.restarts:
            return
        self._stream.ledger.stored(stored)
        # Before anything is awaited: of parts that end together, the last alone completes.
        parts = self._stream.ledger.complete
        if self._stream.ledger.unwritten:
            failpoints.reached(Failpoint.AFTER_PART)
            self._unwritten.set()
        self._credit.free(payload_bytes)
        await self._send_credit()
        if parts is not None and generation == self._stream.restarts:
            await self._finish(parts, generation)

    async def _keep_epoch(self) -> None:
        interval_s = self._settings.stale_after_s / 3
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(interval_s):
                    await self._unwritten.wait()
            self._unwritten.clear()
            async with self._epoch_writes:
                await self._write_epoch()

    async def _write_epoch(self) -> None:
        ledger = self._stream.ledger
        parts = ledger.writable()
        before = ledger.durable_before
        await self._ownership.write(replace(self._ownership.document, parts=parts))
        if ledger is not self._stream.ledger:
            return  # a restart waits for this lock; these parts are gone
        after = ledger.written(len(parts))
        if after > before:
            _log.debug(
                "frames are durable",
                run=str(self._opened.run.location),
                shard=self._opened.expected.frames.shard,
                epoch=self._ownership.document.epoch,
                durable_before=after,
            )
            failpoints.reached(Failpoint.AFTER_EPOCH)
            await self._send(Durable(after))

    # The end.

    async def _finish(self, parts: tuple[StoredPart, ...], generation: int) -> None:
        self._check_sum(parts)
        try:
            tar = await self._means.completer.complete(
                self._ownership.upload, parts, fence=self._ownership.fence
            )
        except UploadLost as lost:
            await self._restart(lost.reason, generation)
            return
        failpoints.reached(Failpoint.AFTER_COMPLETE)
        expected = (self._stream.size_bytes, self._stream.crc64nvme)
        # Another's tar is made of other renderings: its rows must be read from it.
        rows = self._stream.rows if (tar.size_bytes, tar.crc64nvme) == expected else None
        committed = await self._means.committer.commit(
            self._opened.run, self._opened.expected.frames, tar, rows
        )
        failpoints.reached(Failpoint.AFTER_INDEX)
        self._end(committed)

    def _end(self, committed: CommittedShard) -> None:
        if not self._finished.done():
            self._finished.set_result(committed)

    def _check_sum(self, parts: tuple[StoredPart, ...]) -> None:
        """Parts and layers were summed on two ways; a difference is a fault in this process."""
        size_bytes = sum(part.size_bytes for part in parts)
        crc = 0
        for part in parts:
            crc = checksums.combine(crc, part.crc64nvme, part.size_bytes)
        if (size_bytes, crc) != (self._stream.size_bytes, self._stream.crc64nvme):
            raise Corruption(
                f"the parts have {size_bytes} bytes of CRC {crc:016x}, the frames "
                f"{self._stream.size_bytes} of {self._stream.crc64nvme:016x}: memory or a bug"
            )

    async def _restart(self, reason: str, generation: int) -> None:
        if generation != self._stream.restarts:
            return
        # What ended the upload may be a Complete of a former owner that has landed late.
        committed = await self._means.committer.committed(
            self._opened.run, self._opened.expected.frames
        )
        if committed is not None:
            self._end(committed)
            return
        if generation != self._stream.restarts:
            return
        if self._stream.restarts >= self._settings.max_restarts:
            raise StorageError(
                f"S3 lost the upload {self._stream.restarts + 1} times ({reason}); open again",
                s3_code=reason,
            )
        if self._half_closed:
            raise NotReady(f"S3 lost the upload ({reason}) after commit; open the shard again")
        metrics.counter(RESTARTS).labels(reason).inc()
        # From here to the end of the next statement nothing is awaited.
        self._stream.restart()
        self._credit.restart()
        me = asyncio.current_task()
        # Not in the middle of a message, as in ``run``.
        async with self._sending:
            for task in self._storing:
                if task is not me:
                    task.cancel()
        async with self._epoch_writes:
            location = self._opened.run.location
            await load_spec(self._means.store, location)
            if await is_aborted(self._means.store, location):
                raise RunIsAborted(f"{location} was aborted")
            lost = await self._ownership.begin_again()
            _log.warning(
                "shard begins again",
                run=str(location),
                shard=self._opened.expected.frames.shard,
                reason=reason,
                lost_upload=lost,
            )
            async with self._sending:
                await self._sink(Restarted(self._stream.resume_frame, reason))
                self._credit_sent = self._credit.granted
                await self._sink(Credited(self._credit_sent))

    async def _watch(self) -> None:
        while True:
            idle_s = self._means.clock.monotonic() - self._heard_at
            left_s = self._settings.idle_timeout_s - idle_s
            if left_s <= 0 and self._client_is_due:
                raise DeadlineExceeded(
                    f"nothing came for {idle_s:.0f} s while credit was open; what is durable "
                    "stays, open again to go on"
                )
            if not self._client_is_due:
                self._heard_at = self._means.clock.monotonic()
                left_s = self._settings.idle_timeout_s
            with suppress(TimeoutError):
                async with asyncio.timeout(left_s):
                    raise await self._live.stopped()

    @property
    def _client_is_due(self) -> bool:
        open_credit = self._credit.granted > self._credit.received
        return open_credit and self._stream.phase is not Phase.CLOSED

    async def _send(self, event: Event) -> None:
        async with self._sending:
            await self._sink(event)

    async def _leave(self) -> None:
        """The undo of owning a shard: a checkpoint, never an abort; others can go on from it."""
        try:
            await run_cleanup(self._checkpoint(), deadline_s=self._settings.cleanup_s)
        except asyncio.CancelledError as cancelled:
            # Another cancel came meanwhile, and hides what failed.
            if cancelled.__cause__ is not None:
                _tell_not_released(cancelled.__cause__)
            raise
        except (SimcloudError, TimeoutError, UploadLost) as error:
            _tell_not_released(error)

    async def _checkpoint(self) -> None:
        ledger = self._stream.ledger
        part = None
        if len(ledger.writable()) == self._stream.parts_cut:
            part = self._stream.flush(self._settings.min_part_bytes)
        if part is not None:
            ledger.stored(await self._means.parts.upload(self._ownership.upload, part))
        await self._ownership.release(ledger.writable())


def _tell_not_released(error: BaseException) -> None:
    # The epoch then counts as owned until it is stale: slower, and as safe.
    _log.warning("epoch not released", error=str(error) or type(error).__name__)
