"""A stage in S3 by its address: fetched with everything that it refers to."""

from __future__ import annotations

import asyncio
import posixpath
import re
from pathlib import Path
from urllib.parse import urlsplit

from simcloud.errors import InvalidRequest, NotFound
from simcloud.s3.errors import NoSuchKey
from simcloud.s3.objects import ObjectStore
from simcloud.scene.limits import SceneLimits
from simcloud.scene.pictures import PICTURE_SUFFIXES
from simcloud.scene.stage import of_renderers_library, url_advice

LAYERS = (".usd", ".usda", ".usdc")
"""Files that name others; a .usdz holds what it needs."""
_UDIM = "<UDIM>"


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of ``s3://bucket/key``.

    Raises:
        InvalidRequest: it is no such address of a stage.
    """
    parts = urlsplit(uri)
    key = parts.path.lstrip("/")
    if parts.scheme != "s3" or not parts.netloc or not key.endswith((*LAYERS, ".usdz")):
        raise InvalidRequest(
            "scene.root", f"{uri} is no address of a stage: s3://bucket/folder/scene.usda"
        )
    return parts.netloc, key


async def fetch_stage(
    store: ObjectStore, uri: str, *, folder: Path, limits: SceneLimits | None = None
) -> Path:
    """Fetches a stage and, layer by layer, all files that it refers to.

    Below ``folder`` they lie at their keys, so that relative paths lead where they did.

    Args:
        store: S3.
        uri: ``s3://bucket/key`` of the root layer.
        folder: empty folder that they are written to.
        limits: how many files and bytes; the defaults when None.

    Returns:
        The root layer's path.

    Raises:
        InvalidRequest: no address of a stage, a file that is not relative or leads out of the
            bucket, or more than the limits.
        NotFound: the stage, or a file that it needs, is not in S3.
        StorageError: S3 failed.
    """
    bucket, key = split_uri(uri)
    fetch = _Fetch(store, bucket, folder, limits or SceneLimits())
    await fetch.all(key)
    return folder / key


async def fetch_pictures(
    store: ObjectStore, uri: str, *, folder: Path, limits: SceneLimits | None = None
) -> list[Path]:
    """Fetches a picture, or those right below a prefix that ends in ``/``.

    Args:
        store: S3.
        uri: ``s3://bucket/key.png`` or ``s3://bucket/prefix/``.
        folder: where they are written to, by their last name.
        limits: how many files and bytes; the defaults when None.

    Returns:
        The files, by name.

    Raises:
        InvalidRequest: no such address, no picture below it, or more than the limits.
        NotFound: the picture is not in S3.
        StorageError: S3 failed.
    """
    limits = limits or SceneLimits()
    parts = urlsplit(uri)
    bucket, key = parts.netloc, parts.path.lstrip("/")
    if parts.scheme != "s3" or not bucket or not key:
        raise InvalidRequest("texture", f"{uri} is no address: s3://bucket/picture.png or .../")
    keys = [key]
    if key.endswith("/"):
        rows = [row async for row in store.list_keys(bucket, key)]
        keys = [row.key for row in rows if "/" not in row.key[len(key) :]]
        keys = [one for one in keys if one.lower().endswith(PICTURE_SUFFIXES)]
        if not keys:
            raise InvalidRequest(
                "texture", f"there is no picture in {uri} ({', '.join(PICTURE_SUFFIXES)})"
            )
    if len(keys) > limits.max_files:
        raise InvalidRequest(
            "texture", f"{uri} has {len(keys)} pictures, {limits.max_files} at most"
        )
    fetch = _Fetch(store, bucket, folder, limits)
    return [await fetch.one(one) for one in sorted(keys)]


class _Fetch:
    def __init__(self, store: ObjectStore, bucket: str, folder: Path, limits: SceneLimits) -> None:
        self._store = store
        self._bucket = bucket
        self._folder = folder
        self._limits = limits
        self._bytes = 0

    async def all(self, root: str) -> None:
        """Fetches a layer and what it leads to, nearest first."""
        known, waiting = {root}, [(root, "")]
        while waiting:
            key, named_by = waiting.pop(0)
            path = await self.one(key, named_by)
            if not key.endswith(LAYERS):
                continue
            for named in await asyncio.to_thread(_references, path):
                for found in await self._keys(key, named):
                    if found not in known:
                        known.add(found)
                        waiting.append((found, key))
            if len(known) > self._limits.max_files:
                raise InvalidRequest(
                    "scene.root",
                    f"s3://{self._bucket}/{root} needs more than {self._limits.max_files} files",
                )

    async def one(self, key: str, named_by: str = "") -> Path:
        """Fetches one file."""
        where = f"s3://{self._bucket}/{key}"
        try:
            info = await self._store.head(self._bucket, key)
        except NoSuchKey as error:
            why = f", which s3://{self._bucket}/{named_by} names" if named_by else ""
            raise NotFound(f"there is no {where}{why}") from error
        self._bytes += info.size_bytes
        if self._bytes > self._limits.max_bytes:
            raise InvalidRequest(
                "scene.root", f"with {where} the scene has more than {self._limits.max_bytes} bytes"
            )
        body = await self._store.get(self._bucket, key)
        path = self._folder / key
        await asyncio.to_thread(_write, path, body.data)
        return path

    async def _keys(self, layer: str, named: str) -> list[str]:
        """Keys of what a layer names: one, or every tile of a UDIM set."""
        where = f"s3://{self._bucket}/{layer} names {named}"
        if re.match(r"\w+:", named):
            raise InvalidRequest("scene.root", f"{where}: {url_advice(named)}")
        if named.startswith("/"):
            raise InvalidRequest("scene.root", f"{where}: write it relative to the layer")
        # what is behind a bracket lies within the package before it
        key = posixpath.normpath(posixpath.join(posixpath.dirname(layer), named.partition("[")[0]))
        if key.startswith(".."):
            raise InvalidRequest("scene.root", f"{where}, which leads out of the bucket")
        if of_renderers_library(named) and not await self._is_there(key):
            return []
        if _UDIM not in key:
            return [key]
        before, _, after = key.partition(_UDIM)
        tile = re.compile(re.escape(before) + r"1\d{3}" + re.escape(after))
        rows = self._store.list_keys(self._bucket, before)
        return [row.key async for row in rows if tile.fullmatch(row.key)]

    async def _is_there(self, key: str) -> bool:
        try:
            await self._store.head(self._bucket, key)
        except NoSuchKey:
            return False
        return True


def _references(layer: Path) -> list[str]:
    """Paths that a layer names, of other layers and of files.

    Raises:
        InvalidRequest: it is no layer.
    """
    from pxr import Tf, UsdUtils

    from simcloud.scene.stage import usd_words

    try:
        sublayers, references, payloads = UsdUtils.ExtractExternalReferences(str(layer))
    except Tf.ErrorException as error:
        raise InvalidRequest(
            "scene.root", f"{layer.name} is not a stage that can be read: {usd_words(error)}"
        ) from error
    return [str(path) for path in (*sublayers, *references, *payloads) if path]


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
