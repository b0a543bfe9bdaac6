"""Looking at runs again and again costs what is new in them, and is never wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from simcloud.client.uploader import RunState
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.record import Quarantine
from simcloud.s3.faults import FaultPlan, wrapping
from simcloud.s3.objects import ObjectStore
from simcloud.spec.plan import Plan
from support.dataset_frames import SPEC, make_frame, put_shard
from support.s3_server import S3Server
from support.uploading import send_shard, small_settings, uploader_client

PLAN = Plan(frames=6, frames_per_shard=1)


def make(frame: int, camera: str) -> EncodedFrame:
    broken = Quarantine(rule="tight_box", detail="expected, found") if frame == 1 else None
    return make_frame(frame, camera, plan=PLAN, quarantine=broken)


def requests_of(plan: FaultPlan) -> dict[str, int]:
    """Requests since the last question, by operation."""
    counted = Counter(operation for operation, _ in plan.calls)
    plan.calls.clear()
    return dict(counted)


async def test_following_a_run_costs_its_new_shards_and_not_those_looked_at_before(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    calls = FaultPlan()
    settings = small_settings(s3_server.settings)
    async with uploader_client(settings, wrap=wrapping(calls)) as (client, _):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        for shard in (0, 1, 2):
            await put_shard(store, location, PLAN.shard(shard), make=make)
        calls.calls.clear()
        first = (await client.get_run(location)).summary
        # spec, plan, three footers, and the index with quarantined frames
        assert requests_of(calls) == {"list_objects_v2": 2, "head_object": 2, "get_object": 6}
        assert (await client.get_run(location)).summary == first
        assert requests_of(calls) == {"list_objects_v2": 2, "head_object": 2}
        await put_shard(store, location, PLAN.shard(3), make=make)
        followed = (await client.get_run(location)).summary
        assert requests_of(calls) == {"list_objects_v2": 2, "head_object": 2, "get_object": 1}
        assert (first.committed_shards, followed.committed_shards) == (3, 4)
        assert followed.quarantined_by_rule == {"tight_box": 2}
        for shard in (4, 5):
            await put_shard(store, location, PLAN.shard(shard), make=make)
        published = await client.publish_run(location)
        calls.calls.clear()
        assert (await client.get_run(location)).summary == published.summary
        assert published.summary.state is RunState.PUBLISHED
        assert requests_of(calls) == {"list_objects_v2": 1, "head_object": 2}
        page = await client.list_runs(location.bucket, location.prefix)
        assert page.runs == (replace(published.summary, quarantined_by_rule={}),)
        # one of the listings is that of the runs
        assert requests_of(calls) == {"list_objects_v2": 2, "head_object": 2}


async def test_opening_a_shard_reads_no_document_again_and_writes_none_that_is_there(
    s3_server: S3Server, location: RunLocation
) -> None:
    calls = FaultPlan()
    settings = small_settings(s3_server.settings)
    async with uploader_client(settings, wrap=wrapping(calls)) as (client, _):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        await send_shard(client, location, PLAN.shard(0), make=make)
        calls.calls.clear()
        await send_shard(client, location, PLAN.shard(2), make=make)
    read = [key for operation, key in calls.calls if operation == "get_object"]
    written = [key for operation, key in calls.calls if operation == "put_object"]
    assert read == [location.index_key(2), location.fingerprint_key]
    assert written == [location.epoch_key(2, 1), location.index_key(2)]


async def test_what_was_purged_and_made_anew_is_looked_at_anew(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    other = SPEC.model_copy(update={"seed": 7})
    async with uploader_client(small_settings(s3_server.settings)) as (client, _):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        await put_shard(store, location, PLAN.shard(0), make=make)
        assert (await client.get_run(location)).summary.stored_frames == 2
        await client.abort_run(location, purge=True)
        await client.create_run(location, spec=other, plan=PLAN)
        run = await client.get_run(location)
        assert run.spec == other
        assert (run.summary.stored_frames, run.summary.state) == (0, RunState.OPEN)


async def test_without_memory_for_facts_the_answers_are_the_same(
    s3_server: S3Server, store: ObjectStore, location: RunLocation
) -> None:
    settings = small_settings(s3_server.settings, facts_bytes=0)
    async with (
        uploader_client(settings) as (forgetful, _),
        uploader_client(small_settings(s3_server.settings)) as (client, _),
    ):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        for shard in PLAN.shards():
            await put_shard(store, location, shard, make=make)
            summary = (await client.get_run(location)).summary
            assert summary == (await forgetful.get_run(location)).summary
            assert summary.committed_shards == shard.shard + 1
