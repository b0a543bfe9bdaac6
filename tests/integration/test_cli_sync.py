"""`simcloud sync`: a mirror has everything, once, and can be read like the source."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from simcloud.accounting.reconcile import reconcile
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.mirror import Done, Place, mirror_run
from simcloud.dataset.reader import Dataset
from simcloud.errors import InvalidRequest, NotFound
from simcloud.s3.faults import Fault, FaultKind, plan_of, wrapping
from simcloud.s3.objects import ObjectStore, open_store
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


async def test_what_is_in_the_way_is_named_and_left_as_it_is(
    store: ObjectStore, source: RunLocation, destination: RunLocation
) -> None:
    await store.put(destination.bucket, destination.shard_key(0), b"somebody's")
    items = await mirror_run(Place(store, source), Place(store, destination))
    problems = {item.path: item.problem for item in items if item.done is Done.FAILED}
    assert "is not the source's" in problems["shards/000000.tar"]
    body = await store.get(destination.bucket, destination.shard_key(0))
    assert body.data == b"somebody's"


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
    assert done["dst"] == f"s3://{source.bucket}/mirror/run"
    code, counted = simcloud(tmp_path, "verify", f"{to}run")
    assert code == 0
    assert counted["stored"] == 32
