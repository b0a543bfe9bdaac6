"""The sending side of UploadShard: frames kept until they are durable, streams opened again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

import grpc
import grpc.aio

from simcloud.client._chunks import Request, chunk_requests, serialized
from simcloud.client._kept_frames import KeptFrames
from simcloud.client._wire import (
    CommittedShard,
    committed_from_wire,
    frame_header,
    frames_to_wire,
    location_to_wire,
)
from simcloud.concurrency import Backoff, OneOperation
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.errors import (
    Bug,
    DeadlineExceeded,
    InvalidRequest,
    NotReady,
    Overloaded,
    SimcloudError,
    Transient,
)
from simcloud.rpc.status import DETAILS_KEY, error_from_rpc
from simcloud.spec.plan import ShardFrames
from simcloud.v1 import uploader_pb2

DEFAULT_UNACKED_BYTES = 32 << 20
"""Two parts of 16 MiB: one on its way to S3 while the next is filled."""

_GOODBYE_S = 2.0

_Call = grpc.aio.StreamStreamCall[Request, uploader_pb2.UploadShardResponse]

OpenStream = Callable[[], _Call]
"""Begins an UploadShard call."""


def upload_stream(channel: grpc.aio.Channel) -> OpenStream:
    """UploadShard of a channel, for messages that may be serialized already."""
    return cast(
        "OpenStream",
        channel.stream_stream(
            "/simcloud.v1.UploaderService/UploadShard",
            request_serializer=serialized,
            response_deserializer=uploader_pb2.UploadShardResponse.FromString,
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadTarget:
    """What is uploaded, and by whom."""

    location: RunLocation
    frames: ShardFrames
    spec_digest: str
    fingerprint: str
    cameras: int
    max_frame_bytes: int
    allow_mixed_fingerprints: bool
    writer: str


class ResumeMismatch(Exception):
    """The uploader needs frames that are not kept any more: render again from ``resume_frame``.

    The upload stays usable: go on with ``send`` from that frame.
    """

    def __init__(self, resume_frame: int, reason: str) -> None:
        super().__init__(f"render again from frame {resume_frame}: {reason}")
        self.resume_frame = resume_frame
        self.reason = reason


class RestartShard(ResumeMismatch):
    """S3 lost or refused the upload: durable frames are lost too, all begins again."""


class _Reopen(Exception):
    def __init__(self, cause: SimcloudError) -> None:
        super().__init__(cause.message)
        self.cause = cause


class _Broke(_Reopen):
    """The stream broke and nothing says why."""


class _Idle(Exception):
    """The uploader ended a stream on which nothing had come for its idle time-out."""


class ShardUpload:
    """One shard on its way. Made by ``UploaderClient.open_shard`` alone; for one task at a time."""

    def __init__(
        self,
        open_stream: OpenStream,
        target: UploadTarget,
        *,
        unacked_bytes: int,
        reconnect_for_s: float,
        rng: random.Random,
    ) -> None:
        self._open_stream = open_stream
        self._target = target
        self._unacked_wanted = unacked_bytes
        self._unacked = unacked_bytes
        self._reconnect_for_s = reconnect_for_s
        self._rng = rng
        self._backoff = Backoff(base_s=0.1, cap_s=5.0)
        self._changed = asyncio.Condition()
        self._kept = KeptFrames(target.frames.first, cameras=target.cameras)
        self._resume_frame: int | None = None
        self._durable_before = target.frames.first
        self._committed: CommittedShard | None = None
        self._commit_wanted = False
        self._mismatch: ResumeMismatch | None = None
        self._failure: SimcloudError | None = None
        # Of the present stream.
        self._stream_open = False
        self._generation = 0
        self._credit_granted = 0
        self._credit_used = 0
        self._opened_once = False
        self._asking = 0
        """Calls of ``send`` and ``commit`` that have not returned."""
        self._epoch = 0
        self.reconnects = 0
        """Streams opened after the first."""

    @property
    def already_committed(self) -> CommittedShard | None:
        """The shard, when it had been committed before: send nothing."""
        committed = self._committed
        return committed if committed is not None and committed.already_committed else None

    @property
    def resume_frame(self) -> int:
        """First frame to send."""
        if self._resume_frame is None:
            raise Bug("the shard is not open, or was committed before")
        return self._resume_frame

    @property
    def epoch(self) -> int:
        """Number of our ownership of the shard, from 1."""
        return self._epoch

    @property
    def durable_before(self) -> int:
        """Every frame before it is in S3 and survives the death of every process."""
        return self._durable_before

    @property
    def unacked_bytes(self) -> int:
        """Bytes of the frames that are kept now."""
        return self._kept.size_bytes

    async def opened(self) -> None:
        """Waits until the shard is open or was committed before."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._opened_once or self._committed or self._failure
            )
            self._raise_failure()

    async def send(self, frame: EncodedFrame) -> None:
        """Takes a frame and camera over, in order; waits while too many are not durable.

        Raises:
            ResumeMismatch: frames that are not kept any more are needed: begin again from
                ``resume_frame``; this frame was not taken.
            SimcloudError: the upload failed for good.
        """
        if frame.size_bytes > self._target.max_frame_bytes:
            raise InvalidRequest(
                "frame",
                f"frame {frame.frame} has {frame.size_bytes} bytes, max_frame_bytes is "
                f"{self._target.max_frame_bytes}",
            )
        async with self._changed:
            self._asking += 1
            self._changed.notify_all()
            try:
                await self._changed.wait_for(
                    lambda: self._interrupted or self._fits(frame) or self._committed is not None
                )
            finally:
                self._asking -= 1
            self._raise_failure()
            if self._committed is None:
                self._kept.add(frame)
                self._changed.notify_all()

    async def commit(self) -> CommittedShard:
        """All frames are sent: waits until the shard is in S3 with its index.

        Raises:
            ResumeMismatch: as ``send``; commit again afterwards.
            SimcloudError: the upload failed for good.
        """
        async with self._changed:
            self._commit_wanted = True
            self._asking += 1
            self._changed.notify_all()
            try:
                await self._changed.wait_for(lambda: self._interrupted or self._committed)
                if self._committed is None:
                    self._raise_failure()
            finally:
                self._commit_wanted = False
                self._asking -= 1
            assert self._committed is not None
            return self._committed

    async def run(self) -> None:
        """Keeps a stream open until the shard is committed or failed; ends by cancel."""
        attempt = 0
        loop = asyncio.get_running_loop()
        failing_since: float | None = None
        told: SimcloudError | None = None
        while True:
            self._stream_open = False
            durable_before, began = self._durable_before, loop.time()
            try:
                await self._stream()
                return
            except _Idle:
                await self._wait_for_more()
                continue
            except _Reopen as reopen:
                broke, error = isinstance(reopen, _Broke), reopen.cause
            except SimcloudError as fatal:
                await self._fail(fatal)
                return
            # A stream that opens and breaks again and again gets nowhere: only what became durable,
            # or a long life, counts as an end of the trouble.
            lived = self._stream_open and loop.time() - began > self._reconnect_for_s
            if lived or self._durable_before > durable_before:
                attempt, failing_since, told = 0, None, None
            # What the uploader said of this trouble says more than that a stream broke once again.
            told = told if broke else error
            failing_since = failing_since or loop.time()
            after = error.retry_after_s if isinstance(error, Transient) else None
            delay_s = self._backoff.delay_s(attempt, self._rng, retry_after_s=after)
            if loop.time() + delay_s > failing_since + self._reconnect_for_s:
                await self._fail(told or error)
                return
            attempt += 1
            self.reconnects += 1
            await asyncio.sleep(delay_s)

    async def _wait_for_more(self) -> None:
        """The uploader let go of the shard because nothing came: open it again when there is."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._asking or self._kept.sent < len(self._kept.frames)
            )

    async def _stream(self) -> None:
        call = self._open_stream()
        try:
            await call.write(self._open_message())
            async with OneOperation() as tasks:
                # Ends by itself once the shard is committed: a cancel in the middle of a write
                # would end the call, or leave an operation that half-closing collides with.
                tasks.create_task(self._send_frames(call), name="send frames")
                await self._receive(call)
            await self._half_close(call)
        except grpc.aio.AioRpcError as error:
            raise await self._cause_of(call, error) from error
        except asyncio.InvalidStateError as error:
            # grpc.aio: writing to a call that has ended; its status says why.
            raise await self._status_of(call) from error
        finally:
            call.cancel()

    @staticmethod
    async def _half_close(call: _Call) -> None:
        """Lets the server end the stream with its own status; the shard is committed anyway."""
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):
                await call.done_writing()
                await call.read()

    async def _cause_of(self, call: _Call, error: grpc.aio.AioRpcError) -> Exception:
        if error.code() is grpc.StatusCode.INTERNAL:
            # A write that met the end of the call: the call's own status says why it ended.
            with suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE_S):
                    return await self._status_of(call)
        return self._classified(error)

    async def _status_of(self, call: _Call) -> Exception:
        if await call.code() is grpc.StatusCode.OK:
            return _Reopen(NotReady("the uploader ended the stream before the shard was committed"))
        return self._classified(
            grpc.aio.AioRpcError(
                await call.code(),
                await call.initial_metadata(),
                await call.trailing_metadata(),
                details=await call.details(),
            )
        )

    @staticmethod
    def _classified(error: grpc.aio.AioRpcError) -> Exception:
        ours = error_from_rpc(error)
        if isinstance(ours, DeadlineExceeded):
            # We set no deadline: the uploader has waited for frames long enough.
            return _Idle()
        hopeless = isinstance(ours, Overloaded) and ours.retry_after_s is None
        if isinstance(ours, Transient) and not hopeless:
            return _Reopen(ours)
        # A proxy or a dying server resets the stream, or a write meets the end of the call before
        # its status is known ("Internal error from Core"): INTERNAL, without our details.
        told = any(key == DETAILS_KEY for key, _ in error.trailing_metadata() or ())
        if error.code() is grpc.StatusCode.INTERNAL and not told:
            return _Broke(NotReady(f"the stream broke: {error.details()}"))
        return ours

    def _open_message(self) -> uploader_pb2.UploadShardRequest:
        target = self._target
        return uploader_pb2.UploadShardRequest(
            open=uploader_pb2.OpenShard(
                run=location_to_wire(target.location),
                range=frames_to_wire(target.frames),
                spec_digest=target.spec_digest,
                fingerprint=target.fingerprint,
                max_frame_bytes=target.max_frame_bytes,
                allow_mixed_fingerprints=target.allow_mixed_fingerprints,
                writer=target.writer,
            )
        )

    async def _receive(self, call: _Call) -> None:
        while True:
            answer = await call.read()
            if not isinstance(answer, uploader_pb2.UploadShardResponse):
                raise await self._status_of(call)  # it is grpc.aio.EOF
            async with self._changed:
                self._apply(answer)
                self._changed.notify_all()
                if self._committed is not None:
                    return

    def _apply(self, answer: uploader_pb2.UploadShardResponse) -> None:
        match answer.WhichOneof("message"):
            case "opened":
                self._stream_open = self._opened_once = True
                self._epoch = answer.opened.epoch
                floor = answer.opened.part_size_bytes + self._target.max_frame_bytes
                self._unacked = max(self._unacked_wanted, floor)
                self._begin(answer.opened.resume_frame, ResumeMismatch, "the stream was reopened")
            case "credit":
                self._credit_granted = max(self._credit_granted, answer.credit.granted_bytes)
            case "durable":
                self._durable_before = answer.durable.durable_before
                self._kept.drop_before(self._durable_before)
            case "restart":
                self._begin(answer.restart.resume_frame, RestartShard, answer.restart.reason)
            case "committed":
                self._committed = committed_from_wire(answer.committed)
                self._kept.clear(self._target.frames.end)
            case unknown:
                raise Bug(f"the uploader sent {unknown!r}, which this client does not know")

    def _begin(self, resume_frame: int, kind: type[ResumeMismatch], reason: str) -> None:
        self._generation += 1
        self._credit_granted = self._credit_used = 0
        first = self._resume_frame is None
        self._resume_frame = resume_frame
        self._durable_before = resume_frame
        if first:
            self._kept.clear(resume_frame)
        elif not self._kept.rewind(resume_frame):
            self._kept.clear(resume_frame)
            self._mismatch = kind(resume_frame, reason)

    async def _send_frames(self, call: _Call) -> None:
        generation = 0
        committed_in = -1
        while True:
            async with self._changed:
                await self._changed.wait_for(
                    lambda generation=committed_in: self._can_send(generation)  # type: ignore[misc]
                )
                if self._committed is not None:
                    return
                generation = self._generation
                frame = (
                    self._kept.frames[self._kept.sent]
                    if self._kept.sent < len(self._kept.frames)
                    else None
                )
            if frame is not None:
                if await self._send_frame(call, frame, generation):
                    self._kept.mark_sent(frame)
                continue
            committed_in = generation
            await call.write(
                uploader_pb2.UploadShardRequest(
                    commit=uploader_pb2.CommitShard(
                        frame_count=len(self._target.frames) * self._target.cameras
                    )
                )
            )

    def _can_send(self, committed_in: int) -> bool:
        if self._committed is not None:
            return True
        if not self._stream_open or self._mismatch is not None:
            return False
        if self._kept.sent < len(self._kept.frames):
            return True
        return self._commit_wanted and committed_in != self._generation

    async def _send_frame(self, call: _Call, frame: EncodedFrame, generation: int) -> bool:
        for message, payload_bytes in _messages(frame):
            async with self._changed:
                await self._changed.wait_for(
                    lambda size=payload_bytes: (  # type: ignore[misc]
                        self._generation != generation
                        or self._committed is not None
                        or self._credit_used + size <= self._credit_granted
                    )
                )
                if self._generation != generation or self._committed is not None:
                    return False
                self._credit_used += payload_bytes
            await call.write(message)
        return generation == self._generation

    def _fits(self, frame: EncodedFrame) -> bool:
        kept = self._kept.size_bytes
        return self._opened_once and (kept == 0 or kept + frame.size_bytes <= self._unacked)

    @property
    def _interrupted(self) -> bool:
        return self._failure is not None or self._mismatch is not None

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._mismatch is not None:
            mismatch, self._mismatch = self._mismatch, None
            raise mismatch

    async def _fail(self, error: SimcloudError) -> None:
        async with self._changed:
            self._failure = error
            self._changed.notify_all()


def _messages(frame: EncodedFrame) -> Iterator[tuple[Request, int]]:
    header = frame_header(frame)
    yield uploader_pb2.UploadShardRequest(frame=header), len(frame.record)
    yield from chunk_requests(frame)
