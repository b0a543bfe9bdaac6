"""kill -9 of an uploader in the middle of a shard: nothing is lost, nothing doubled."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from simcloud.client.uploader import ResumeMismatch, UploaderClient
from simcloud.dataset.layout import RunLocation
from simcloud.errors import Conflict
from simcloud.rpc.channel import connect
from simcloud.s3.objects import ObjectStore
from simcloud_uploader.epochs import EpochState
from simcloud_uploader.ownership import newest_epoch
from support.dataset_frames import FINGERPRINT, SPEC, SPEC_DIGEST, pack
from support.eventually import eventually
from support.s3_server import S3Server
from support.uploader_process import uploader_process
from support.uploading import CAMERAS, MAX_FRAME_BYTES, PART_BYTES, PLAN, frames_from, until

SHARD = PLAN.shard(0)


@pytest.fixture
def location(bucket: str) -> RunLocation:
    return RunLocation(bucket=bucket, prefix="kill", run="run")


async def assert_undisturbed(store: ObjectStore, location: RunLocation) -> None:
    expected, _, _ = pack(list(frames_from(SHARD.first, SHARD.end)))
    assert (await store.get(location.bucket, location.shard_key(0))).data == expected
    left = [item async for item in store.list_uploads(location.bucket, location.shards_prefix)]
    assert left == []


@pytest.mark.parametrize("kill_after", [2, 4, 6])
async def test_a_killed_uploader_loses_no_durable_frame_and_the_writer_does_not_notice(
    tmp_path: Path, s3_server: S3Server, store: ObjectStore, location: RunLocation, kill_after: int
) -> None:
    with uploader_process(tmp_path, s3_server) as process:
        await process.start()
        async with connect(process.address) as channel:
            client = UploaderClient(channel)
            await client.create_run(location, spec=SPEC, plan=PLAN)
            async with client.open_shard(
                location,
                SHARD,
                spec_digest=SPEC_DIGEST,
                fingerprint=FINGERPRINT,
                cameras=len(CAMERAS),
                max_frame_bytes=MAX_FRAME_BYTES,
                unacked_bytes=2 * PART_BYTES,
                reconnect_for_s=60.0,
            ) as upload:
                for frame in frames_from(0, kill_after + 1):
                    await upload.send(frame)
                await eventually(lambda: upload.durable_before >= kill_after)
                promised = upload.durable_before
                assert process.send_signal(signal.SIGKILL) == -signal.SIGKILL
                seen = await newest_epoch(store, location, 0)
                assert seen is not None
                assert seen.document.next_frame >= promised

                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(process.start())
                    # Not one frame is rendered twice: what is not durable is still kept.
                    for frame in frames_from(kill_after + 1, SHARD.end):
                        await upload.send(frame)
                    committed = await upload.commit()
                assert upload.reconnects >= 1
        assert committed.stored_frames == 16
        assert not committed.already_committed
        await assert_undisturbed(store, location)


async def test_when_writer_and_uploader_die_together_another_writer_renders_from_the_resume_point(
    tmp_path: Path, s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    with uploader_process(tmp_path, s3_server) as process:
        await process.start()
        async with connect(process.address) as channel:
            client = UploaderClient(channel)
            await client.create_run(location, spec=SPEC, plan=PLAN)
            async with client.open_shard(
                location,
                SHARD,
                spec_digest=SPEC_DIGEST,
                fingerprint=FINGERPRINT,
                cameras=len(CAMERAS),
                max_frame_bytes=MAX_FRAME_BYTES,
            ) as upload:
                for frame in frames_from(0, 5):
                    await upload.send(frame)
                await eventually(lambda: upload.durable_before >= 4)
                process.send_signal(signal.SIGKILL)
        await process.start()

        rendered: list[int] = []

        async def another() -> bool:
            async with connect(process.address) as channel:
                try:
                    async with UploaderClient(channel).open_shard(
                        location,
                        SHARD,
                        spec_digest=SPEC_DIGEST,
                        fingerprint=FINGERPRINT,
                        cameras=len(CAMERAS),
                        max_frame_bytes=MAX_FRAME_BYTES,
                    ) as upload:
                        for frame in frames_from(upload.resume_frame, SHARD.end):
                            rendered.append(frame.frame)
                            await upload.send(frame)
                        await upload.commit()
                except Conflict:
                    return False
                return True

        await until(another, within_s=60)
        assert min(rendered) >= 4
        await assert_undisturbed(store, location)


async def test_sigterm_releases_the_epoch_so_that_nobody_waits(
    tmp_path: Path, s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    with uploader_process(tmp_path, s3_server) as process:
        await process.start()
        async with connect(process.address) as channel:
            client = UploaderClient(channel)
            await client.create_run(location, spec=SPEC, plan=PLAN)
            async with client.open_shard(
                location,
                SHARD,
                spec_digest=SPEC_DIGEST,
                fingerprint=FINGERPRINT,
                cameras=len(CAMERAS),
                max_frame_bytes=MAX_FRAME_BYTES,
            ) as upload:
                for frame in frames_from(0, 5):
                    await upload.send(frame)
                await eventually(lambda: upload.durable_before >= 4)
                assert await asyncio.to_thread(process.send_signal, signal.SIGTERM) == 0
                seen = await newest_epoch(store, location, 0)
                assert seen is not None
                assert seen.document.state is EpochState.RELEASED
                assert seen.document.next_frame >= 4
                await process.start()
                begin = 5
                while True:
                    try:
                        for frame in frames_from(begin, SHARD.end):
                            await upload.send(frame)
                        await upload.commit()
                        break
                    except ResumeMismatch as mismatch:
                        begin = mismatch.resume_frame
        await assert_undisturbed(store, location)
