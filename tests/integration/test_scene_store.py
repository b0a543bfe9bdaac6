"""Scenes in S3 by content, and the cache of them that processes share."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simcloud.dataset.layout import scene_root
from simcloud.errors import Corruption, InvalidRequest, NotFound, Overloaded, PreconditionFailed
from simcloud.s3.faults import Fault, FaultKind, plan_of, wrapping
from simcloud.s3.objects import ObjectStore, open_store
from simcloud.s3.retrying import RetryPolicy
from simcloud.scene.bundle import Bundle, BundleFile, bundle_digest
from simcloud.scene.store import SceneStore, load_listing, put_bundle
from support.s3_server import S3Server

PREFIX = "team"


def bundle_of(folder: Path, files: dict[str, bytes]) -> Bundle:
    """A bundle of these files; no stage is opened."""
    rows = []
    for path, data in sorted(files.items()):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
        rows.append(
            BundleFile(path=path, sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
        )
    return Bundle(root=folder, stage="stage.usda", files=tuple(rows))


def scene(folder: Path, number: int) -> Bundle:
    """A scene of 1000 bytes."""
    return bundle_of(
        folder / f"scene{number}",
        {"stage.usda": b"#usda 1.0\n" + bytes([number]) * 490, "textures/a.png": bytes(500)},
    )


@pytest.fixture
async def scenes(store: ObjectStore, bucket: str, tmp_path: Path) -> AsyncIterator[SceneStore]:
    opened = SceneStore(store, cache=tmp_path / "cache", limit_bytes=2500)
    yield opened
    opened.close()


async def test_a_scene_is_put_once_and_fetched_whole(
    store: ObjectStore, bucket: str, scenes: SceneStore, tmp_path: Path
) -> None:
    bundle = scene(tmp_path, 1)
    assert await put_bundle(store, bundle, bucket=bucket, prefix=PREFIX)
    assert not await put_bundle(store, bundle, bucket=bucket, prefix=PREFIX)
    folder = await scenes.fetch(bucket=bucket, prefix=PREFIX, digest=bundle.digest)
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert found == {file.path: (bundle.root / file.path).read_bytes() for file in bundle.files}
    stage, files = await load_listing(store, bucket=bucket, prefix=PREFIX, digest=bundle.digest)
    assert (stage, files) == ("stage.usda", bundle.files)


async def test_a_scene_without_its_list_is_not_there(
    s3_server: S3Server, store: ObjectStore, bucket: str, scenes: SceneStore, tmp_path: Path
) -> None:
    bundle = scene(tmp_path, 1)
    plan = plan_of(Fault("put_object", FaultKind.REFUSED, key="*bundle.json"))
    once = RetryPolicy(attempts=1)
    async with open_store(s3_server.settings, retry=once, wrap=wrapping(plan)) as broken:
        with pytest.raises(Exception, match="SlowDown"):
            await put_bundle(broken, bundle, bucket=bucket, prefix=PREFIX)
    with pytest.raises(NotFound, match="`simcloud run` puts it there"):
        await scenes.fetch(bucket=bucket, prefix=PREFIX, digest=bundle.digest)
    assert await put_bundle(store, bundle, bucket=bucket, prefix=PREFIX)
    await scenes.fetch(bucket=bucket, prefix=PREFIX, digest=bundle.digest)


async def test_what_is_cached_is_not_fetched_again(
    s3_server: S3Server, store: ObjectStore, bucket: str, tmp_path: Path
) -> None:
    bundle = scene(tmp_path, 1)
    await put_bundle(store, bundle, bucket=bucket, prefix=PREFIX)
    plan = plan_of()
    async with open_store(s3_server.settings, wrap=wrapping(plan)) as counted:
        scenes = SceneStore(counted, cache=tmp_path / "cache", limit_bytes=5000)
        first = await scenes.fetch(bucket=bucket, prefix=PREFIX, digest=bundle.digest)
        calls = len(plan.calls)
        assert await scenes.fetch(bucket=bucket, prefix=PREFIX, digest=bundle.digest) == first
        assert len(plan.calls) == calls == 3
        scenes.close()


async def test_damaged_files_and_lists_are_refused_and_leave_nothing(
    store: ObjectStore, bucket: str, scenes: SceneStore, tmp_path: Path
) -> None:
    bundle = scene(tmp_path, 1)
    await put_bundle(store, bundle, bucket=bucket, prefix=PREFIX)
    root = scene_root(PREFIX, bundle.digest)
    await store.put(bucket, root + "files/stage.usda", b"another")
    with pytest.raises(Corruption, match=r"stage\.usda is not what its list says"):
        await scenes.fetch(bucket=bucket, prefix=PREFIX, digest=bundle.digest)
    await store.put(bucket, root + "bundle.json", b'{"version":"simcloud.scene/v1"}')
    with pytest.raises(Corruption, match="not the list of a scene"):
        await scenes.fetch(bucket=bucket, prefix=PREFIX, digest=bundle.digest)
    left = [path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()]
    assert left == []


async def test_a_list_can_not_lead_out_of_the_cache(
    store: ObjectStore, bucket: str, scenes: SceneStore, tmp_path: Path
) -> None:
    files = [{"path": "../evil", "sha256": "0" * 64, "size_bytes": 1}]
    digest = bundle_digest([("../evil", "0" * 64)])
    listing = {"version": "simcloud.scene/v1", "stage": "stage.usda", "files": files}
    key = scene_root(PREFIX, digest) + "bundle.json"
    await store.put(bucket, key, json.dumps(listing).encode())
    with pytest.raises(Corruption, match="leads out of the scene"):
        await scenes.fetch(bucket=bucket, prefix=PREFIX, digest=digest)
    with pytest.raises(InvalidRequest, match="64 hex digits"):
        await scenes.fetch(bucket=bucket, prefix=PREFIX, digest="../../etc")


async def test_the_scene_not_used_for_longest_is_evicted(
    store: ObjectStore, bucket: str, scenes: SceneStore, tmp_path: Path
) -> None:
    bundles = [scene(tmp_path, number) for number in range(3)]
    for bundle in bundles:
        await put_bundle(store, bundle, bucket=bucket, prefix=PREFIX)
    for bundle in bundles:
        await scenes.fetch(bucket=bucket, prefix=PREFIX, digest=bundle.digest)
    cached = {path.name for path in (tmp_path / "cache").iterdir() if path.is_dir()}
    assert cached == {bundles[1].digest, bundles[2].digest}


async def test_a_scene_that_another_process_uses_is_not_evicted(
    store: ObjectStore, bucket: str, tmp_path: Path
) -> None:
    bundles = [scene(tmp_path, number) for number in range(2)]
    for bundle in bundles:
        await put_bundle(store, bundle, bucket=bucket, prefix=PREFIX)
    cache = tmp_path / "cache"
    first = SceneStore(store, cache=cache, limit_bytes=1500)
    folder = await first.fetch(bucket=bucket, prefix=PREFIX, digest=bundles[0].digest)
    first.close()
    holder = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import fcntl,sys\n"
        "lock = open(sys.argv[1], 'a')\n"
        "fcntl.flock(lock, fcntl.LOCK_SH)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()",
        f"{folder}.lock",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    second = SceneStore(store, cache=cache, limit_bytes=1500)
    try:
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"held\n"
        with pytest.raises(Overloaded, match="1000 of 1500 bytes are in use"):
            await second.fetch(bucket=bucket, prefix=PREFIX, digest=bundles[1].digest)
        assert folder.is_dir()
    finally:
        holder.kill()
        await holder.communicate()
    await second.fetch(bucket=bucket, prefix=PREFIX, digest=bundles[1].digest)
    assert not folder.exists()
    second.close()


async def test_a_scene_larger_than_the_cache_says_so(
    store: ObjectStore, bucket: str, tmp_path: Path
) -> None:
    bundle = scene(tmp_path, 1)
    await put_bundle(store, bundle, bucket=bucket, prefix=PREFIX)
    scenes = SceneStore(store, cache=tmp_path / "cache", limit_bytes=999)
    with pytest.raises(PreconditionFailed, match="has 1000 bytes, the scene cache takes 999"):
        await scenes.fetch(bucket=bucket, prefix=PREFIX, digest=bundle.digest)
    scenes.close()


async def test_two_that_fetch_at_once_both_get_it(
    store: ObjectStore, bucket: str, tmp_path: Path
) -> None:
    bundle = scene(tmp_path, 1)
    await put_bundle(store, bundle, bucket=bucket, prefix=PREFIX)
    stores = [SceneStore(store, cache=tmp_path / "cache", limit_bytes=5000) for _ in range(2)]
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(each.fetch(bucket=bucket, prefix=PREFIX, digest=bundle.digest))
            for each in stores
        ]
    assert {task.result() for task in tasks} == {tmp_path / "cache" / bundle.digest}
    assert (tasks[0].result() / "stage.usda").is_file()
    for each in stores:
        each.close()


async def test_downloads_that_a_killed_process_left_are_swept_after_a_day(
    store: ObjectStore, bucket: str, scenes: SceneStore, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    old, new = cache / "partial-old", cache / "partial-new"
    for folder in (old, new):
        folder.mkdir(parents=True)
        (folder / "stage.usda").write_bytes(bytes(100))
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))
    bundle = scene(tmp_path, 1)
    await put_bundle(store, bundle, bucket=bucket, prefix=PREFIX)
    await scenes.fetch(bucket=bucket, prefix=PREFIX, digest=bundle.digest)
    assert (old.exists(), new.exists()) == (False, True)


async def test_a_store_holds_as_many_scenes_as_it_is_told(
    store: ObjectStore, bucket: str, tmp_path: Path
) -> None:
    first, second = (
        SceneStore(store, cache=tmp_path / "cache", limit_bytes=3500, held=held) for held in (3, 1)
    )
    bundles = [scene(tmp_path, number) for number in range(4)]
    for bundle in bundles:
        await put_bundle(store, bundle, bucket=bucket, prefix=PREFIX)
    for bundle in bundles[:3]:
        await first.fetch(bucket=bucket, prefix=PREFIX, digest=bundle.digest)
    with pytest.raises(Overloaded, match="is full"):
        await second.fetch(bucket=bucket, prefix=PREFIX, digest=bundles[3].digest)
    first.close()
    await second.fetch(bucket=bucket, prefix=PREFIX, digest=bundles[3].digest)
    second.close()


async def test_a_file_that_changed_since_it_was_bundled_is_not_put(
    store: ObjectStore, bucket: str, tmp_path: Path
) -> None:
    bundle = scene(tmp_path, 1)
    (bundle.root / "stage.usda").write_bytes(b"edited")
    with pytest.raises(Corruption, match="changed while it was being stored"):
        await put_bundle(store, bundle, bucket=bucket, prefix=PREFIX)
    assert await store.find(bucket, scene_root(PREFIX, bundle.digest) + "bundle.json") is None
