"""S3's ambiguous answers: whatever it says, a shard is committed once and whole."""

from __future__ import annotations

import asyncio

import pytest

from simcloud.client.uploader import CommittedShard, RestartShard
from simcloud.dataset.layout import RunLocation
from simcloud.errors import StorageError
from simcloud.s3.faults import Fault, FaultKind, FaultPlan, plan_of, wrapping
from simcloud.s3.objects import ObjectStore
from simcloud.spec.plan import ShardFrames
from simcloud.telemetry import metrics
from simcloud_uploader.metrics import PART_RETRIES, RESOLVED, RESTARTS
from support.dataset_frames import FINGERPRINT, SPEC, SPEC_DIGEST, pack, put_tar
from support.s3_server import S3Server
from support.uploading import (
    CAMERAS,
    MAX_FRAME_BYTES,
    PART_BYTES,
    PLAN,
    frames_from,
    send_shard,
    small_settings,
    uploader_client,
)

SHARD = PLAN.shard(0)
COMPLETE = "complete_multipart_upload"


async def upload_with(
    plan: FaultPlan, s3_server: S3Server, location: RunLocation, **settings: object
) -> CommittedShard:
    """Uploads the first shard through the faults; all of them must have struck."""
    chosen = small_settings(s3_server.settings, **settings)
    async with uploader_client(chosen, wrap=wrapping(plan)) as (client, _):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        committed = await send_shard(client, location, SHARD)
    assert not plan.unspent()
    return committed


async def assert_whole(
    store: ObjectStore, location: RunLocation, frames: ShardFrames = SHARD
) -> None:
    """The shard is in S3 as it was sent, its index too, and no upload is left open."""
    expected, _, _ = pack(list(frames_from(frames.first, frames.end)))
    assert (await store.get(location.bucket, location.shard_key(frames.shard))).data == expected
    assert await store.find(location.bucket, location.index_key(frames.shard)) is not None
    left = [item async for item in store.list_uploads(location.bucket, location.shards_prefix)]
    assert left == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault(COMPLETE, FaultKind.LOST_ANSWER),
        Fault(COMPLETE, FaultKind.FAILED_AFTER, code="InternalError", status=200),
        Fault(COMPLETE, FaultKind.REFUSED, code="InternalError", status=500, times=2),
        Fault(COMPLETE, FaultKind.REFUSED, code="SlowDown", status=503, times=2),
        Fault(COMPLETE, FaultKind.UNREACHABLE),
    ],
    ids=["lost answer", "200 with error, done", "500, not done", "slow down", "unreachable"],
)
async def test_an_unclear_complete_commits_once_and_sends_no_frame_again(
    s3_server: S3Server, store: ObjectStore, location: RunLocation, fault: Fault
) -> None:
    restarts = metrics.value_of(RESTARTS, {"reason": "NoSuchUpload"})
    committed = await upload_with(plan_of(fault), s3_server, location)
    await assert_whole(store, location)
    assert committed.stored_frames == 16
    assert metrics.value_of(RESTARTS, {"reason": "NoSuchUpload"}) == restarts


async def test_another_writers_object_is_adopted_and_our_upload_aborted(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    gate = Fault(COMPLETE, FaultKind.GATE)
    adopted = metrics.value_of(RESOLVED, {"verdict": "anothers"})

    async def another() -> None:
        await gate.reached.wait()
        tar, _, _ = pack(list(frames_from(SHARD.first, SHARD.end)))
        await put_tar(store, location, 0, tar)
        gate.gate.set()

    async with asyncio.TaskGroup() as tasks:
        upload = tasks.create_task(upload_with(plan_of(gate), s3_server, location))
        tasks.create_task(another())
    assert metrics.value_of(RESOLVED, {"verdict": "anothers"}) == adopted + 1
    await assert_whole(store, location)
    info = await store.head(location.bucket, location.shard_key(0))
    assert upload.result().crc64nvme == info.crc64nvme
    assert "simcloud-writer" not in info.metadata


@pytest.mark.parametrize(
    "fault",
    [
        Fault(COMPLETE, code="ConditionalRequestConflict", status=409),
        Fault(COMPLETE, code="InvalidPart", status=400),
        Fault(COMPLETE, code="NoSuchUpload", status=404),
        Fault("upload_part", code="NoSuchUpload", status=404, after=2),
    ],
    ids=["409", "InvalidPart", "NoSuchUpload at Complete", "NoSuchUpload at a part"],
)
async def test_a_lost_upload_begins_again_in_a_new_one(
    s3_server: S3Server, store: ObjectStore, location: RunLocation, fault: Fault
) -> None:
    committed = await upload_with(plan_of(fault), s3_server, location)
    expected, _, crc = pack(list(frames_from(SHARD.first, SHARD.end)))
    assert (await store.get(location.bucket, location.shard_key(0))).data == expected
    assert committed.crc64nvme == crc


async def test_the_caller_is_told_to_render_again_after_a_restart(
    s3_server: S3Server, location: RunLocation
) -> None:
    plan = plan_of(Fault(COMPLETE, code="InvalidPart", status=400))
    settings = small_settings(s3_server.settings)
    async with uploader_client(settings, wrap=wrapping(plan)) as (client, _):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        async with client.open_shard(
            location,
            SHARD,
            spec_digest=SPEC_DIGEST,
            fingerprint=FINGERPRINT,
            cameras=len(CAMERAS),
            max_frame_bytes=MAX_FRAME_BYTES,
            unacked_bytes=PART_BYTES,
        ) as upload:
            for frame in frames_from(SHARD.first, SHARD.end):
                await upload.send(frame)
            with pytest.raises(RestartShard) as told:
                await upload.commit()
            assert told.value.resume_frame == upload.durable_before == 0
            for frame in frames_from(SHARD.first, SHARD.end):
                await upload.send(frame)
            assert (await upload.commit()).stored_frames == 16


async def test_an_upload_that_is_lost_again_and_again_fails_in_the_end(
    s3_server: S3Server, location: RunLocation
) -> None:
    plan = plan_of(Fault(COMPLETE, code="InvalidPart", status=400, times=100))
    settings = small_settings(s3_server.settings, max_restarts=1)
    async with uploader_client(settings, wrap=wrapping(plan)) as (client, _):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        with pytest.raises(StorageError, match="lost the upload 2 times"):
            await send_shard(client, location, SHARD, reconnect_for_s=0.01)


async def test_slow_down_halves_the_uploads_and_costs_nothing_but_time(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    before = metrics.value_of(PART_RETRIES, {"reason": "S3_SLOW_DOWN"})
    await upload_with(plan_of(Fault("upload_part", times=3)), s3_server, location)
    await assert_whole(store, location)
    assert metrics.value_of(PART_RETRIES, {"reason": "S3_SLOW_DOWN"}) == before + 3


async def test_a_lost_answer_of_a_part_sends_it_again(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    plan = plan_of(Fault("upload_part", FaultKind.LOST_ANSWER, times=2, after=1))
    await upload_with(plan, s3_server, location)
    await assert_whole(store, location)


async def test_a_lost_answer_of_an_epoch_write_is_found_to_be_ours(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    plan = plan_of(
        Fault("put_object", FaultKind.LOST_ANSWER, key="*/uploads/000000/*", times=2),
        Fault("put_object", FaultKind.LOST_ANSWER, key="*/index/*"),
    )
    await upload_with(plan, s3_server, location)
    await assert_whole(store, location)


async def test_a_tar_without_an_index_gets_one_at_the_next_open(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    settings = small_settings(s3_server.settings)
    async with uploader_client(settings) as (client, _):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        tar, _, crc = pack(list(frames_from(SHARD.first, SHARD.end)))
        await put_tar(store, location, 0, tar)
        committed = await send_shard(client, location, SHARD)
    assert committed.already_committed
    assert committed.crc64nvme == crc
    await assert_whole(store, location)
