"""`simcloud import` from the outside, and the importer against a real uploader that dies."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simcloud.accounting.reconcile import reconcile
from simcloud.client.events import RunOpened
from simcloud.client.uploader import UploaderClient
from simcloud.dataset.encode import Array
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.reader import Dataset
from simcloud.errors import AlreadyExists, InvalidRequest, PreconditionFailed
from simcloud.importing.scan import Scanned, ScanOptions, scan
from simcloud.importing.sources import BucketSource, LocalSource
from simcloud.importing.store import Importer, ImportRequest, ImportStored
from simcloud.importing.types import Content, ImportLimits, SourceFrame
from simcloud.rpc.channel import connect
from simcloud.s3.objects import ObjectStore
from simcloud.scoring.labels import read_labels
from simcloud_cli.context import Config, Context, save_config
from simcloud_cli.exit_codes import ExitCode
from support import foreign_sets
from support.eventually import eventually
from support.s3_server import S3Server
from support.uploader_process import UploaderProcess, uploader_process
from support.uploading import small_settings, uploader_client

LIMITS = ImportLimits()


async def scanned(folder: Path, **options: Any) -> Scanned:
    return await scan(LocalSource(folder, LIMITS), ScanOptions(**options), limits=LIMITS)


async def stored(
    uploader: UploaderClient, location: RunLocation, found: Scanned, **changes: Any
) -> list[object]:
    changed = {"frames_per_shard": 2, "others_poll_s": 0.2, **changes}
    request = ImportRequest(location=location, scanned=found, **changed)
    return [event async for event in Importer(uploader, request).store()]


def simcloud(folder: Path, *arguments: str) -> tuple[int, Any, str]:
    """Exit code, JSON answer and standard error of a command."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SIMCLOUD_")}
    result = subprocess.run(
        [sys.executable, "-m", "simcloud_cli", *arguments, "--json"],
        cwd=folder,
        env={**kept, "SIMCLOUD_CONFIG": str(folder / "config.yaml")},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    answer = json.loads(result.stdout) if result.stdout.strip() else None
    return result.returncode, answer, result.stderr


def configure(folder: Path, uploader: UploaderProcess, s3: S3Server, bucket: str) -> None:
    """A context of an uploader and an S3 that run already."""
    context = Context(uploader=uploader.address, s3=s3.settings, bucket=bucket)
    save_config(Config(current="test", contexts={"test": context}), folder / "config.yaml")


@pytest.mark.timeout(300)
async def test_a_folder_becomes_a_run_that_verifies_and_again_sends_nothing(
    s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    foreign_sets.coco(tmp_path / "photos")
    foreign_sets.coco(tmp_path / "broken")
    broken = tmp_path / "broken" / "train2017" / "000000000001.jpg"
    broken.write_bytes(broken.read_bytes()[:200])
    with uploader_process(tmp_path, s3_server) as process:
        await process.start()
        configure(tmp_path, process, s3_server, bucket)
        bad = ("import", "broken", "--run", "broken")
        code, answer, _ = await asyncio.to_thread(simcloud, tmp_path, *bad)
        assert code == ExitCode.USAGE
        assert "000000000001.jpg: the jpeg file is cut off" in answer["error"]["message"]

        command = ("import", "photos", "--run", "photos", "--frames-per-shard", "4")
        code, answer, errors = await asyncio.to_thread(simcloud, tmp_path, *command)
        assert code == ExitCode.COMPLETE, errors
        assert "format: coco" in errors
        assert answer["splits"] == {"train": 4, "val": 2}
        assert answer["frames_sent"] == 6
        assert answer["accounting"]["ok"]

        code, again, errors = await asyncio.to_thread(simcloud, tmp_path, *command)
        assert code == ExitCode.COMPLETE, errors
        assert (again["frames_sent"], again["spec_digest"]) == (0, answer["spec_digest"])

        listed = ("runs", "list")
        code, runs, errors = await asyncio.to_thread(simcloud, tmp_path, *listed)
        assert code == ExitCode.COMPLETE, errors
        assert "broken" not in json.dumps(runs)


async def test_index_rows_and_layers_are_what_was_put_in(
    store: ObjectStore, s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    originals = foreign_sets.coco(tmp_path)
    location = RunLocation(bucket=bucket, prefix="real", run="photos")
    found = await scanned(tmp_path)
    async with uploader_client(small_settings(s3_server.settings)) as (uploader, _):
        events = await stored(uploader, location, found)
    assert isinstance(events[-1], ImportStored)
    assert (await reconcile(store, location, deep=True)).ok

    dataset = await Dataset.open(store, location)
    table = (await dataset.rows(0)).to_pylist()
    assert [row["split"] for row in table] == ["train", "train"]
    assert [row["params.source.name"] for row in table] == sorted(originals)[:2]
    assert [(row["width"], row["height"]) for row in table] == [(32, 24), (33, 24)]
    assert table[0]["fx_px"] is None
    assert table[0]["cam2world"] is None
    assert [item["ignored"] for item in table[0]["objects"]] == [False, True]
    assert table[0]["objects"][0]["occlusion"] is None
    for index, name in enumerate(sorted(originals)):
        frame = await dataset.frame(index, "picture")
        assert frame.layers[0].data == originals[name]
    labels = await read_labels(dataset, dataset.shards[0])
    assert [item.label for item in labels.frames[0].objects] == ["person", "dog"]


async def test_masks_of_a_bucket_prefix_are_imported_too(
    store: ObjectStore, s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    foreign_sets.masks(tmp_path)
    for name in ("train/10000", "train/10001", "test/20000"):
        for tail in (".png", "_GT.png"):
            data = (tmp_path / f"{name}{tail}").read_bytes()
            await store.put(bucket, f"raw/ksdd2/{name}{tail}", data, content_type="image/png")
    source = BucketSource(store, bucket, "raw/ksdd2", limits=LIMITS)
    found = await scan(source, ScanOptions(), limits=LIMITS)
    assert found.digest == (await scanned(tmp_path)).digest
    location = RunLocation(bucket=bucket, prefix="", run="ksdd2")
    async with uploader_client(small_settings(s3_server.settings)) as (uploader, _):
        await stored(uploader, location, found)
    dataset = await Dataset.open(store, location)
    record = await dataset.record(2, "picture")
    assert record.split == "test"
    assert len(record.objects) == 2


async def test_another_source_under_the_name_is_refused_with_what_differs(
    s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    foreign_sets.classes(tmp_path)
    location = RunLocation(bucket=bucket, prefix="", run="taken")
    async with uploader_client(small_settings(s3_server.settings)) as (uploader, _):
        await stored(uploader, location, await scanned(tmp_path))
        with pytest.raises(PreconditionFailed, match="splits can't change"):
            await stored(uploader, location, await scanned(tmp_path, split="hash"))
        foreign_sets.save(tmp_path / "train/cat/a.png", foreign_sets.pixels(8))
        with pytest.raises(AlreadyExists, match=r"scene\.digest"):
            await stored(uploader, location, await scanned(tmp_path))


async def test_a_file_that_changes_under_way_stops_the_import(
    s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    foreign_sets.classes(tmp_path)
    found = await scanned(tmp_path)
    foreign_sets.save(tmp_path / "train/dog/b.bmp", foreign_sets.pixels(8))
    location = RunLocation(bucket=bucket, prefix="", run="changing")
    async with uploader_client(small_settings(s3_server.settings)) as (uploader, _):
        with pytest.raises(InvalidRequest, match=r"b\.bmp: has changed"):
            await stored(uploader, location, found)


def noisy(folder: Path, count: int) -> None:
    """Pictures of 1.5 MB each, so that a shard has several durable parts."""
    rng = np.random.default_rng(1)
    for number in range(count):
        shown = rng.integers(0, 256, (700, 720, 3), dtype=np.uint8)
        foreign_sets.save(folder / "noise" / f"{number:02d}.png", shown)


class Gated(Content):
    """Reads what another does, until a frame at which it waits for good."""

    def __init__(self, inner: Content, stop_at: str) -> None:
        super().__init__(LocalSource(Path("/"), LIMITS), LIMITS)
        self._inner, self._stop_at = inner, stop_at

    async def rgb(self, frame: SourceFrame) -> bytes | Array:
        if frame.key == self._stop_at:
            await asyncio.Event().wait()
        return await self._inner.rgb(frame)


@pytest.mark.timeout(300)
async def test_after_a_kill_the_import_goes_on_where_it_was_durable(
    store: ObjectStore, s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    noisy(tmp_path / "photos", 8)
    location = RunLocation(bucket=bucket, prefix="", run="killed")
    found = await scanned(tmp_path / "photos")
    gated = Gated(found.labels.content, "noise/06.png")
    held = replace(found, labels=replace(found.labels, content=gated))

    async def durable() -> bool:
        key = location.epoch_key(0, 1)
        if await store.find(bucket, key) is None:
            return False
        epoch = await store.get_json(bucket, key)
        return isinstance(epoch, dict) and epoch["next_frame"] > 0

    with uploader_process(tmp_path, s3_server) as process:
        await process.start()
        async with connect(process.address) as channel, asyncio.TaskGroup() as tasks:
            uploader = UploaderClient(channel)
            first = tasks.create_task(stored(uploader, location, held, frames_per_shard=8))
            await eventually(durable, within_s=60, what="a part of the shard is durable")
            process.send_signal(signal.SIGKILL)
            first.cancel()
        await process.start()
        async with connect(process.address) as channel:
            again = await scanned(tmp_path / "photos")
            events = await stored(UploaderClient(channel), location, again, frames_per_shard=8)
    (opened,) = [event for event in events if isinstance(event, RunOpened)]
    assert not opened.created
    last = events[-1]
    assert isinstance(last, ImportStored)
    assert 0 < last.frames_sent < 8
    assert (await reconcile(store, location, deep=True)).ok
