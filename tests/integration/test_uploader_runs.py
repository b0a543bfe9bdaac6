"""Runs: created once, grown, listed, published when whole, purged."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable

import pytest

from simcloud.accounting.reconcile import reconcile
from simcloud.client.uploader import RunState, UploaderClient
from simcloud.concurrency import single_error
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import KeyKind, RunLocation
from simcloud.dataset.manifest import load_manifest
from simcloud.errors import (
    AlreadyExists,
    InvalidRequest,
    NotFound,
    PreconditionFailed,
    SimcloudError,
)
from simcloud.s3.faults import Fault, FaultKind, plan_of, wrapping
from simcloud.s3.objects import ObjectStore
from simcloud.spec.canonical import canonical_json
from simcloud.spec.plan import Plan
from simcloud_uploader.sweeper import Sweeper
from support.dataset_frames import SPEC
from support.s3_server import S3Server
from support.uploading import PLAN, frame_of, send_shard, small_settings, until, uploader_client


def small(frame: int, camera: str) -> EncodedFrame:
    return frame_of(frame, camera, layer_bytes=500)


async def create_whole(client: UploaderClient, location: RunLocation) -> None:
    """A run that has all its shards and is not published."""
    await client.create_run(location, spec=SPEC, plan=PLAN)
    for shard in PLAN.shards():
        await send_shard(client, location, shard, make=small)


@pytest.fixture
def location(bucket: str) -> RunLocation:
    return RunLocation(bucket=bucket, prefix="runs", run="run")


async def test_another_spec_is_refused_with_the_fields_that_differ(
    s3_server: S3Server, location: RunLocation
) -> None:
    other = SPEC.model_copy(update={"seed": 7})
    async with uploader_client(small_settings(s3_server.settings)) as (client, _):
        provenance = json.dumps({"commit": "abc"}).encode()
        await client.create_run(location, spec=SPEC, plan=PLAN, provenance_json=provenance)
        with pytest.raises(AlreadyExists, match="seed"):
            await client.create_run(location, spec=other, plan=PLAN)
        with pytest.raises(InvalidRequest, match="provenance_json"):
            await client.create_run(location, spec=SPEC, plan=PLAN, provenance_json=b"[1]")
        run = await client.get_run(location)
        assert run.spec == SPEC
        assert run.plan == PLAN
        with pytest.raises(NotFound):
            await client.get_run(RunLocation(bucket=location.bucket, prefix="runs", run="no"))


async def test_an_unfinished_run_is_not_published_and_each_missing_shard_is_named(
    s3_server: S3Server, location: RunLocation
) -> None:
    async with uploader_client(small_settings(s3_server.settings)) as (client, _):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        await send_shard(client, location, PLAN.shard(1), make=small)
        with pytest.raises(PreconditionFailed) as told:
            await client.publish_run(location)
        assert [item.subject for item in told.value.violations] == ["runs/run/shards/000000.tar"]
        summary = (await client.get_run(location)).summary
        assert summary.state is RunState.OPEN
        assert summary.missing == (PLAN.shard(0),)
        assert (summary.committed_shards, summary.stored_frames) == (1, 16)


async def test_a_grown_run_keeps_its_shards_and_gets_a_second_manifest(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    grown = PLAN.model_copy(update={"frames": 24})
    async with uploader_client(small_settings(s3_server.settings)) as (client, _):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        for frames in PLAN.shards():
            await send_shard(client, location, frames, make=small)
        await client.publish_run(location)
        with pytest.raises(PreconditionFailed, match="shrink"):
            await client.create_run(location, spec=SPEC, plan=Plan(frames=8, frames_per_shard=8))
        created = await client.create_run(location, spec=SPEC, plan=grown)
        assert not created.created
        assert created.plan_generation == 2
        assert created.committed == frozenset({0, 1})
        assert (await client.get_run(location)).summary.state is RunState.OPEN
        await send_shard(client, location, grown.shard(2), make=small)
        published = await client.publish_run(location)
        assert published.summary.manifest_key.endswith("manifests/0002.json")
        assert (await load_manifest(store, location)).stored_frames == 48
        assert (await load_manifest(store, location, generation=1)).stored_frames == 32


@pytest.mark.parametrize("first", [24, 32], ids=["the smaller first", "the larger first"])
async def test_of_two_that_grow_a_published_run_at_once_the_larger_plan_is_in_force(
    s3_server: S3Server, store: ObjectStore, location: RunLocation, first: int
) -> None:
    """Both have read plan 1 and stand before writing plan 2; ``first`` writes it first."""
    settings = small_settings(s3_server.settings)
    gates = {
        frames: Fault("put_object", FaultKind.GATE, key="*/plans/0002.json") for frames in (24, 32)
    }

    async def grow(frames: int) -> int:
        plan = PLAN.model_copy(update={"frames": frames})
        async with (
            single_error(),
            uploader_client(settings, wrap=wrapping(plan_of(gates[frames]))) as (client, _),
        ):
            return (await client.create_run(location, spec=SPEC, plan=plan)).plan_generation

    async with uploader_client(settings) as (client, _):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        for frames in PLAN.shards():
            await send_shard(client, location, frames, make=small)
        await client.publish_run(location)
        async with asyncio.TaskGroup() as tasks:
            growing = {frames: tasks.create_task(outcome_of(grow(frames))) for frames in gates}
            for gate in gates.values():
                await gate.reached.wait()
            gates[first].gate.set()
            assert await growing[first] == 2
            gates[56 - first].gate.set()
        second = growing[56 - first].result()
        if first == 24:
            assert second == 3
        else:
            assert isinstance(second, PreconditionFailed)
            assert "shrink" in second.message
        summary = (await client.get_run(location)).summary
        assert (summary.state, summary.planned_frames) == (RunState.OPEN, 64)
        grown = PLAN.model_copy(update={"frames": 32})
        for shard in (2, 3):
            await send_shard(client, location, grown.shard(shard), make=small)
        published = (await client.publish_run(location)).summary
        assert (published.state, published.stored_frames) == (RunState.PUBLISHED, 64)
        assert (await load_manifest(store, location, generation=1)).stored_frames == 32


async def outcome_of(work: Awaitable[int]) -> int | SimcloudError:
    try:
        return await work
    except SimcloudError as error:
        return error


async def test_runs_are_listed_by_name_in_pages(
    s3_server: S3Server, store: ObjectStore, bucket: str
) -> None:
    async with uploader_client(small_settings(s3_server.settings)) as (client, _):
        for name in ("a", "b", "c"):
            await client.create_run(
                RunLocation(bucket=bucket, prefix="runs", run=name), spec=SPEC, plan=PLAN
            )
        await store.put(bucket, "runs/other/file.json", b"{}")
        first = await client.list_runs(bucket, "runs", page_size=2)
        assert [run.location.run for run in first.runs] == ["a", "b"]
        rest = await client.list_runs(bucket, "runs", page_size=2, page_token=first.next_page_token)
        assert [run.location.run for run in rest.runs] == ["c"]
        assert rest.next_page_token == ""
        with pytest.raises(InvalidRequest, match="page_token"):
            await client.list_runs(bucket, "runs", page_token="nonsense")


async def test_a_manifest_whose_counts_are_not_those_of_the_indexes_does_not_verify(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    async with uploader_client(small_settings(s3_server.settings)) as (client, _):
        await create_whole(client, location)
        await client.publish_run(location)
    assert (await reconcile(store, location)).problems == ()
    key = location.manifest_key(1)
    manifest = await load_manifest(store, location)
    wrong = manifest.model_copy(update={"stored_frames": 31})
    await store.put(location.bucket, key, canonical_json(wrong))
    problems = (await reconcile(store, location)).problems
    assert [(item.where, item.detail) for item in problems] == [
        (key, "its stored_frames is 31, the indexes have 32")
    ]


async def test_a_damaged_run_is_listed_as_such_and_hides_no_other(
    s3_server: S3Server, store: ObjectStore, bucket: str
) -> None:
    async with uploader_client(small_settings(s3_server.settings)) as (client, _):
        for name in ("a", "b", "c"):
            run = RunLocation(bucket=bucket, prefix="runs", run=name)
            await client.create_run(run, spec=SPEC, plan=PLAN)
        broken = RunLocation(bucket=bucket, prefix="runs", run="b")
        await store.put(bucket, broken.plan_key(1), b"{}")
        await store.put(bucket, run.index_key(0), b"no Parquet", content_type="x/y")
        page = await client.list_runs(bucket, "runs")
    problems = {item.location.run: item.problem for item in page.runs}
    assert list(problems) == ["a", "b", "c"]
    assert problems["a"] == ""
    assert "plans/0001.json" in problems["b"]
    assert problems["c"]


async def test_what_a_dead_process_left_below_a_prefix_is_found_by_another(
    s3_server: S3Server, store: ObjectStore, bucket: str
) -> None:
    left = RunLocation(bucket=bucket, prefix="team/a", run="left")
    settings = small_settings(
        s3_server.settings, upload_ttl_s=0.001, sweep_prefixes=[f"{bucket}/team/a"]
    )
    async with uploader_client(settings) as (client, uploader):
        await client.create_run(left, spec=SPEC, plan=PLAN)
        key = left.shard_key(0)
        await store.create_multipart(bucket, key, metadata={}, content_type="x/y")
        await store.create_multipart(bucket, "team/a/Else/x", metadata={}, content_type="x/y")
        assert await uploader.periodic_sweep.due() == [left]

        async def gone() -> bool:
            await uploader.periodic_sweep.sweep_all([left])
            return [row.key async for row in store.list_uploads(bucket, "")] == ["team/a/Else/x"]

        await until(gone)


async def epochs_of(store: ObjectStore, location: RunLocation) -> list[str]:
    rows = [row.key async for row in store.list_keys(location.bucket, location.uploads_prefix)]
    keys = {row: location.parse(row) for row in rows}
    return [row for row, key in keys.items() if key is not None and key.kind is KeyKind.EPOCH]


async def test_epochs_of_a_dead_process_are_swept_by_one_that_never_had_a_shard_of_the_run(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    async with uploader_client(small_settings(s3_server.settings)) as (client, _):
        await create_whole(client, location)
    # Nobody has an upload of it open, so no listing of uploads finds it.
    assert len(await epochs_of(store, location)) == PLAN.shard_count
    settings = small_settings(
        s3_server.settings,
        stale_after_s=0.5,
        sweep_interval_s=0.1,
        sweep_prefixes=[f"{location.bucket}/{location.prefix}"],
    )
    async with uploader_client(settings):

        async def gone() -> bool:
            return await epochs_of(store, location) == []

        await until(gone)


async def test_who_has_published_a_run_or_found_young_epochs_sweeps_it_again_and_no_other(
    s3_server: S3Server, store: ObjectStore, location: RunLocation, bucket: str
) -> None:
    other = RunLocation(bucket=bucket, prefix="runs", run="other")
    async with uploader_client(small_settings(s3_server.settings)) as (client, _):
        await create_whole(client, location)
        await client.create_run(other, spec=SPEC, plan=PLAN)
        await send_shard(client, other, PLAN.shard(0), make=small)
    settings = small_settings(s3_server.settings, stale_after_s=600.0)
    async with uploader_client(settings) as (client, uploader):
        assert await uploader.periodic_sweep.due() == []
        await client.publish_run(location)
        assert await uploader.periodic_sweep.due() == [location]
        await uploader.periodic_sweep.look_for_epochs()
        assert await uploader.periodic_sweep.due() == [other, location]
    assert len(await epochs_of(store, location)) == PLAN.shard_count
    # An ended purge has taken the spec of one; S3's times have whole seconds.
    await store.delete_many(bucket, [other.spec_key])
    quick = small_settings(
        s3_server.settings, stale_after_s=0.001, sweep_prefixes=[f"{bucket}/runs"]
    )
    async with uploader_client(quick) as (_, uploader):

        async def gone() -> bool:
            await uploader.periodic_sweep.look_for_epochs()
            await uploader.periodic_sweep.sweep_all(await uploader.periodic_sweep.due())
            return [*await epochs_of(store, location), *await epochs_of(store, other)] == []

        await until(gone)


async def test_a_purged_run_leaves_nothing_and_its_name_is_free(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    async with uploader_client(small_settings(s3_server.settings)) as (client, _):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        await send_shard(client, location, PLAN.shard(0), make=small)
        await client.abort_run(location, reason="wrong seed")
        assert (await client.get_run(location)).summary.state is RunState.ABORTED
        assert (await client.get_run(location)).summary.committed_shards == 1
        with pytest.raises(PreconditionFailed, match="aborted"):
            await client.create_run(location, spec=SPEC, plan=PLAN)
        purged = await client.abort_run(location, purge=True)
        assert purged.deleted_objects >= 4
        assert [row.key async for row in store.list_keys(location.bucket, location.root)] == []
        with pytest.raises(NotFound):
            await client.abort_run(location)
        assert (await client.create_run(location, spec=SPEC, plan=PLAN)).created


async def test_the_sweep_removes_what_a_committed_shard_left_and_nothing_else(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    async with uploader_client(small_settings(s3_server.settings)) as (client, _):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        await send_shard(client, location, PLAN.shard(0), make=small)
        for shard in (0, 1):
            await store.create_multipart(
                location.bucket, location.shard_key(shard), metadata={}, content_type="x/y"
            )
    kept = Sweeper(store, upload_ttl_s=3600.0, stale_after_s=60.0)
    assert (await kept.sweep(location)).uploads == 1
    left = [item.key async for item in store.list_uploads(location.bucket, location.root)]
    assert left == [location.shard_key(1)]
    assert (await Sweeper(store, upload_ttl_s=-1.0, stale_after_s=-1.0).sweep(location)).epochs == 1
    left = [item.key async for item in store.list_uploads(location.bucket, location.root)]
    assert left == []
