"""A purge leaves nothing, at whichever moment another replica's writer stood."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from simcloud.client.uploader import UploaderClient
from simcloud.concurrency import single_error
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.errors import NotFound, SimcloudError
from simcloud.s3.faults import Fault, FaultKind, plan_of, wrapping
from simcloud.s3.objects import ObjectStore
from simcloud.spec.plan import Plan
from simcloud_uploader.sweeper import Sweeper
from support.dataset_frames import SPEC, put_shard
from support.s3_server import S3Server
from support.uploading import frame_of, send_shard, small_settings, uploader_client

GATE, GATE_AFTER = FaultKind.GATE, FaultKind.GATE_AFTER
PLAN = Plan(frames=1, frames_per_shard=1)
GROWN = Plan(frames=2, frames_per_shard=1)


def make(frame: int, camera: str) -> EncodedFrame:
    return frame_of(frame, camera, plan=GROWN, layer_bytes=500)


async def upload(client: UploaderClient, location: RunLocation) -> None:
    await send_shard(client, location, PLAN.shard(0), make=make, reconnect_for_s=5.0)


async def publish(client: UploaderClient, location: RunLocation) -> None:
    await client.publish_run(location)


async def grow(client: UploaderClient, location: RunLocation) -> None:
    await client.create_run(location, spec=SPEC, plan=GROWN)


async def assert_nothing_left(store: ObjectStore, location: RunLocation) -> None:
    assert [row.key async for row in store.list_keys(location.bucket, "")] == []
    assert [row.key async for row in store.list_uploads(location.bucket, "")] == []


@pytest.mark.parametrize(
    ("moment", "work"),
    [
        (("put_object", GATE, "*/fingerprint.json"), upload),
        (("create_multipart_upload", GATE, "*"), upload),
        (("put_object", GATE, "*/uploads/000000/0001.json"), upload),
        (("upload_part", GATE, "*"), upload),
        (("complete_multipart_upload", GATE, "*"), upload),
        (("complete_multipart_upload", GATE_AFTER, "*"), upload),
        (("put_object", GATE, "*/index/000000.parquet"), upload),
        (("put_object", GATE_AFTER, "*/index/000000.parquet"), upload),
        (("put_object", GATE, "*/manifests/0001.json"), publish),
        (("put_object", GATE, "*/plans/0002.json"), grow),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else value.__name__,
)
async def test_what_another_replica_writes_while_a_run_is_purged_is_gone_afterwards(
    s3_server: S3Server,
    store: ObjectStore,
    location: RunLocation,
    moment: tuple[str, FaultKind, str],
    work: Callable[[UploaderClient, RunLocation], Awaitable[None]],
) -> None:
    """The writer stands before a request, or before its answer, until the purge is over."""
    operation, kind, key = moment
    gate = Fault(operation, kind, key=key)
    settings = small_settings(s3_server.settings)
    async with (
        single_error(),
        uploader_client(settings, wrap=wrapping(plan_of(gate))) as (slow, _),
        uploader_client(settings) as (client, _),
    ):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        if work is publish:
            await put_shard(store, location, PLAN.shard(0))

        async def fails() -> None:
            with pytest.raises(SimcloudError):
                await work(slow, location)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fails())
            await gate.reached.wait()
            await client.abort_run(location, reason="wrong", purge=True)
            gate.gate.set()
        await assert_nothing_left(store, location)
        # the name is free, for another spec too
        other = SPEC.model_copy(update={"seed": 7})
        assert (await client.create_run(location, spec=other, plan=PLAN)).created


async def test_what_a_writer_that_died_left_in_a_purged_run_can_be_purged(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    await put_shard(store, location, PLAN.shard(0))
    await store.create_multipart(
        location.bucket, location.shard_key(1), metadata={}, content_type="x/y"
    )
    sweeper = Sweeper(store, upload_ttl_s=3600.0, stale_after_s=60.0)
    assert (await sweeper.sweep(location)).uploads == 1
    async with uploader_client(small_settings(s3_server.settings)) as (client, _):
        with pytest.raises(NotFound):
            await client.abort_run(location)
        assert (await client.abort_run(location, purge=True)).deleted_objects == 3
        await assert_nothing_left(store, location)
        with pytest.raises(NotFound):
            await client.abort_run(location, purge=True)
