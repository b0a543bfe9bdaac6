"""How long the sending side goes on: while it gets anywhere, and no longer."""

from __future__ import annotations

import pytest

from simcloud.client.uploader import ShardUpload
from simcloud.dataset.layout import RunLocation
from simcloud.errors import Overloaded, StorageError
from simcloud.s3.faults import Fault, plan_of, wrapping
from simcloud.s3.objects import ObjectStore
from simcloud_uploader.epochs import EpochState
from simcloud_uploader.ownership import newest_epoch
from support.clock import ManualClock
from support.dataset_frames import FINGERPRINT, SPEC, SPEC_DIGEST, pack, put_tar
from support.eventually import eventually
from support.s3_server import S3Server
from support.uploading import (
    CAMERAS,
    MAX_FRAME_BYTES,
    PLAN,
    frames_from,
    send_rest,
    send_shard,
    small_settings,
    until,
    uploader_client,
)

SHARD = PLAN.shard(0)


async def send_some(upload: ShardUpload, end: int, *, durable: int) -> None:
    for frame in frames_from(0, end):
        await upload.send(frame)
    await eventually(lambda: upload.durable_before >= durable)


async def test_a_writer_whose_frames_took_too_long_opens_its_shard_again_when_they_come(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    settings = small_settings(s3_server.settings, idle_timeout_s=1.5, stale_after_s=60.0)

    async def is_released() -> bool:
        newest = await newest_epoch(store, location, 0)
        return newest is not None and newest.document.state is EpochState.RELEASED

    clock = ManualClock()
    async with uploader_client(settings, clock=clock) as (client, uploader):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        async with client.open_shard(
            location,
            SHARD,
            spec_digest=SPEC_DIGEST,
            fingerprint=FINGERPRINT,
            cameras=len(CAMERAS),
            max_frame_bytes=MAX_FRAME_BYTES,
        ) as upload:
            await send_some(upload, 5, durable=4)
            clock.advance(2.0)
            await until(is_released)
            await eventually(lambda: len(uploader.live) == 0)
            committed = await send_rest(upload, 5, SHARD.end)
    assert committed.stored_frames == 16
    expected, _, _ = pack(list(frames_from(SHARD.first, SHARD.end)))
    assert (await store.get(location.bucket, location.shard_key(0))).data == expected


async def test_a_stream_that_opens_and_breaks_again_and_again_is_given_up(
    s3_server: S3Server, location: RunLocation
) -> None:
    plan = plan_of(Fault("upload_part", code="InternalError", status=500, times=10**6))
    settings = small_settings(s3_server.settings, part_attempts=1)
    async with uploader_client(settings, wrap=wrapping(plan)) as (client, _):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        with pytest.raises(StorageError, match="UploadPart"):
            await send_shard(client, location, SHARD, reconnect_for_s=2.0)


async def test_frames_larger_than_the_budget_are_refused_for_good(
    s3_server: S3Server, location: RunLocation
) -> None:
    async with uploader_client(small_settings(s3_server.settings)) as (client, _):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        with pytest.raises(Overloaded, match="raise its budget_bytes") as refused:
            await send_shard(client, location, SHARD, max_frame_bytes=64 << 20)
    assert not refused.value.retryable


async def test_an_upload_that_a_former_owner_completed_late_is_not_rendered_again(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    async with uploader_client(small_settings(s3_server.settings)) as (client, _):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        async with client.open_shard(
            location,
            SHARD,
            spec_digest=SPEC_DIGEST,
            fingerprint=FINGERPRINT,
            cameras=len(CAMERAS),
            max_frame_bytes=MAX_FRAME_BYTES,
        ) as upload:
            await send_some(upload, 5, durable=4)
            data, _, _ = pack(list(frames_from(SHARD.first, SHARD.end)))
            await put_tar(store, location, 0, data)
            async for item in store.list_uploads(location.bucket, location.shards_prefix):
                await store.abort_multipart(location.bucket, item.key, upload_id=item.upload_id)
            # No ResumeMismatch: nothing is asked for again.
            committed = await send_rest(upload, 5, SHARD.end)
    assert committed.stored_frames == 16
    assert committed.size_bytes == len(data)
