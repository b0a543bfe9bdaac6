"""Memory is bounded and shared out fairly, whatever streams do and however many there are."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest

from simcloud.client.uploader import UploaderClient
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.rpc.channel import connect
from simcloud.s3.faults import Fault, FaultKind, plan_of
from simcloud.spec.plan import Plan, ShardFrames
from simcloud.telemetry import metrics
from simcloud.v1 import uploader_pb2, uploader_pb2_grpc
from simcloud_uploader.metrics import PART_RETRIES, UPLOAD_LIMIT
from simcloud_uploader.serving import running_uploader
from support.clock import ManualClock
from support.dataset_frames import FINGERPRINT, LAYERS, SPEC, SPEC_DIGEST, make_frame, make_layer
from support.eventually import eventually
from support.s3_proxy import running_proxy
from support.s3_server import S3Server
from support.uploader_process import uploader_process
from support.uploading import (
    CAMERAS,
    MAX_FRAME_BYTES,
    MIB,
    PART_BYTES,
    UploadCall,
    UploadRequest,
    frame_messages,
    frame_of,
    frames_from,
    open_message,
    send_shard,
    small_settings,
    uploader_client,
)

SHARDS = Plan(frames=14, frames_per_shard=2)
UNIT = PART_BYTES + MAX_FRAME_BYTES
"""What a stream of these tests holds at least."""


def small(frame: int, camera: str) -> EncodedFrame:
    return frame_of(frame, camera, plan=SHARDS, layer_bytes=2000)


async def until_credit(call: UploadCall) -> None:
    while True:
        answer = await call.read()
        assert isinstance(answer, uploader_pb2.UploadShardResponse)
        if answer.WhichOneof("message") == "credit":
            return


async def had_credit_when_time_was_up(call: UploadCall, location: RunLocation) -> bool:
    """Opens the first shard and sends nothing more."""
    has_credit = False
    try:
        await call.write(open_message(location, SHARDS.shard(0)))
        await until_credit(call)
        has_credit = True
        await call.read()
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
            raise
        return has_credit
    raise AssertionError("it did not end")


def memory_of(pid: int, name: str) -> int:
    """A line of /proc/<pid>/status, bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"{name} is not in /proc/{pid}/status")


def metric_of(port: int, name: str) -> float:
    """A metric of a process."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        for line in page.read().decode().splitlines():
            if line.startswith(name):
                return float(line.rpartition(" ")[2])
    raise AssertionError(f"there is no {name}")


@pytest.mark.timeout(300)  # a quarter of a GB through three processes, on whatever cores are free
async def test_64_streams_whose_parts_do_not_fit_together_end_within_the_budget_and_64_mib(
    s3_server: S3Server, location: RunLocation, tmp_path: Path
) -> None:
    """The process holds at most what it held idle, its budget and 64 MiB, at its very peak."""
    plan = Plan(frames=128, frames_per_shard=2)
    budget = 32 * MIB
    sizes = (20_000, 100_000, 300_000, 900_000)  # of a layer, by shard: a quarter of a part to two
    layers = {
        size: [make_layer(name, bytes([index]) * size) for index, name in enumerate(LAYERS)]
        for size in sizes
    }

    def make(frame: int, camera: str) -> EncodedFrame:
        size = sizes[frame // 2 % len(sizes)]
        return make_frame(frame, camera, layers=layers[size], plan=plan)

    flags = {
        "--budget-bytes": str(budget),
        "--metrics-listen": "127.0.0.1:0",
        "--log-level": "error",
    }
    with uploader_process(tmp_path, s3_server, flags) as process:
        await process.start()
        port = json.loads((tmp_path / "port.json").read_text())["metrics"]
        async with connect(process.address) as channel:
            client = UploaderClient(channel)
            await client.create_run(location, spec=SPEC, plan=plan)
            idle = memory_of(process.pid, "VmRSS")
            async with asyncio.TaskGroup() as tasks:
                sent = [
                    tasks.create_task(
                        send_shard(
                            client,
                            location,
                            shard,
                            make=make,
                            max_frame_bytes=2 * (3 * sizes[shard.shard % len(sizes)] + 4000),
                        )
                    )
                    for shard in plan.shards()
                ]
            assert all(task.result().stored_frames == 4 for task in sent)
            own = '{budget="uploader"}'
            peak = await asyncio.to_thread(metric_of, port, f"simcloud_budget_peak_bytes{own}")
            in_use = await asyncio.to_thread(metric_of, port, f"simcloud_budget_in_use_bytes{own}")
        assert memory_of(process.pid, "VmHWM") <= idle + budget + 64 * MIB
    assert 24 * MIB < peak <= budget  # it was the budget that held them back
    assert in_use == 0


async def test_a_stream_that_stops_in_the_middle_of_a_frame_keeps_nobody_from_ending(
    s3_server: S3Server, location: RunLocation
) -> None:
    settings = small_settings(s3_server.settings, budget_bytes=2 * UNIT)
    async with (
        running_uploader(settings) as (uploader, running),
        connect(running.address) as channel,
    ):
        client = UploaderClient(channel)
        await client.create_run(location, spec=SPEC, plan=SHARDS)
        slow_shard, *others = SHARDS.shards()
        slow = uploader_pb2_grpc.UploaderServiceStub(channel).UploadShard()
        await slow.write(open_message(location, slow_shard))
        await until_credit(slow)
        sent = frame_messages(list(frames_from(slow_shard.first, slow_shard.end, small)))
        for message in sent[:2]:
            await slow.write(message)
        async with asyncio.TaskGroup() as tasks:
            done = [
                tasks.create_task(send_shard(client, location, shard, make=small))
                for shard in others
            ]
        assert all(task.result().stored_frames == 4 for task in done)
        # It has held its reservation all the while, and goes on as if nothing had been.
        assert uploader.budget.in_use >= UNIT
        for message in sent[2:]:
            await slow.write(message)
        await slow.write(UploadRequest(commit=uploader_pb2.CommitShard(frame_count=4)))
        while (answer := await slow.read()).WhichOneof("message") != "committed":
            pass
        assert answer.committed.stored_frames == 4
        assert uploader.budget.peak <= 2 * UNIT


async def test_a_silent_streams_memory_goes_to_who_waits_and_waiting_is_not_silence(
    s3_server: S3Server, location: RunLocation
) -> None:
    settings = small_settings(s3_server.settings, budget_bytes=UNIT, idle_timeout_s=2.0)
    # Time passes once the other waits, however long S3 took over that, and then no more.
    clock = ManualClock()
    async with (
        running_uploader(settings, clock=clock) as (uploader, running),
        connect(running.address) as channel,
    ):
        client = UploaderClient(channel)
        await client.create_run(location, spec=SPEC, plan=SHARDS)
        silent = uploader_pb2_grpc.UploaderServiceStub(channel).UploadShard()
        await silent.write(open_message(location, SHARDS.shard(0)))
        await until_credit(silent)
        async with client.open_shard(
            location,
            SHARDS.shard(1),
            spec_digest=SPEC_DIGEST,
            fingerprint=FINGERPRINT,
            cameras=len(CAMERAS),
            max_frame_bytes=MAX_FRAME_BYTES,
        ) as waits:
            await eventually(lambda: uploader.budget.waiting == 1)
            clock.advance(2.5)
            with pytest.raises(grpc.aio.AioRpcError) as told:
                await silent.read()
            assert told.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            for frame in frames_from(2, 4, small):
                await waits.send(frame)
            assert (await waits.commit()).stored_frames == 4
            assert waits.reconnects == 0


async def test_a_callers_deadline_ends_its_stream_and_frees_shard_and_memory(
    s3_server: S3Server, location: RunLocation
) -> None:
    settings = small_settings(s3_server.settings, budget_bytes=UNIT, stale_after_s=60.0)
    async with (
        running_uploader(settings) as (uploader, running),
        connect(running.address) as channel,
    ):
        client = UploaderClient(channel)
        await client.create_run(location, spec=SPEC, plan=SHARDS)
        stub = uploader_pb2_grpc.UploaderServiceStub(channel)
        # Again when a busy machine took all of the time before there was credit.
        while not await had_credit_when_time_was_up(stub.UploadShard(timeout=2.0), location):
            pass
        await eventually(lambda: uploader.budget.in_use == 0)
        # The epoch was released: nobody waits for it to be stale.
        committed = await send_shard(client, location, SHARDS.shard(0), make=small)
    assert committed.stored_frames == 4


async def test_s3_that_slows_down_gets_half_the_parts_at_once_and_more_again_as_it_takes_them(
    s3_server: S3Server, location: RunLocation
) -> None:
    held = Fault("upload_part", FaultKind.GATE, times=3)
    slow = Fault("upload_part")
    later = Fault("upload_part", FaultKind.GATE, times=100)
    before = metrics.value_of(PART_RETRIES, {"reason": "S3_SLOW_DOWN"})
    async with running_proxy(s3_server.settings, plan=plan_of(held, slow, later)) as proxy:
        settings = small_settings(proxy.settings, upload_concurrency=4)
        async with uploader_client(settings) as (client, _):
            await client.create_run(location, spec=SPEC, plan=SHARDS)
            async with asyncio.TaskGroup() as tasks:
                for shard in SHARDS.shards():
                    tasks.create_task(send_shard(client, location, shard, make=small))
                # Three of four are on their way when the fourth is told to come later.
                await eventually(lambda: metrics.value_of(UPLOAD_LIMIT) == 2)
                assert (held.hits, slow.hits, later.hits) == (3, 1, 0)
                held.gate.set()
                # Two at once, and by the three that were taken in a third.
                await eventually(lambda: later.hits == 3)
                assert metrics.value_of(UPLOAD_LIMIT) == 3
                assert metrics.value_of(PART_RETRIES, {"reason": "S3_SLOW_DOWN"}) == before + 1
                later.gate.set()
            assert metrics.value_of(UPLOAD_LIMIT) > 3


async def test_streams_that_wait_are_served_in_their_order(
    s3_server: S3Server, location: RunLocation
) -> None:
    settings = small_settings(s3_server.settings, budget_bytes=UNIT)
    async with (
        running_uploader(settings) as (uploader, running),
        connect(running.address) as channel,
    ):
        client = UploaderClient(channel)
        await client.create_run(location, spec=SPEC, plan=SHARDS)
        first, *rest = SHARDS.shards()
        holds = uploader_pb2_grpc.UploaderServiceStub(channel).UploadShard()
        await holds.write(open_message(location, first))
        await until_credit(holds)
        order: list[int] = []

        async def send(shard: ShardFrames) -> None:
            await send_shard(client, location, shard, make=small)
            order.append(shard.shard)

        async with asyncio.TaskGroup() as tasks:
            for position, shard in enumerate(rest[:4], 1):
                tasks.create_task(send(shard))
                await eventually(lambda many=position: uploader.budget.waiting == many)  # type: ignore[misc]
            holds.cancel()
        assert order == [shard.shard for shard in rest[:4]]


async def test_a_foreign_prefix_is_refused_before_s3_is_asked(
    s3_server: S3Server, location: RunLocation
) -> None:
    settings = small_settings(
        s3_server.settings, allow={"buckets": [f"{location.bucket}/{location.prefix}"]}
    )
    async with (
        running_uploader(settings) as (_, running),
        connect(running.address) as channel,
    ):
        stub = uploader_pb2_grpc.UploaderServiceStub(channel)
        for foreign in (
            replace(location, prefix="bounds-of-others"),
            replace(location, prefix=""),
            replace(location, bucket="elsewhere"),
        ):
            call = stub.UploadShard()
            await call.write(open_message(foreign, SHARDS.shard(0)))
            with pytest.raises(grpc.aio.AioRpcError) as told:
                await call.read()
            assert told.value.code() is grpc.StatusCode.PERMISSION_DENIED, foreign
