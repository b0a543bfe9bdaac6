"""`simcloud sync`: a mirror has everything, once, and can be read like the source."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from simcloud.accounting.reconcile import reconcile
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.mirror import Done, Place, mirror_run
from simcloud.dataset.reader import Dataset
from simcloud.errors import InvalidRequest, NotFound
from simcloud.s3.copying import same_server
from simcloud.s3.faults import Fault, FaultKind, FaultPlan, plan_of, wrapping
from simcloud.s3.objects import ObjectStore, open_store
from simcloud.scene.bundle import Bundle, BundleFile
from simcloud.scene.mirror import mirror_scene
from simcloud.scene.store import load_listing, put_bundle
from simcloud.spec.plan import Plan
from simcloud_cli.context import Config, Context, save_config
from support.dataset_frames import SPEC
from support.s3_server import S3Server
from support.uploading import PLAN, frame_of, send_shard, small_settings, uploader_client


@pytest.fixture
async def source(s3_server: S3Server, bucket: str) -> RunLocation:
    """A published run of two shards, with a report."""
    location = RunLocation(bucket=bucket, prefix="from", run="run")
    async with uploader_client(small_settings(s3_server.settings)) as (client, _):
        await client.create_run(location, spec=SPEC, plan=PLAN)
        for shard in PLAN.shards():
            await send_shard(
                client,
                location,
                shard,
                make=lambda frame, camera: frame_of(frame, camera, layer_bytes=2000),
            )
        await client.publish_run(location)
    return location


@pytest.fixture
def destination(bucket: str) -> RunLocation:
    return RunLocation(bucket=bucket, prefix="to/there", run="run")


def paths(items: list[Any], done: Done) -> list[str]:
    return [item.path for item in items if item.done is done]


EVERYTHING = [
    "spec.json",
    "plans/0001.json",
    "shards/000000.tar",
    "shards/000001.tar",
    "index/000000.parquet",
    "index/000001.parquet",
    "manifests/0001.json",
]


async def test_a_mirror_is_whole_and_readable_and_again_costs_no_copy(
    store: ObjectStore, source: RunLocation, destination: RunLocation
) -> None:
    first = await mirror_run(Place(store, source), Place(store, destination))
    assert paths(first, Done.COPIED) == EVERYTHING
    again = await mirror_run(Place(store, source), Place(store, destination))
    assert paths(again, Done.PRESENT) == EVERYTHING
    report = await reconcile(store, destination, deep=True)
    assert report.complete_with_quarantine
    assert report.stored == 32
    dataset = await Dataset.open(store, destination)
    original = await Dataset.open(store, source)
    assert await dataset.frame(9, "left") == await original.frame(9, "left")


async def test_a_mirror_that_was_cut_short_has_no_manifest_and_is_gone_on_with(
    s3_server: S3Server, store: ObjectStore, source: RunLocation, destination: RunLocation
) -> None:
    plan = plan_of(
        Fault("complete_multipart_upload", key="*/000001.tar", code="AccessDenied", status=403),
        Fault("complete_multipart_upload", FaultKind.LOST_ANSWER, key="*/000000.tar"),
    )
    async with open_store(s3_server.settings, wrap=wrapping(plan)) as faulty:
        items = await mirror_run(Place(store, source), Place(faulty, destination))
    assert not plan.unspent()
    failed = paths(items, Done.FAILED)
    assert failed == ["shards/000001.tar", "index/000001.parquet"]
    assert await store.find(destination.bucket, destination.manifest_key(1)) is None
    assert [row async for row in store.list_uploads(destination.bucket, "")] == []
    items = await mirror_run(Place(store, source), Place(store, destination))
    assert paths(items, Done.COPIED) == [*failed, "manifests/0001.json"]


async def test_a_mirror_follows_a_run_that_is_still_written_and_one_that_grows(
    s3_server: S3Server, store: ObjectStore, bucket: str, destination: RunLocation
) -> None:
    source = RunLocation(bucket=bucket, prefix="growing", run="run")
    places = Place(store, source), Place(store, destination)
    grown = PLAN.model_copy(update={"frames": PLAN.frames + PLAN.frames_per_shard})

    def make(frame: int, camera: str) -> EncodedFrame:
        return frame_of(frame, camera, plan=grown, layer_bytes=2000)

    async with uploader_client(small_settings(s3_server.settings)) as (client, _):
        await client.create_run(source, spec=SPEC, plan=PLAN)
        first, second = PLAN.shards()
        await send_shard(client, source, first, make=make)
        await mirror_run(*places)
        with pytest.raises(NotFound):
            await Dataset.open(store, destination)
        await send_shard(client, source, second, make=make)
        await client.publish_run(source)
        items = await mirror_run(*places)
        assert paths(items, Done.COPIED) == [
            "shards/000001.tar",
            "index/000001.parquet",
            "manifests/0001.json",
        ]
        await client.create_run(source, spec=SPEC, plan=grown)
        await send_shard(client, source, grown.shard(2), make=make)
        await client.publish_run(source)
    items = await mirror_run(*places)
    assert paths(items, Done.COPIED) == [
        "plans/0002.json",
        "shards/000002.tar",
        "index/000002.parquet",
        "manifests/0002.json",
    ]
    assert (await Dataset.open(store, destination)).manifest.generation == 2
    assert (await reconcile(store, destination, deep=True)).complete_with_quarantine


async def test_within_one_server_tars_do_not_come_through_this_process(
    s3_server: S3Server, source: RunLocation, destination: RunLocation
) -> None:
    calls = FaultPlan()
    settings = s3_server.settings
    async with open_store(settings, wrap=wrapping(calls)) as counted:
        here, there = Place(counted, source, settings), Place(counted, destination, settings)
        items = await mirror_run(here, there)
        assert paths(items, Done.COPIED) == EVERYTHING
        assert [item.path for item in items if item.by_server] == EVERYTHING[2:4]
        assert (calls.count("upload_part_copy"), calls.count("upload_part")) == (2, 0)
        assert (await reconcile(counted, destination, deep=True)).complete_with_quarantine


async def test_a_large_tar_is_copied_in_ranges_and_checked_as_a_whole(
    store: ObjectStore, bucket: str, s3_server: S3Server
) -> None:
    location = RunLocation(bucket=bucket, prefix="large", run="run")
    plan = Plan(frames=3, frames_per_shard=3)
    async with uploader_client(small_settings(s3_server.settings)) as (client, _):
        await client.create_run(location, spec=SPEC, plan=plan)
        large = partial(frame_of, plan=plan)
        committed = await send_shard(client, location, plan.shard(0), make=large)
        await client.publish_run(location)
    assert committed.size_bytes > 5 << 20
    settings = s3_server.settings
    copy = RunLocation(bucket=bucket, prefix="copy", run="run")
    here, there = Place(store, location, settings), Place(store, copy, settings)
    items = await mirror_run(here, there, copy_part_bytes=5 << 20)
    assert paths(items, Done.FAILED) == []
    assert [item.by_server for item in items if item.kind == "shard"] == [True]
    info = await store.head(bucket, copy.shard_key(0))
    assert (info.size_bytes, info.crc64nvme) == (committed.size_bytes, committed.crc64nvme)
    assert info.etag.endswith(f'-{-(-committed.size_bytes // (5 << 20))}"')


async def test_a_server_that_does_not_copy_gets_the_bytes(
    s3_server: S3Server, store: ObjectStore, source: RunLocation, destination: RunLocation
) -> None:
    plan = plan_of(Fault("upload_part_copy", code="NotImplemented", status=501, times=9))
    settings = s3_server.settings
    async with open_store(settings, wrap=wrapping(plan)) as faulty:
        items = await mirror_run(
            Place(store, source, settings), Place(faulty, destination, settings)
        )
    assert paths(items, Done.COPIED) == EVERYTHING
    assert not any(item.by_server for item in items)
    # asked once a shard at most, of those begun before it was known
    assert plan.count("upload_part_copy") <= 2
    assert (await reconcile(store, destination, deep=True)).complete_with_quarantine


def test_one_server_is_one_endpoint_and_one_identity(s3_server: S3Server) -> None:
    one = s3_server.settings
    assert same_server(one, one.model_copy(update={"region": "eu-west-1"}))
    assert not same_server(one, one.model_copy(update={"access_key_id": "another"}))
    assert not same_server(one, one.model_copy(update={"endpoint_url": "http://127.0.0.1:1"}))


async def test_the_scene_of_a_run_goes_with_it_and_its_list_comes_last(
    s3_server: S3Server, store: ObjectStore, bucket: str, tmp_path: Path
) -> None:
    stage = b"#usda 1.0\n"
    (tmp_path / "stage.usda").write_bytes(stage)
    file = BundleFile("stage.usda", sha256=hashlib.sha256(stage).hexdigest(), size_bytes=len(stage))
    bundle = Bundle(root=tmp_path, stage="stage.usda", files=(file,))
    await put_bundle(store, bundle, bucket=bucket, prefix="from")
    scene = SPEC.scene.model_copy(update={"digest": bundle.digest})
    source = RunLocation(bucket=bucket, prefix="from", run="run")
    destination = RunLocation(bucket=bucket, prefix="to", run="run")
    async with uploader_client(small_settings(s3_server.settings)) as (client, _):
        await client.create_run(source, spec=SPEC.model_copy(update={"scene": scene}), plan=PLAN)
    here, there = Place(store, source), Place(store, destination)
    planned = await mirror_scene(here, there, dry_run=True)
    assert paths(planned, Done.PLANNED)[-1].endswith("/bundle.json")
    plan = plan_of(Fault("put_object", key="*.usda", code="AccessDenied", status=403))
    async with open_store(s3_server.settings, wrap=wrapping(plan)) as faulty:
        cut = await mirror_scene(here, Place(faulty, destination))
    assert [item.done for item in cut] == [Done.FAILED]
    copied = await mirror_scene(here, there)
    assert paths(copied, Done.COPIED) == paths(planned, Done.PLANNED)
    again = await mirror_scene(here, there)
    assert paths(again, Done.PRESENT) == paths(planned, Done.PLANNED)
    listed = await load_listing(store, bucket=bucket, prefix="to", digest=bundle.digest)
    assert listed == (bundle.stage, bundle.files)
    await store.delete_many(bucket, [f"from/scenes/{bundle.digest}/bundle.json"])
    gone = await mirror_scene(here, there)
    assert [(item.done, "is not in" in item.problem) for item in gone] == [(Done.FAILED, True)]


async def test_what_is_in_the_way_is_named_and_left_as_it_is(
    store: ObjectStore, source: RunLocation, destination: RunLocation
) -> None:
    await store.put(destination.bucket, destination.shard_key(0), b"somebody's")
    items = await mirror_run(Place(store, source), Place(store, destination))
    problems = {item.path: item.problem for item in items if item.done is Done.FAILED}
    assert "is not the source's" in problems["shards/000000.tar"]
    body = await store.get(destination.bucket, destination.shard_key(0))
    assert body.data == b"somebody's"


async def test_where_not_even_the_spec_can_be_written_nothing_else_is_tried(
    store: ObjectStore, source: RunLocation
) -> None:
    nowhere = RunLocation(bucket="there-is-no-such-bucket", prefix="", run="run")
    (item,) = await mirror_run(Place(store, source), Place(store, nowhere))
    assert (item.path, item.done) == ("spec.json", Done.FAILED)
    assert "create it" in item.problem


async def test_places_that_can_not_be_mirrored_are_refused(
    store: ObjectStore, source: RunLocation, destination: RunLocation
) -> None:
    other = RunLocation(bucket=source.bucket, prefix="x", run="other")
    with pytest.raises(InvalidRequest, match="keeps its run's name"):
        await mirror_run(Place(store, source), Place(store, other))
    with pytest.raises(InvalidRequest, match="the source itself"):
        await mirror_run(Place(store, source), Place(store, source))
    absent = RunLocation(bucket=source.bucket, prefix="absent", run="run")
    with pytest.raises(NotFound):
        await mirror_run(Place(store, absent), Place(store, destination))


def simcloud(folder: Path, *arguments: str) -> tuple[int, Any]:
    result = subprocess.run(
        [sys.executable, "-m", "simcloud_cli", *arguments, "--json"],
        env={**os.environ, "SIMCLOUD_CONFIG": str(folder / "config.yaml")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    return result.returncode, json.loads(result.stdout)


async def test_the_command_says_what_it_would_do_does_it_and_counts(
    s3_server: S3Server, source: RunLocation, tmp_path: Path
) -> None:
    context = Context(s3=s3_server.settings, bucket=source.bucket)
    config = Config(current="a", contexts={"a": context, "b": context})
    save_config(config, tmp_path / "config.yaml")
    to = f"s3://{source.bucket}/mirror/"
    code, planned = simcloud(tmp_path, "sync", source.uri, to, "--dry-run", "--dst-context", "b")
    assert (code, planned["planned"], planned["copied"]) == (0, 7, 0)
    code, done = simcloud(tmp_path, "sync", source.uri, to, "--dst-context", "b")
    assert (code, done["copied"], done["failed"], done["problems"]) == (0, 7, 0, [])
    assert done["copied_by_server"] == 2
    assert 0 < done["bytes_by_server"] < done["copied_bytes"]
    assert done["dst"] == f"s3://{source.bucket}/mirror/run"
    code, counted = simcloud(tmp_path, "verify", f"{to}run")
    assert code == 0
    assert counted["stored"] == 32
