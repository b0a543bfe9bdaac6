"""Uploaders for tests: small parts, real S3, frames of known content."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import TypeAlias, cast

import grpc.aio

from simcloud.client._wire import frame_header, frames_to_wire, layer_chunks, location_to_wire
from simcloud.client.uploader import CommittedShard, ResumeMismatch, ShardUpload, UploaderClient
from simcloud.clock import SYSTEM_CLOCK, Clock
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.rpc.channel import connect
from simcloud.s3.client import S3Client, S3Settings
from simcloud.spec.plan import Plan, ShardFrames
from simcloud.v1 import uploader_pb2
from simcloud_uploader.core import Uploader
from simcloud_uploader.serving import running_uploader
from simcloud_uploader.settings import UploaderSettings
from support.dataset_frames import (
    FINGERPRINT,
    LAYERS,
    SPEC,
    SPEC_DIGEST,
    make_frame,
    make_layer,
)
from support.eventually import eventually

PLAN = Plan(frames=16, frames_per_shard=8)
SHARD = PLAN.shard(0)
CAMERAS = tuple(camera.name for camera in SPEC.cameras)
MIB = 1 << 20
PART_BYTES = 5 * MIB
"""S3's smallest part, which the test server holds to: two frames make a part, a shard has five."""
LAYER_BYTES = 450_000
MAX_FRAME_BYTES = 6 * LAYER_BYTES + 20_000

UploadRequest: TypeAlias = uploader_pb2.UploadShardRequest
UploadCall: TypeAlias = grpc.aio.StreamStreamCall[UploadRequest, uploader_pb2.UploadShardResponse]


def small_settings(s3: S3Settings, **changes: object) -> UploaderSettings:
    """Settings of an uploader of which tests need not wait long."""
    return UploaderSettings.model_validate(
        {
            "s3": s3,
            "part_size_bytes": PART_BYTES,
            "budget_bytes": 64 * MIB,
            "stale_after_s": 2.0,
            "cleanup_s": 5.0,
            "drain_s": 10.0,
            "log_requests": False,
            # its calls would be counted among those that faults strike
            "probe_s3": False,
            **changes,
        }
    )


def frame_of(
    frame: int,
    camera: str,
    *,
    plan: Plan = PLAN,
    layer_bytes: int = LAYER_BYTES,
    fingerprint: str = FINGERPRINT,
) -> EncodedFrame:
    """A frame whose bytes are a function of its key; every layer of the same size."""
    rng = random.Random(f"{frame}.{camera}.{layer_bytes}")
    layers = [make_layer(name, rng.randbytes(layer_bytes)) for name in LAYERS]
    return make_frame(frame, camera, layers=layers, plan=plan, fingerprint=fingerprint)


FrameMaker = Callable[[int, str], EncodedFrame]


def frames_from(first: int, end: int, make: FrameMaker = frame_of) -> Iterable[EncodedFrame]:
    """Frames [first, end), all cameras of each."""
    return (make(frame, camera) for frame in range(first, end) for camera in CAMERAS)


def open_message(
    location: RunLocation,
    frames: ShardFrames = SHARD,
    *,
    spec_digest: str = SPEC_DIGEST,
    max_frame_bytes: int = MAX_FRAME_BYTES,
    writer: str = "raw",
) -> UploadRequest:
    """The first message of an UploadShard stream."""
    return UploadRequest(
        open=uploader_pb2.OpenShard(
            run=location_to_wire(location),
            range=frames_to_wire(frames),
            spec_digest=spec_digest,
            fingerprint=FINGERPRINT,
            max_frame_bytes=max_frame_bytes,
            writer=writer,
        )
    )


def frame_messages(frames: Iterable[EncodedFrame]) -> list[UploadRequest]:
    """Frames as messages of an UploadShard stream: a header each, then its chunks."""
    found: list[UploadRequest] = []
    for frame in frames:
        found.append(UploadRequest(frame=frame_header(frame)))
        found.extend(UploadRequest(chunk=chunk) for chunk in layer_chunks(frame))
    return found


async def send_shard(
    client: UploaderClient,
    location: RunLocation,
    frames: ShardFrames,
    *,
    make: FrameMaker = frame_of,
    fingerprint: str = FINGERPRINT,
    max_frame_bytes: int = MAX_FRAME_BYTES,
    unacked_bytes: int = 2 * PART_BYTES,
    allow_mixed_fingerprints: bool = False,
    reconnect_for_s: float = 30.0,
) -> CommittedShard:
    """Uploads a shard as a generator does: renders again from where it is told to."""
    async with client.open_shard(
        location,
        frames,
        spec_digest=SPEC_DIGEST,
        fingerprint=fingerprint,
        cameras=len(CAMERAS),
        max_frame_bytes=max_frame_bytes,
        unacked_bytes=unacked_bytes,
        allow_mixed_fingerprints=allow_mixed_fingerprints,
        reconnect_for_s=reconnect_for_s,
    ) as upload:
        if upload.already_committed is not None:
            return upload.already_committed
        begin = upload.resume_frame
        while True:
            try:
                for frame in frames_from(begin, frames.end, make):
                    await upload.send(frame)
                return await upload.commit()
            except ResumeMismatch as mismatch:
                begin = mismatch.resume_frame


async def send_rest(upload: ShardUpload, begin: int, end: int) -> CommittedShard:
    """Sends frames [begin, end) and commits, without rendering anything again."""
    for frame in frames_from(begin, end):
        await upload.send(frame)
    return await upload.commit()


async def until(condition: Callable[[], Awaitable[bool]], *, within_s: float = 15.0) -> None:
    """``eventually`` for a condition that is awaited."""
    await eventually(cast("Callable[[], bool]", condition), within_s=within_s)


@asynccontextmanager
async def uploader_client(
    settings: UploaderSettings,
    *,
    wrap: Callable[[S3Client], S3Client] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> AsyncIterator[tuple[UploaderClient, Uploader]]:
    """A served uploader and a client of it."""
    async with (
        running_uploader(settings, wrap=wrap, clock=clock) as (uploader, running),
        connect(running.address) as channel,
    ):
        yield UploaderClient(channel), uploader
