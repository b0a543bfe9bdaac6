"""Fetches of a scene that are cancelled: what is in the cache is whole, what was held is let go."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from simcloud.s3.objects import ObjectStore
from simcloud.scene import store as scene_store
from simcloud.scene.bundle import Bundle, BundleFile
from simcloud.scene.store import SceneStore, put_bundle
from support.eventually import eventually

P = ParamSpec("P")
T = TypeVar("T")
STAGE = b"#usda 1.0\n"


@pytest.fixture
async def bundle(store: ObjectStore, bucket: str, tmp_path: Path) -> Bundle:
    """A scene of one file, in S3."""
    (tmp_path / "stage.usda").write_bytes(STAGE)
    file = BundleFile(
        path="stage.usda", sha256=hashlib.sha256(STAGE).hexdigest(), size_bytes=len(STAGE)
    )
    bundle = Bundle(root=tmp_path, stage="stage.usda", files=(file,))
    await put_bundle(store, bundle, bucket=bucket, prefix="")
    return bundle


class _Counted(ThreadPoolExecutor):
    """Counts what it was given to do."""

    given = 0

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        self.given += 1
        return super().submit(fn, *args, **kwargs)


async def test_a_download_cancelled_while_it_gets_its_name_is_cleaned_up_after_it_alone(
    store: ObjectStore, bucket: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = _Counted()
    asyncio.get_running_loop().set_default_executor(threads)
    renaming, may_rename = threading.Event(), threading.Event()
    real = scene_store._rename

    def held_up(partial: Path, folder: Path) -> None:
        renaming.set()
        may_rename.wait()
        real(partial, folder)

    monkeypatch.setattr(scene_store, "_rename", held_up)
    scenes = SceneStore(store, cache=tmp_path / "cache", limit_bytes=1000)
    fetch = asyncio.ensure_future(scenes.fetch(bucket=bucket, prefix="", digest=bundle.digest))
    await eventually(renaming.is_set)
    given = threads.given
    try:
        for _ in range(2):
            fetch.cancel()
            for _ in range(5):
                await asyncio.sleep(0)
        # A removal that began now would go on below the new name.
        assert threads.given == given
    finally:
        may_rename.set()
    with pytest.raises(asyncio.CancelledError):
        await fetch
    folder = await scenes.fetch(bucket=bucket, prefix="", digest=bundle.digest)
    assert (folder / "stage.usda").read_bytes() == STAGE
    scenes.close()


async def test_a_fetch_after_a_cancelled_one_holds_the_scene_once(
    store: ObjectStore, bucket: str, bundle: Bundle, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    scenes = SceneStore(store, cache=cache, limit_bytes=1000)
    lock = cache / f"{bundle.digest}.lock"

    def open_locks() -> int:
        return sum(
            os.path.realpath(handle) == str(lock) for handle in Path("/proc/self/fd").iterdir()
        )

    with lock.open("w") as eviction:
        fcntl.flock(eviction, fcntl.LOCK_EX)
        fetches = []
        for count in (1, 2):
            fetches.append(
                asyncio.ensure_future(scenes.fetch(bucket=bucket, prefix="", digest=bundle.digest))
            )
            await eventually(lambda count=count: open_locks() == 1 + count)  # type: ignore[misc]
            if count == 1:
                fetches[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetches[0]
    await fetches[1]
    await eventually(lambda: open_locks() == 1, within_s=10, what="the scene is held once")
    scenes.close()
    assert open_locks() == 0
