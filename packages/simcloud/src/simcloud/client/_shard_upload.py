"""The sending side of UploadShard: frames kept until they are durable, streams opened again."""

from __future__ import annotations

import asyncio
import random

import grpc.aio

from simcloud.client._upload_calls import (
    Call,
    OpenStream,
    Reopen,
    StreamBroke,
    StreamIdle,
    cause_of,
    half_close,
    status_of,
)
from simcloud.client._upload_requests import (
    UploadTarget,
    commit_request,
    frame_requests,
    open_request,
)
from simcloud.client._upload_state import UploadState
from simcloud.client._upload_trouble import Trouble
from simcloud.client._wire import CommittedShard
from simcloud.concurrency import OneOperation
from simcloud.dataset.frames import EncodedFrame
from simcloud.errors import Bug, InvalidRequest, SimcloudError
from simcloud.v1 import uploader_pb2

DEFAULT_UNACKED_BYTES = 32 << 20
"""Two parts of 16 MiB: one on its way to S3 while the next is filled."""


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
        self._reconnect_for_s = reconnect_for_s
        self._rng = rng
        self._changed = asyncio.Condition()
        self._state = UploadState(target, unacked_bytes=unacked_bytes)
        self._asking = 0
        """Calls of ``send`` and ``commit`` that have not returned."""
        self.reconnects = 0
        """Streams opened after the first."""

    @property
    def already_committed(self) -> CommittedShard | None:
        """The shard, when it had been committed before: send nothing."""
        committed = self._state.committed
        return committed if committed is not None and committed.already_committed else None

    @property
    def resume_frame(self) -> int:
        """First frame to send."""
        if self._state.resume_frame is None:
            raise Bug("the shard is not open, or was committed before")
        return self._state.resume_frame

    @property
    def epoch(self) -> int:
        """Number of our ownership of the shard, from 1."""
        return self._state.epoch

    @property
    def durable_before(self) -> int:
        """Every frame before it is in S3 and survives the death of every process."""
        return self._state.durable_before

    @property
    def unacked_bytes(self) -> int:
        """Bytes of the frames that are kept now."""
        return self._state.kept.size_bytes

    async def opened(self) -> None:
        """Waits until the shard is open or was committed before."""
        state = self._state
        async with self._changed:
            await self._changed.wait_for(
                lambda: state.opened_once or state.committed or state.failure
            )
            state.raise_failure()

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
        state = self._state
        async with self._changed:
            self._asking += 1
            self._changed.notify_all()
            try:
                await self._changed.wait_for(
                    lambda: state.interrupted or state.fits(frame) or state.committed is not None
                )
            finally:
                self._asking -= 1
            state.raise_failure()
            if state.committed is None:
                state.kept.add(frame)
                self._changed.notify_all()

    async def commit(self) -> CommittedShard:
        """All frames are sent: waits until the shard is in S3 with its index.

        Raises:
            ResumeMismatch: as ``send``; commit again afterwards.
            SimcloudError: the upload failed for good.
        """
        state = self._state
        async with self._changed:
            state.commit_wanted = True
            self._asking += 1
            self._changed.notify_all()
            try:
                await self._changed.wait_for(lambda: state.interrupted or state.committed)
                if state.committed is None:
                    state.raise_failure()
            finally:
                state.commit_wanted = False
                self._asking -= 1
            assert state.committed is not None
            return state.committed

    async def run(self) -> None:
        """Keeps a stream open until the shard is committed or failed; ends by cancel."""
        loop, state = asyncio.get_running_loop(), self._state
        trouble = Trouble(patience_s=self._reconnect_for_s, rng=self._rng)
        while True:
            state.stream_open = False
            durable_before, began = state.durable_before, loop.time()
            try:
                await self._stream()
                return
            except StreamIdle:
                await self._wait_for_more()
                continue
            except Reopen as reopen:
                broke, error = isinstance(reopen, StreamBroke), reopen.cause
            except SimcloudError as fatal:
                await self._fail(fatal)
                return
            # A stream that opens and breaks again and again gets nowhere: only what became durable,
            # or a long life, counts as an end of the trouble.
            lived = state.stream_open and loop.time() - began > self._reconnect_for_s
            if lived or state.durable_before > durable_before:
                trouble.is_over()
            try:
                delay_s = trouble.delay_s(error, broke=broke, now_s=loop.time())
            except SimcloudError as given_up:
                await self._fail(given_up)
                return
            self.reconnects += 1
            await asyncio.sleep(delay_s)

    async def _wait_for_more(self) -> None:
        """The uploader let go of the shard because nothing came: open it again when there is."""
        kept = self._state.kept
        async with self._changed:
            await self._changed.wait_for(lambda: self._asking or kept.sent < len(kept.frames))

    async def _stream(self) -> None:
        call = self._open_stream()
        try:
            await call.write(open_request(self._target))
            async with OneOperation() as tasks:
                # Ends by itself once the shard is committed: a cancel in the middle of a write
                # would end the call, or leave an operation that half-closing collides with.
                tasks.create_task(self._send_frames(call), name="send frames")
                await self._receive(call)
            await half_close(call)
        except grpc.aio.AioRpcError as error:
            raise await cause_of(call, error) from error
        except asyncio.InvalidStateError as error:
            # grpc.aio: writing to a call that has ended; its status says why.
            raise await status_of(call) from error
        finally:
            call.cancel()

    async def _receive(self, call: Call) -> None:
        while True:
            answer = await call.read()
            if not isinstance(answer, uploader_pb2.UploadShardResponse):
                raise await status_of(call)  # it is grpc.aio.EOF
            async with self._changed:
                self._state.apply(answer)
                self._changed.notify_all()
                if self._state.committed is not None:
                    return

    async def _send_frames(self, call: Call) -> None:
        state = self._state
        committed_in = -1
        while True:
            async with self._changed:
                await self._changed.wait_for(
                    lambda generation=committed_in: state.can_send(generation)  # type: ignore[misc]
                )
                if state.committed is not None:
                    return
                generation, kept = state.generation, state.kept
                frame = kept.frames[kept.sent] if kept.sent < len(kept.frames) else None
            if frame is not None:
                if await self._send_frame(call, frame, generation):
                    kept.mark_sent(frame)
                continue
            committed_in = generation
            await call.write(commit_request(self._target))

    async def _send_frame(self, call: Call, frame: EncodedFrame, generation: int) -> bool:
        state = self._state
        for message, payload_bytes in frame_requests(frame):
            async with self._changed:
                await self._changed.wait_for(
                    lambda size=payload_bytes: (  # type: ignore[misc]
                        state.generation != generation
                        or state.committed is not None
                        or state.credit_used + size <= state.credit_granted
                    )
                )
                if state.generation != generation or state.committed is not None:
                    return False
                state.credit_used += payload_bytes
            await call.write(message)
        return generation == state.generation

    async def _fail(self, error: SimcloudError) -> None:
        async with self._changed:
            self._state.failure = error
            self._changed.notify_all()
