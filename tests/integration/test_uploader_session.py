"""What ends in the middle of a stream: messages are whole, and what could not be undone is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from simcloud.client._wire import CommittedShard, layer_chunks
from simcloud.concurrency import ReceiveEnd, SendEnd, open_channel
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.runs import RunIsAborted
from simcloud.s3.faults import Fault, FaultKind, plan_of, wrapping
from simcloud.s3.objects import ObjectStore
from simcloud.spec.plan import Plan
from simcloud.telemetry import metrics
from simcloud_uploader.core import Uploader, open_uploader
from simcloud_uploader.messages import (
    CommitRequest,
    Credited,
    Event,
    Opened,
    OpenRequest,
    Request,
    Restarted,
)
from simcloud_uploader.metrics import RESTARTS
from simcloud_uploader.receive import FrameStart, LayerClaim, LayerPiece
from support.dataset_frames import FINGERPRINT, SPEC, SPEC_DIGEST
from support.eventually import eventually
from support.s3_server import S3Server
from support.uploading import CAMERAS, MAX_FRAME_BYTES, frame_of, small_settings

PLAN = Plan(frames=4, frames_per_shard=4)
"""Two parts of two frames each, and the end of the tar."""
SHARD = PLAN.shard(0)


@dataclass
class Peer:
    """The client's side of a stream, message by message."""

    to_send: SendEnd[Request]
    requests: ReceiveEnd[Request]
    events: list[Event] = field(default_factory=list)
    hold: bool = False
    """The next message is held up in its middle until ``may_go``."""
    held: asyncio.Event = field(default_factory=asyncio.Event)
    may_go: asyncio.Event = field(default_factory=asyncio.Event)
    torn: list[Event] = field(default_factory=list)
    """Messages that were left in their middle."""

    async def take(self, event: Event) -> None:
        try:
            if self.hold:
                self.hold = False
                self.held.set()
                await self.may_go.wait()
        except asyncio.CancelledError:
            self.torn.append(event)
            await self.may_go.wait()
            raise
        self.events.append(event)

    async def give(self, frames: Iterable[int]) -> None:
        """Sends frames, all cameras of each; returns when the uploader waits for more."""
        for frame in frames:
            for camera in CAMERAS:
                encoded = frame_of(frame, camera, plan=PLAN)
                await self.to_send.send(start_of(encoded))
                for chunk in layer_chunks(encoded):
                    await self.to_send.send(LayerPiece(chunk.layer, chunk.data))

    def seen(self, kind: type[Event]) -> bool:
        return any(isinstance(event, kind) for event in self.events)


def start_of(frame: EncodedFrame) -> FrameStart:
    claims = (
        LayerClaim(
            layer.annotator, layer.extension, layer.media_type, len(layer.data), layer.crc64nvme
        )
        for layer in frame.layers
    )
    return FrameStart(frame.frame, frame.camera, frame.record, tuple(claims))


@asynccontextmanager
async def streaming(
    uploader: Uploader, location: RunLocation
) -> AsyncIterator[tuple[Peer, asyncio.Task[CommittedShard]]]:
    """A stream whose shard is open and has credit."""
    await uploader.runs.create(location, spec=SPEC, plan=PLAN, provenance_json=b"{}")
    ends: tuple[SendEnd[Request], ReceiveEnd[Request]] = open_channel(0, name="test_requests")
    peer = Peer(*ends)
    request = OpenRequest(
        location=location,
        frames=SHARD,
        spec_digest=SPEC_DIGEST,
        fingerprint=FINGERPRINT,
        max_frame_bytes=MAX_FRAME_BYTES,
        allow_mixed_fingerprints=False,
        writer="test",
    )
    stream = asyncio.ensure_future(uploader.upload_shard(request, aiter(peer.requests), peer.take))
    try:
        await eventually(lambda: peer.seen(Opened) and peer.seen(Credited))
        yield peer, stream
    finally:
        stream.cancel()
        await asyncio.wait([stream])


async def test_a_shard_that_begins_again_tears_no_message(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    parts = [Fault("upload_part", FaultKind.GATE) for _ in range(2)]
    settings = small_settings(s3_server.settings)
    before = metrics.value_of(RESTARTS, {"reason": "NoSuchUpload"})
    async with (
        open_uploader(settings, wrap=wrapping(plan_of(*parts))) as uploader,
        streaming(uploader, location) as (peer, stream),
    ):
        await peer.give(range(2))
        await parts[0].reached.wait()
        await peer.give(range(2, 4))
        await parts[1].reached.wait()
        # The first part is stored, and the client is being told that it may send more.
        peer.hold = True
        parts[0].gate.set()
        await peer.held.wait()
        async for upload in store.list_uploads(location.bucket, location.shards_prefix):
            await store.abort_multipart(location.bucket, upload.key, upload_id=upload.upload_id)
        parts[1].gate.set()
        await eventually(lambda: metrics.value_of(RESTARTS, {"reason": "NoSuchUpload"}) > before)
        peer.may_go.set()
        await eventually(lambda: peer.seen(Restarted))
        assert peer.torn == []
        await peer.give(range(4))
        await peer.to_send.send(CommitRequest(4 * len(CAMERAS)))
        assert (await stream).stored_frames == 4 * len(CAMERAS)


async def test_a_stream_that_was_ended_from_outside_writes_nothing_more_though_a_cancel_came_too(
    s3_server: S3Server, location: RunLocation
) -> None:
    plan = plan_of()
    part = plan.add(Fault("upload_part", FaultKind.GATE))
    async with (
        open_uploader(small_settings(s3_server.settings), wrap=wrapping(plan)) as uploader,
        streaming(uploader, location) as (peer, stream),
    ):
        await peer.give(range(2))
        await part.reached.wait()
        peer.hold = True
        part.gate.set()
        await peer.held.wait()
        uploader.live.stop(RunIsAborted("the run was aborted"), lambda _: True)
        await eventually(lambda: peer.torn)
        written = plan.count("put_object")
        # The stream is ending because of the abort, and a task of it has not ended yet.
        stream.cancel()
        await asyncio.sleep(0)
        peer.may_go.set()
        with pytest.raises(asyncio.CancelledError):
            await stream
        assert plan.count("put_object") == written


async def test_an_epoch_that_could_not_be_released_is_told_though_a_second_cancel_came(
    s3_server: S3Server, location: RunLocation, capsys: pytest.CaptureFixture[str]
) -> None:
    epoch = "*/uploads/*"
    release = Fault("put_object", FaultKind.GATE, key=epoch)
    look = Fault("head_object", key=epoch, code="AccessDenied", status=403, times=100)
    plan = plan_of()
    settings = small_settings(s3_server.settings, stale_after_s=30.0)
    async with (
        open_uploader(settings, wrap=wrapping(plan)) as uploader,
        streaming(uploader, location) as (_, stream),
    ):
        plan.add(release)
        plan.add(look)
        stream.cancel()
        await release.reached.wait()
        stream.cancel()
        await asyncio.sleep(0)
        release.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await stream
    assert "epoch not released" in capsys.readouterr().err
