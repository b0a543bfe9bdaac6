"""Servers that can do less than AWS's S3: found out in time, refused or made up for."""

from __future__ import annotations

import pytest

from simcloud.client.uploader import CommittedShard
from simcloud.concurrency import single_error
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.errors import PreconditionFailed
from simcloud.s3.client import S3Settings
from simcloud.s3.faults import Fault, FaultKind, plan_of
from simcloud.s3.objects import ObjectStore, open_store
from simcloud.s3.probe import Capabilities, probe
from simcloud.spec.plan import Plan
from simcloud.telemetry import metrics
from simcloud_uploader.metrics import RESTARTS
from support.dataset_frames import SPEC, pack
from support.s3_proxy import Ignorance, running_proxy
from support.s3_server import S3Server
from support.uploading import frame_of, frames_from, send_shard, small_settings, uploader_client

PLAN = Plan(frames=3, frames_per_shard=3)
EVERYTHING = Capabilities(
    conditional_put=True,
    conditional_replace=True,
    conditional_complete=True,
    checks_parts=True,
    keeps_checksums=True,
    lists_parts=True,
    lists_uploads=True,
)


def make(frame: int, camera: str) -> EncodedFrame:
    return frame_of(frame, camera, plan=PLAN)


async def upload(s3: S3Settings, location: RunLocation, **settings: object) -> CommittedShard:
    chosen = small_settings(s3, probe_s3=True, **settings)
    async with single_error(), uploader_client(chosen) as (client, _):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        committed = await send_shard(client, location, PLAN.shard(0), make=make)
        await client.publish_run(location)
    return committed


async def assert_stored(store: ObjectStore, location: RunLocation) -> None:
    expected, _, _ = pack(list(frames_from(0, 3, make)))
    assert (await store.get(location.bucket, location.shard_key(0))).data == expected


async def test_the_server_that_comes_with_simcloud_can_do_everything_and_keeps_nothing_of_it(
    store: ObjectStore, bucket: str
) -> None:
    assert await probe(store, bucket, "team/a") == EVERYTHING
    assert EVERYTHING.all
    assert [row async for row in store.list_keys(bucket, "")] == []
    assert [row async for row in store.list_uploads(bucket, "")] == []


@pytest.mark.parametrize(
    ("ignorance", "lost"),
    [
        (Ignorance(conditional_put=True), {"conditional_put", "conditional_replace"}),
        (Ignorance(conditional_complete=True), {"conditional_complete"}),
        (Ignorance(checksums=True), {"checks_parts", "keeps_checksums"}),
        (Ignorance(listings=True), {"lists_parts", "lists_uploads"}),
    ],
    ids=["conditional puts", "conditional completes", "checksums", "listings"],
)
async def test_what_a_server_does_not_know_is_found_out(
    s3_server: S3Server, bucket: str, ignorance: Ignorance, lost: set[str]
) -> None:
    async with (
        running_proxy(s3_server.settings, ignorance=ignorance) as proxy,
        open_store(proxy.settings) as through,
    ):
        found = await probe(through, bucket, "")
    assert {name for name in Capabilities.__slots__ if not getattr(found, name)} == lost


@pytest.mark.parametrize(
    ("ignorance", "words"),
    [
        (Ignorance(conditional_put=True), "two writers can own one shard"),
        (Ignorance(conditional_complete=True), "can replace a committed shard"),
        (Ignorance(listings=True), "no ListParts"),
    ],
)
async def test_a_server_that_can_not_keep_the_promises_is_refused_before_anything_is_written(
    s3_server: S3Server,
    store: ObjectStore,
    location: RunLocation,
    ignorance: Ignorance,
    words: str,
) -> None:
    async with running_proxy(s3_server.settings, ignorance=ignorance) as proxy:
        with pytest.raises(PreconditionFailed, match=words):
            await upload(proxy.settings, location)
    assert [row async for row in store.list_keys(location.bucket, location.root)] == []


async def test_a_single_writer_may_use_a_server_without_conditions_if_its_operator_says_so(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    ignorance = Ignorance(conditional_put=True, conditional_complete=True)
    async with running_proxy(s3_server.settings, ignorance=ignorance) as proxy:
        first = await upload(
            proxy.settings, location, allow_unconditional_writes_single_writer=True
        )
        again = await upload(
            proxy.settings, location, allow_unconditional_writes_single_writer=True
        )
    assert again.already_committed
    assert again.etag == first.etag
    await assert_stored(store, location)


async def test_without_the_servers_checksums_the_tar_is_read_back_and_a_damaged_one_sent_again(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    plan = plan_of(Fault("upload_part", FaultKind.DAMAGED, key="*/shards/*"))
    before = metrics.value_of(RESTARTS, {"reason": "READ_BACK"})
    async with running_proxy(
        s3_server.settings, plan=plan, ignorance=Ignorance(checksums=True)
    ) as proxy:
        committed = await upload(proxy.settings, location)
    _, _, crc = pack(list(frames_from(0, 3, make)))
    assert committed.crc64nvme == crc
    assert metrics.value_of(RESTARTS, {"reason": "READ_BACK"}) == before + 1
    await assert_stored(store, location)
