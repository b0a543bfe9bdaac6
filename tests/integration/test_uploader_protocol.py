"""The UploadShard stream message by message: order, credit, bad input, precise statuses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

import grpc
import grpc.aio
import pytest

from simcloud.client._wire import frame_header, layer_chunks
from simcloud.client.uploader import UploaderClient
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.record import Quarantine
from simcloud.errors import Overloaded
from simcloud.rpc.channel import connect
from simcloud.rpc.status import error_from_rpc
from simcloud.s3.objects import ObjectStore
from simcloud.v1 import uploader_pb2, uploader_pb2_grpc
from simcloud_uploader.core import Uploader
from simcloud_uploader.serving import running_uploader
from simcloud_uploader.settings import UploaderSettings
from support.dataset_frames import FINGERPRINT, SPEC, SPEC_DIGEST, make_frame
from support.eventually import eventually
from support.s3_server import S3Server
from support.uploading import (
    CAMERAS,
    MAX_FRAME_BYTES,
    MIB,
    PART_BYTES,
    PLAN,
    UploadRequest,
    frame_messages,
    frame_of,
    frames_from,
    open_message,
    send_shard,
    small_settings,
)

SHARD = PLAN.shard(0)


@asynccontextmanager
async def served(
    settings: UploaderSettings, location: RunLocation
) -> AsyncIterator[tuple[uploader_pb2_grpc.UploaderServiceStub, UploaderClient, Uploader, str]]:
    """A served uploader with a run; the raw stub and a client of it, and its address."""
    async with (
        running_uploader(settings) as (uploader, running),
        connect(running.address) as channel,
    ):
        client = UploaderClient(channel)
        await client.create_run(location, spec=SPEC, plan=PLAN)
        yield uploader_pb2_grpc.UploaderServiceStub(channel), client, uploader, running.address
    assert uploader.budget.in_use == 0
    assert uploader.budget.peak <= uploader.budget.limit


def status_of(address: str, sent: Sequence[UploadRequest]) -> grpc.aio.AioRpcError:
    """Sends messages once there is credit, and returns the error that the stream ends with.

    By gRPC's synchronous client: grpc.aio's hides the status when a write meets the stream's end.
    """
    credit = threading.Event()

    def messages() -> Iterator[UploadRequest]:
        yield sent[0]
        credit.wait(60)
        yield from sent[1:]

    with grpc.insecure_channel(address) as channel:
        stub: Any = uploader_pb2_grpc.UploaderServiceStub(channel)
        call = stub.UploadShard(messages())
        try:
            for answer in call:
                if answer.WhichOneof("message") == "credit":
                    credit.set()
        except grpc.RpcError:
            trailing = grpc.aio.Metadata(*call.trailing_metadata())
            return grpc.aio.AioRpcError(
                call.code(), grpc.aio.Metadata(), trailing, details=call.details()
            )
        finally:
            credit.set()
    raise AssertionError("the stream ended well")


def small(frame: int, camera: str) -> EncodedFrame:
    return frame_of(frame, camera, layer_bytes=2000)


async def test_wrong_input_ends_its_own_stream_with_a_precise_status(
    s3_server: S3Server, location: RunLocation
) -> None:
    begin = open_message(location)
    left, right = small(0, "left"), small(0, "right")
    broken = frame_messages([left])
    broken[1].chunk.data = bytes([broken[1].chunk.data[0] ^ 1]) + broken[1].chunk.data[1:]
    gap = frame_messages([left])
    gap[2].chunk.layer = 2
    long = frame_messages([left])
    long[1].chunk.data = bytes(MIB + 1)
    more = frame_messages([left])
    more[1].chunk.data += b"x"
    fewer = frame_messages([left])
    fewer[1].chunk.data = fewer[1].chunk.data[:-1]
    claims = frame_messages([left])
    claims[0].frame.layers[0].crc64nvme ^= 1
    everything = [small(frame, camera) for frame in range(8) for camera in CAMERAS]
    commit = UploadRequest(commit=uploader_pb2.CommitShard(frame_count=16))
    too_few = UploadRequest(commit=uploader_pb2.CommitShard(frame_count=15))
    cases = [
        ([begin, *frame_messages([small(1, "left")])], "INVALID_ARGUMENT", "expected 0, found 1"),
        ([begin, *frame_messages([right])], "INVALID_ARGUMENT", "expected 'left'"),
        ([begin, *frame_messages([left, left])], "INVALID_ARGUMENT", "expected 'right'"),
        ([begin, *broken], "DATA_LOSS", "CRC-64/NVME"),
        ([begin, *gap], "INVALID_ARGUMENT", "chunk.layer"),
        ([begin, *long], "INVALID_ARGUMENT", "chunk.data"),
        ([begin, *frame_messages([left])[:2], UploadRequest(frame=frame_header(right))],
         "INVALID_ARGUMENT", "not complete"),
        ([begin, UploadRequest(chunk=next(layer_chunks(left)))],
         "INVALID_ARGUMENT", "before a frame"),
        ([begin, begin], "INVALID_ARGUMENT", "came twice"),
        ([begin, *frame_messages([left, right])], "INVALID_ARGUMENT", "ended without it"),
        ([begin, UploadRequest(commit=uploader_pb2.CommitShard(frame_count=16))],
         "INVALID_ARGUMENT", "before all frames"),
        ([open_message(location, max_frame_bytes=1000), *frame_messages([left])],
         "INVALID_ARGUMENT", "max_frame_bytes 1000"),
        ([begin, *frame_messages([replace(left, record=right.record)])],
         "INVALID_ARGUMENT", "frame.record.camera"),
        ([begin, *frame_messages([frame_of(0, "left", fingerprint="0" * 16, layer_bytes=10)])],
         "INVALID_ARGUMENT", "frame.record.fingerprint"),
        ([begin, *frame_messages([replace(left, layers=left.layers[:2])])],
         "INVALID_ARGUMENT", "the spec asks for"),
        ([begin, UploadRequest()], "INVALID_ARGUMENT", "empty"),
        ([begin, *more], "INVALID_ARGUMENT", "more than"),
        ([begin, *fewer], "INVALID_ARGUMENT", "chunk.layer"),
        ([begin, *claims], "INVALID_ARGUMENT", "frame.record.layers"),
        ([begin, *frame_messages([left, right, left])], "INVALID_ARGUMENT", "expected 1, found 0"),
        ([begin, *frame_messages(everything), too_few],
         "INVALID_ARGUMENT", "commit.frame_count"),
        ([begin, *frame_messages([*everything, small(8, "left")])], "INVALID_ARGUMENT", "beyond"),
    ]  # fmt: skip
    neighbour = PLAN.shard(1)
    async with served(small_settings(s3_server.settings), location) as (_, client, _, address):
        async with client.open_shard(
            location,
            neighbour,
            spec_digest=SPEC_DIGEST,
            fingerprint=FINGERPRINT,
            cameras=len(CAMERAS),
            max_frame_bytes=MAX_FRAME_BYTES,
        ) as beside:
            frames = iter(frames_from(neighbour.first, neighbour.end, small))
            for sent, code, words in cases:
                for frame in islice(frames, 1):
                    await beside.send(frame)
                error = await asyncio.to_thread(status_of, address, sent)
                assert error.code().name == code, error.details()
                assert words in (error.details() or ""), error.details()
                assert type(error_from_rpc(error)).__name__ in {"InvalidRequest", "Corruption"}
            for frame in frames:
                await beside.send(frame)
            assert (await beside.commit()).stored_frames == 16
            # Not one of them was noticed on the other stream.
            assert beside.reconnects == 0
        error = await asyncio.to_thread(
            status_of, address, [begin, *frame_messages(everything), commit, commit]
        )
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "came after commit" in (error.details() or "")
        committed = await send_shard(client, location, SHARD, make=small)
    assert committed.stored_frames == 16


async def test_bytes_that_are_no_message_are_wrong_input_and_no_fault_of_ours(
    s3_server: S3Server, location: RunLocation
) -> None:
    async with (
        running_uploader(small_settings(s3_server.settings)) as (_, running),
        connect(running.address) as channel,
    ):
        await UploaderClient(channel).create_run(location, spec=SPEC, plan=PLAN)
        stub = uploader_pb2_grpc.UploaderServiceStub(channel)
        raw = channel.stream_stream(
            "/simcloud.v1.UploaderService/UploadShard",
            request_serializer=lambda sent: sent,
            response_deserializer=uploader_pb2.UploadShardResponse.FromString,
        )
        opens = open_message(location).SerializeToString()
        for sent, words in (([b"\xff"], "must be the first"), ([opens, b"\x1a\x05"], "damaged")):
            call = raw()
            for message in sent:
                await call.write(message)
            error = await ends_with(call)
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert words in (error.details() or "")
        again = stub.UploadShard()
        await again.write(open_message(location))
        assert (await again.read()).WhichOneof("message") == "opened"
        again.cancel()


async def test_an_open_that_can_not_work_is_refused_before_any_frame(
    s3_server: S3Server, location: RunLocation
) -> None:
    other = RunLocation(bucket=location.bucket, prefix=location.prefix, run="absent")
    forbidden = RunLocation(bucket="elsewhere", prefix="", run="run")
    wrong_range = open_message(location)
    wrong_range.open.range.end_frame = 5
    beyond = open_message(location)
    beyond.open.range.shard = 9
    cases = [
        (open_message(other), "NOT_FOUND"),
        (open_message(forbidden), "PERMISSION_DENIED"),
        (wrong_range, "INVALID_ARGUMENT"),
        (beyond, "INVALID_ARGUMENT"),
        (open_message(location, spec_digest="0" * 64), "FAILED_PRECONDITION"),
        (open_message(location, max_frame_bytes=0), "INVALID_ARGUMENT"),
        (open_message(location, max_frame_bytes=1 << 40), "INVALID_ARGUMENT"),
        (open_message(location, max_frame_bytes=100 * MIB), "RESOURCE_EXHAUSTED"),
        (UploadRequest(commit=uploader_pb2.CommitShard()), "INVALID_ARGUMENT"),
    ]
    settings = small_settings(
        s3_server.settings, allow={"buckets": [f"{location.bucket}/{location.prefix}"]}
    )
    async with served(settings, location) as (stub, _, _, _):
        for message, code in cases:
            call = stub.UploadShard()
            await call.write(message)
            with pytest.raises(grpc.aio.AioRpcError) as told:
                await call.read()
            assert told.value.code().name == code, told.value.details()
            error = error_from_rpc(told.value)
            if isinstance(error, Overloaded):
                assert error.retry_after_s is None


async def ends_with(
    call: grpc.aio.StreamStreamCall[Any, uploader_pb2.UploadShardResponse],
) -> grpc.aio.AioRpcError:
    """Reads a stream to the error it ends with."""
    try:
        while await call.read() is not grpc.aio.EOF:
            pass
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the stream ended well")


async def test_who_sends_without_credit_is_refused(
    s3_server: S3Server, location: RunLocation
) -> None:
    settings = small_settings(s3_server.settings, budget_bytes=PART_BYTES + MAX_FRAME_BYTES)
    other = replace(location, run="other")
    async with served(settings, location) as (stub, client, uploader, _):
        await client.create_run(other, spec=SPEC, plan=PLAN)
        first = stub.UploadShard()
        await first.write(open_message(location))
        await eventually(lambda: uploader.budget.in_use > 0)
        second = stub.UploadShard()
        await second.write(open_message(other))
        assert (await second.read()).WhichOneof("message") == "opened"
        await second.write(frame_messages([small(0, "left")])[0])
        error = await ends_with(second)
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "0 granted" in (error.details() or "")
        first.cancel()
        await eventually(lambda: len(uploader.live) == 0)


async def test_a_silent_client_is_ended_and_its_shard_released(
    s3_server: S3Server, location: RunLocation
) -> None:
    settings = small_settings(s3_server.settings, idle_timeout_s=3.0, stale_after_s=60.0)
    async with served(settings, location) as (stub, client, _, _):
        call = stub.UploadShard()
        await call.write(open_message(location))
        assert (await ends_with(call)).code() is grpc.StatusCode.DEADLINE_EXCEEDED
        committed = await send_shard(client, location, SHARD, make=small)
    assert committed.stored_frames == 16


async def test_a_writer_that_opens_its_shard_again_ends_its_former_stream(
    s3_server: S3Server, location: RunLocation
) -> None:
    """Its connection broke and the server has not noticed: nobody waits until that is stale."""
    settings = small_settings(s3_server.settings, stale_after_s=60.0)
    async with served(settings, location) as (stub, _, _, _):
        former = stub.UploadShard()
        await former.write(open_message(location))
        assert (await former.read()).opened.epoch == 1
        stranger = stub.UploadShard()
        await stranger.write(open_message(location, writer="stranger"))
        assert (await ends_with(stranger)).code() is grpc.StatusCode.ABORTED
        again = stub.UploadShard()
        await again.write(open_message(location))
        assert (await again.read()).opened.epoch == 2
        assert (await ends_with(former)).code() is grpc.StatusCode.UNAVAILABLE
        again.cancel()


async def test_a_tiny_budget_serves_many_streams_in_turn(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    """Room for one part and a frame: no deadlock, and never a byte more than the budget."""
    settings = small_settings(
        s3_server.settings, budget_bytes=PART_BYTES + MAX_FRAME_BYTES + 1000, stale_after_s=60.0
    )
    runs = [replace(location, run=f"run-{number}") for number in range(4)]
    async with served(settings, location) as (_, client, uploader, _):
        for run in runs:
            await client.create_run(run, spec=SPEC, plan=PLAN)
        async with asyncio.TaskGroup() as tasks:
            sent = [tasks.create_task(send_shard(client, run, SHARD)) for run in runs]
        assert all(task.result().stored_frames == 16 for task in sent)
        assert uploader.budget.peak == PART_BYTES + MAX_FRAME_BYTES


async def test_streams_beyond_the_waiting_ones_are_told_when_to_come_back(
    s3_server: S3Server, location: RunLocation
) -> None:
    settings = small_settings(
        s3_server.settings, budget_bytes=PART_BYTES + MAX_FRAME_BYTES, max_waiting_streams=0
    )
    async with served(settings, location) as (stub, client, uploader, _):
        first = stub.UploadShard()
        await first.write(open_message(location))
        await eventually(lambda: uploader.budget.in_use > 0)
        other = replace(location, run="other")
        await client.create_run(other, spec=SPEC, plan=PLAN)
        second = stub.UploadShard()
        await second.write(open_message(other))
        with pytest.raises(grpc.aio.AioRpcError) as told:
            await second.read()
        error = error_from_rpc(told.value)
        assert isinstance(error, Overloaded)
        assert error.retry_after_s
        first.cancel()
        committed = await send_shard(client, other, SHARD, make=small)
        assert committed.stored_frames == 16


async def test_quarantined_frames_keep_their_place_and_are_counted(
    s3_server: S3Server, location: RunLocation
) -> None:
    def make(frame: int, camera: str) -> EncodedFrame:
        if frame == 3:
            quarantine = Quarantine(rule="mask", detail="chair_00 is empty")
            return make_frame(frame, camera, quarantine=quarantine, plan=PLAN)
        return small(frame, camera)

    async with served(small_settings(s3_server.settings), location) as (_, client, _, _):
        committed = await send_shard(client, location, SHARD, make=make)
        assert committed.stored_frames == 14
        assert committed.quarantined_frames == len(CAMERAS)
        await send_shard(client, location, PLAN.shard(1), make=small)
        published = await client.publish_run(location)
        assert published.summary.quarantined_frames == 2
        assert published.summary.stored_frames == 30


async def test_bad_input_leaves_the_durable_prefix(
    s3_server: S3Server, location: RunLocation
) -> None:
    settings = small_settings(s3_server.settings, stale_after_s=60.0)
    async with served(settings, location) as (_, client, _, address):
        sent = [open_message(location), *frame_messages(list(frames_from(0, 2)))]
        error = await asyncio.to_thread(
            status_of, address, [*sent, *frame_messages([small(7, "left")])]
        )
        assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
        async with client.open_shard(
            location,
            SHARD,
            spec_digest=SPEC_DIGEST,
            fingerprint=FINGERPRINT,
            cameras=len(CAMERAS),
            max_frame_bytes=MAX_FRAME_BYTES,
        ) as upload:
            assert upload.resume_frame in {0, 2}
