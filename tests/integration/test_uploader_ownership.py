"""Who owns a shard: races, takeovers, releases, reconnects; with two uploaders on one S3."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, suppress

import pytest

from simcloud.client.uploader import CommittedShard, ShardUpload, UploaderClient
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.errors import Conflict, NotReady, PreconditionFailed, SimcloudError
from simcloud.s3.faults import Fault, FaultKind, plan_of, wrapping
from simcloud.s3.objects import ObjectStore
from simcloud.telemetry import metrics
from simcloud_uploader.epochs import EpochState
from simcloud_uploader.metrics import TAKEOVERS
from simcloud_uploader.ownership import newest_epoch
from support.dataset_frames import FINGERPRINT, SPEC, SPEC_DIGEST, pack
from support.eventually import eventually
from support.s3_server import S3Server
from support.uploading import (
    CAMERAS,
    MAX_FRAME_BYTES,
    PLAN,
    frame_of,
    frames_from,
    send_rest,
    send_shard,
    small_settings,
    until,
    uploader_client,
)

SHARD = PLAN.shard(0)


@pytest.fixture
def location(bucket: str) -> RunLocation:
    return RunLocation(bucket=bucket, prefix="", run="owned")


def opening(
    client: UploaderClient, location: RunLocation, *, reconnect_for_s: float = 30.0
) -> AbstractAsyncContextManager[ShardUpload]:
    return client.open_shard(
        location,
        SHARD,
        spec_digest=SPEC_DIGEST,
        fingerprint=FINGERPRINT,
        cameras=len(CAMERAS),
        max_frame_bytes=MAX_FRAME_BYTES,
        reconnect_for_s=reconnect_for_s,
    )


async def until_durable(upload: ShardUpload, frame: int, *, begin: int = 0) -> None:
    """Sends frames up to ``frame`` + 2 and waits until those before ``frame`` are durable."""
    for item in frames_from(begin, frame + 2):
        await upload.send(item)
    await eventually(lambda: upload.durable_before >= frame)


async def assert_whole(store: ObjectStore, location: RunLocation) -> None:
    expected, _, _ = pack(list(frames_from(SHARD.first, SHARD.end)))
    assert (await store.get(location.bucket, location.shard_key(0))).data == expected


async def test_of_writers_that_race_for_a_shard_one_wins_and_the_others_are_told(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    results: list[CommittedShard | SimcloudError] = []

    async def race(client: UploaderClient) -> None:
        try:
            results.append(await send_shard(client, location, SHARD))
        except Conflict as error:
            results.append(error)

    settings = small_settings(s3_server.settings, stale_after_s=60.0)
    async with (
        uploader_client(settings) as (one, _),
        uploader_client(settings) as (other, _),
    ):
        await one.create_run(location, spec=SPEC, plan=PLAN)
        async with asyncio.TaskGroup() as tasks:
            for client in (one, other, one, other):
                tasks.create_task(race(client))
    committed = [item for item in results if isinstance(item, CommittedShard)]
    assert len(committed) >= 1
    assert sum(not item.already_committed for item in committed) == 1
    assert len(results) == 4
    await assert_whole(store, location)


async def test_a_living_owner_is_not_taken_over_however_slow_its_frames_are(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    # It writes its epoch every 1.3 s: a machine that is busy for the rest has not ended its life.
    settings = small_settings(s3_server.settings, stale_after_s=4.0)
    async with (
        uploader_client(settings) as (one, _),
        uploader_client(settings) as (other, _),
    ):
        await one.create_run(location, spec=SPEC, plan=PLAN)
        async with opening(one, location) as upload:
            first = await newest_epoch(store, location, 0)
            assert first is not None

            async def refreshed() -> bool:
                seen = await newest_epoch(store, location, 0)
                assert seen is not None
                return (seen.last_modified - first.last_modified).total_seconds() > 5

            await until(refreshed)
            with pytest.raises(Conflict) as told:
                async with opening(other, location):
                    pass
            assert told.value.metadata["epoch"] == "1"
            await send_rest(upload, upload.resume_frame, SHARD.end)
    await assert_whole(store, location)


async def test_a_released_shard_is_gone_on_with_at_once_by_another_uploader(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    settings = small_settings(s3_server.settings, stale_after_s=60.0)
    async with (
        uploader_client(settings) as (one, _),
        uploader_client(settings) as (other, _),
    ):
        await one.create_run(location, spec=SPEC, plan=PLAN)
        async with opening(one, location) as upload:
            await until_durable(upload, 4)

        async def is_released() -> bool:
            seen = await newest_epoch(store, location, 0)
            return seen is not None and seen.document.state is EpochState.RELEASED

        await until(is_released)
        released = await newest_epoch(store, location, 0)
        assert released is not None
        async with opening(other, location) as upload:
            assert upload.resume_frame == released.document.next_frame >= 4
            await send_rest(upload, upload.resume_frame, SHARD.end)
        taken = await newest_epoch(store, location, 0)
        assert taken is not None
        assert taken.document.upload_id == released.document.upload_id
    await assert_whole(store, location)


async def test_the_same_uploader_goes_on_at_once_when_its_release_was_lost(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    plan = plan_of()
    settings = small_settings(s3_server.settings, stale_after_s=60.0, cleanup_s=1.0)
    async with uploader_client(settings, wrap=wrapping(plan)) as (client, uploader):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        async with opening(client, location) as upload:
            await until_durable(upload, 4)
            lost = plan.add(
                Fault("put_object", FaultKind.UNREACHABLE, key="*uploads/000000/*", times=100)
            )
        await eventually(lambda: len(uploader.live) == 0)
        plan.faults.remove(lost)
        seen = await newest_epoch(store, location, 0)
        assert seen is not None
        assert seen.document.state is EpochState.OPEN
        await send_shard(client, location, SHARD)
    await assert_whole(store, location)


async def test_a_frozen_owner_is_taken_over_and_stops_at_its_next_write(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    """Its epoch writes hang: to all others it looks dead, though its process lives."""
    plan = plan_of()
    taken_over = metrics.value_of(TAKEOVERS, {"upload": "continued"})
    settings = small_settings(s3_server.settings, stale_after_s=1.0)
    async with (
        uploader_client(settings, wrap=wrapping(plan)) as (frozen, _),
        uploader_client(settings) as (other, _),
    ):
        await frozen.create_run(location, spec=SPEC, plan=PLAN)
        async with opening(frozen, location) as upload:
            await until_durable(upload, 2)
            gate = plan.add(
                Fault("head_object", FaultKind.GATE, key="*uploads/000000/*", times=100)
            )
            await gate.reached.wait()

            async def took_over() -> bool:
                try:
                    return (await send_shard(other, location, SHARD)).stored_frames == 16
                except Conflict:
                    return False

            await until(took_over, within_s=30)
            plan.faults.remove(gate)
            gate.gate.set()
            # Told by the newer epoch, or by S3 that the upload is gone and the shard committed.
            with suppress(Conflict):
                assert (await send_rest(upload, 4, SHARD.end)).already_committed
    assert metrics.value_of(TAKEOVERS, {"upload": "continued"}) == taken_over + 1
    await assert_whole(store, location)


async def test_a_drained_uploader_leaves_checkpoints_and_the_client_goes_on_elsewhere(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    settings = small_settings(s3_server.settings, stale_after_s=60.0)
    async with uploader_client(settings) as (one, _):
        await one.create_run(location, spec=SPEC, plan=PLAN)
    async with uploader_client(settings) as (other, _):
        async with (
            uploader_client(settings) as (one, uploader),
            opening(one, location, reconnect_for_s=0.5) as upload,
        ):
            await until_durable(upload, 4)
            await uploader.live.drain()
            with pytest.raises(NotReady):
                await send_rest(upload, 6, SHARD.end)
        seen = await newest_epoch(store, location, 0)
        assert seen is not None
        assert seen.document.state is EpochState.RELEASED
        assert seen.document.next_frame >= 4
        await send_shard(other, location, SHARD)
    await assert_whole(store, location)


async def test_another_fingerprint_may_join_only_when_it_is_allowed(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    def other_frame(frame: int, camera: str) -> EncodedFrame:
        return frame_of(frame, camera, fingerprint="0" * 16)

    settings = small_settings(s3_server.settings, stale_after_s=60.0)
    async with uploader_client(settings) as (client, uploader):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        async with opening(client, location) as upload:
            await until_durable(upload, 4)
        await eventually(lambda: len(uploader.live) == 0)
        with pytest.raises(PreconditionFailed, match="fingerprint"):
            await send_shard(client, location, SHARD, make=other_frame, fingerprint="0" * 16)
        committed = await send_shard(
            client,
            location,
            SHARD,
            make=other_frame,
            fingerprint="0" * 16,
            allow_mixed_fingerprints=True,
        )
    assert committed.fingerprints == (FINGERPRINT, "0" * 16)
    assert committed.stored_frames == 16


async def test_who_may_join_is_seen_by_those_who_may_not(
    s3_server: S3Server, location: RunLocation
) -> None:
    async with uploader_client(small_settings(s3_server.settings)) as (client, _):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        await send_shard(client, location, SHARD, allow_mixed_fingerprints=True)
        with pytest.raises(PreconditionFailed, match=FINGERPRINT):
            await send_shard(client, location, PLAN.shard(1), fingerprint="0" * 16)


async def test_an_aborted_run_stops_its_writers_here_and_elsewhere(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    settings = small_settings(s3_server.settings, stale_after_s=1.5)
    async with (
        uploader_client(settings) as (one, _),
        uploader_client(settings) as (other, _),
    ):
        await one.create_run(location, spec=SPEC, plan=PLAN)
        async with opening(one, location) as upload:
            await until_durable(upload, 2)
            outcome = await other.abort_run(location, reason="enough")
            assert outcome.stopped_shards == 1
            assert outcome.aborted_uploads == 1
            with pytest.raises(PreconditionFailed, match="aborted"):
                await send_rest(upload, 4, SHARD.end)
        with pytest.raises(PreconditionFailed, match="aborted"):
            async with opening(one, location):
                pass
        again = await one.abort_run(location, reason="enough")
        assert (again.stopped_shards, again.aborted_uploads) == (0, 0)
    left = [item async for item in store.list_uploads(location.bucket, location.shards_prefix)]
    assert left == []
