"""Scenes in S3, by content, and a bounded cache of them on disk.

In S3 a scene is ``scenes/<digest>/files/<path>``, one object a file, and
``scenes/<digest>/bundle.json``, the list of them, written last: a scene that has its list is whole.
On disk it is ``<cache>/<digest>/`` with the files at their paths, made elsewhere and renamed, so
that any number of processes can share the folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import mimetypes
import os
import re
import secrets
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import TypeVarTuple

from simcloud.concurrency.service import until_ended
from simcloud.dataset.layout import scene_root
from simcloud.errors import Corruption, NotFound, Overloaded, PreconditionFailed
from simcloud.s3.errors import NoSuchKey
from simcloud.s3.objects import ObjectStore
from simcloud.s3.retrying import for_each
from simcloud.scene.bundle import MAX_FILES, Bundle, BundleFile, bundle_digest
from simcloud.spec.canonical import canonical_bytes

BUNDLE_VERSION = "simcloud.scene/v1"
_CONCURRENCY = 4
"""Files in memory at once."""
_HELD = 2
"""Scenes a process keeps from being evicted by default: the one it renders and the one before."""
_STALE_PARTIAL_S = 24 * 3600.0
"""Age of an unfinished download after which nobody can still be at it: its process was killed."""
Args = TypeVarTuple("Args")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_PARTIAL = "partial-"


async def put_bundle(store: ObjectStore, bundle: Bundle, *, bucket: str, prefix: str) -> bool:
    """Puts a scene into S3 unless it is there; True when this call wrote its list.

    Repeating it after a break goes on: files that are there are left alone.

    Args:
        store: S3.
        bundle: the scene on this machine.
        bucket: S3 bucket.
        prefix: the runs' prefix; empty: the bucket's root.

    Raises:
        Corruption: a file changed since the bundle was made.
    """
    root = scene_root(prefix, bundle.digest)
    if await store.find(bucket, root + "bundle.json") is not None:
        return False

    async def put(file: BundleFile) -> None:
        data = await asyncio.to_thread(bundle.local(file).read_bytes)
        if hashlib.sha256(data).hexdigest() != file.sha256:
            raise Corruption(f"{bundle.local(file)} changed while it was being stored")
        await store.put_if_absent(
            bucket, f"{root}files/{file.path}", data, content_type=_media_type(file.path)
        )

    await for_each(bundle.files, put, limit=_CONCURRENCY)
    listing = {
        "version": BUNDLE_VERSION,
        "stage": bundle.stage,
        "files": [asdict(file) for file in bundle.files],
    }
    outcome = await store.put_if_absent(bucket, root + "bundle.json", canonical_bytes(listing))
    return outcome.created


async def load_listing(
    store: ObjectStore, *, bucket: str, prefix: str, digest: str
) -> tuple[str, tuple[BundleFile, ...]]:
    """Path of a scene's root layer, and its files.

    Raises:
        NotFound: no such scene.
        Corruption: the list is not the digest's.
    """
    key = scene_root(prefix, digest) + "bundle.json"
    try:
        raw = (await store.get(bucket, key)).data
    except NoSuchKey as error:
        raise NotFound(
            f"scene {digest} is not in s3://{bucket}/{prefix}: `simcloud run` puts it there"
        ) from error
    try:
        plain = json.loads(raw)
        files = tuple(BundleFile(**row) for row in plain["files"])
        stage = str(plain["stage"])
        if plain["version"] != BUNDLE_VERSION or len(files) > MAX_FILES:
            raise ValueError(f"version {plain['version']!r}, {len(files)} files")
    except (KeyError, TypeError, ValueError) as error:
        raise Corruption(f"s3://{bucket}/{key} is not the list of a scene: {error}") from error
    if bundle_digest((file.path, file.sha256) for file in files) != digest:
        raise Corruption(f"s3://{bucket}/{key}: its files are not those of the digest")
    for file in files:
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise Corruption(f"s3://{bucket}/{key}: {file.path!r} leads out of the scene")
    return stage, files


class SceneStore:
    """Scenes in S3 behind a cache on disk that keeps those used last.

    A scene in use is not evicted: whoever fetches one holds a shared lock (flock) on it until the
    process ends or has fetched ``held`` others.

    Args:
        store: S3.
        cache: folder of the cache, shared by any number of processes; made when absent.
        limit_bytes: most bytes of all scenes in it.
        held: scenes that this process keeps from being evicted: as many as it works on at once.
    """

    def __init__(
        self, store: ObjectStore, *, cache: Path, limit_bytes: int, held: int = _HELD
    ) -> None:
        self._store = store
        self._cache = cache
        self._limit = limit_bytes
        self._most_held = held
        # Fetches at once look for their scenes in threads; one that is cancelled leaves its thread.
        self._guard = threading.Lock()
        self._held: OrderedDict[str, int] = OrderedDict()

    async def fetch(self, *, bucket: str, prefix: str, digest: str) -> Path:
        """Folder of a scene's files, fetched and verified unless it is here.

        Raises:
            NotFound: no such scene in S3.
            Corruption: what came is not what the digest says.
            PreconditionFailed: the scene is larger than the cache.
            Overloaded: the cache is full of scenes in use.
            StorageError: S3 failed.
        """
        scene_root(prefix, digest)  # refuses what is no digest before it becomes a path
        await asyncio.to_thread(self._hold, digest)
        folder = self._cache / digest
        if not folder.is_dir():
            await self._download(bucket=bucket, prefix=prefix, digest=digest)
        await asyncio.to_thread(os.utime, folder)  # used now
        return folder

    def close(self) -> None:
        """Lets other processes evict what this one used."""
        with self._guard:
            while self._held:
                os.close(self._held.popitem()[1])

    async def _download(self, *, bucket: str, prefix: str, digest: str) -> None:
        _, files = await load_listing(self._store, bucket=bucket, prefix=prefix, digest=digest)
        size = sum(file.size_bytes for file in files)
        if size > self._limit:
            raise PreconditionFailed(
                f"scene {digest[:12]} has {size} bytes, the scene cache takes {self._limit}: raise "
                "the cache's limit"
            )
        await asyncio.to_thread(self._make_room, size)
        partial = self._cache / f"{_PARTIAL}{digest[:12]}-{secrets.token_hex(4)}"
        root = scene_root(prefix, digest)

        async def fetch(file: BundleFile) -> None:
            body = await self._store.get(bucket, f"{root}files/{file.path}")
            if hashlib.sha256(body.data).hexdigest() != file.sha256:
                raise Corruption(f"s3://{bucket}/{root}files/{file.path} is not what its list says")
            await _to_its_end(_write, partial / file.path, body.data)

        try:
            await for_each(files, fetch, limit=_CONCURRENCY)
            await _to_its_end(_rename, partial, self._cache / digest)
        finally:
            await asyncio.to_thread(shutil.rmtree, partial, ignore_errors=True)

    def _hold(self, digest: str) -> None:
        """Takes a shared lock on a scene and drops the oldest ones."""
        self._cache.mkdir(parents=True, exist_ok=True)
        with self._guard:
            if digest in self._held:
                self._held.move_to_end(digest)
                return
        handle = os.open(self._lock_file(digest), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        # Only an eviction holds it alone, and shortly; no other scene's fetch waits for that.
        fcntl.flock(handle, fcntl.LOCK_SH)
        with self._guard:
            faster = self._held.pop(digest, None)
            if faster is not None:
                os.close(faster)
            self._held[digest] = handle
            while len(self._held) > self._most_held:
                os.close(self._held.popitem(last=False)[1])

    def _lock_file(self, digest: str) -> Path:
        return self._cache / f"{digest}.lock"

    def _make_room(self, size: int) -> None:
        """Evicts the scenes not used for longest until ``size`` bytes fit."""
        self._sweep()
        entries = sorted(
            (path.stat().st_mtime_ns, path)
            for path in self._cache.iterdir()
            if _DIGEST.fullmatch(path.name)
        )
        sizes = {path: _folder_bytes(path) for _, path in entries}
        used = sum(sizes.values())
        for _, path in entries:
            if used + size <= self._limit:
                return
            if self._evict(path):
                used -= sizes[path]
        if used + size > self._limit:
            raise Overloaded(
                f"the scene cache {self._cache} is full: {used} of {self._limit} bytes are in use, "
                f"{size} are needed; raise its limit"
            )

    def _sweep(self) -> None:
        """Removes downloads that a killed process left."""
        for path in self._cache.glob(f"{_PARTIAL}*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _STALE_PARTIAL_S:
                    shutil.rmtree(path, ignore_errors=True)

    def _evict(self, folder: Path) -> bool:
        """Removes a scene that nobody uses; False when somebody does."""
        handle = os.open(self._lock_file(folder.name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        with contextlib.closing(os.fdopen(handle)):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            doomed = self._cache / f"{_PARTIAL}evicted-{secrets.token_hex(4)}"
            try:
                folder.rename(doomed)
            except FileNotFoundError:
                return True  # another process was faster
            shutil.rmtree(doomed, ignore_errors=True)
            return True


async def _to_its_end(work: Callable[[*Args], None], *args: *Args) -> None:
    """Runs in a thread, and waits for its end even when cancelled, however often.

    What a thread still wrote after the folder's removal would stay; of a folder that it renamed
    meanwhile, the removal would go on under the new name.
    """
    running = asyncio.get_running_loop().run_in_executor(None, work, *args)
    await until_ended(running)
    running.result()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _rename(partial: Path, folder: Path) -> None:
    try:
        partial.rename(folder)
    except OSError:
        # another process renamed its own, with the same verified files
        if not folder.is_dir():
            raise


def _folder_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue  # being evicted by another process
    return total


def _media_type(path: str) -> str:
    return mimetypes.guess_type(path)[0] or "application/octet-stream"
