"""The scene that a run's spec names, copied beside the run, so that it can be rendered from there.

Its files are small beside shards and each is known by its SHA-256, so they come through this
process: read, compared, and made with ``If-None-Match: *``; their list last, as ``put_bundle``
does.
"""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Callable
from dataclasses import replace

from simcloud.dataset.layout import RunLocation, scene_root
from simcloud.dataset.mirror import SCENE_KIND, Done, Mirrored, Place
from simcloud.dataset.rundoc import load_spec
from simcloud.errors import Corruption, NotFound, SimcloudError
from simcloud.s3.objects import ObjectStore
from simcloud.s3.retrying import for_each
from simcloud.scene.bundle import BundleFile
from simcloud.scene.store import load_listing

_AT_ONCE = 4
_LIST = "bundle.json"


async def mirror_scene(
    source: Place,
    destination: Place,
    *,
    dry_run: bool = False,
    say: Callable[[Mirrored], None] = lambda _: None,
) -> list[Mirrored]:
    """Copies what the destination lacks of a run's scene; its files, and their list last.

    Nothing to do, so an empty list, for a run without a scene in S3: one that was imported, or
    whose scene is named by URL.

    Args:
        source: of the run; its scene is below the same prefix.
        destination: of the run.
        dry_run: look only.
        say: told each file as it is done.

    Raises:
        NotFound: the source has no such run.
        Corruption: the scene's list is not its digest's.
    """
    spec = (await load_spec(source.store, source.location)).spec
    digest = spec.scene.digest
    if not digest or spec.renderer.backend == "imported":
        return []
    mirror = _Mirror(source, destination, digest, dry_run=dry_run)
    try:
        _, files = await load_listing(
            source.store,
            bucket=source.location.bucket,
            prefix=source.location.prefix,
            digest=digest,
        )
    except NotFound as error:
        missing = Mirrored(mirror.path(_LIST), SCENE_KIND, 0, Done.FAILED, error.message)
        say(missing)
        return [missing]

    async def one(file: BundleFile) -> Mirrored:
        item = await mirror.file(file)
        say(item)
        return item

    results = await for_each(files, one, limit=_AT_ONCE)
    if all(item.done is not Done.FAILED for item in results):
        results.append(await mirror.listing())
        say(results[-1])
    return results


class _Mirror:
    def __init__(self, source: Place, destination: Place, digest: str, *, dry_run: bool) -> None:
        self._source = source
        self._destination = destination
        self._digest = digest
        self._dry_run = dry_run

    def path(self, name: str) -> str:
        """A file as it is told: below the prefix."""
        return scene_root("", self._digest) + name

    async def file(self, file: BundleFile) -> Mirrored:
        return await self._one(f"files/{file.path}", file.size_bytes, file.sha256)

    async def listing(self) -> Mirrored:
        location = self._source.location
        key = scene_root(location.prefix, self._digest) + _LIST
        size = (await self._source.store.head(location.bucket, key)).size_bytes
        return await self._one(_LIST, size, "")

    async def _one(self, name: str, size_bytes: int, sha256: str) -> Mirrored:
        item = Mirrored(self.path(name), SCENE_KIND, size_bytes, Done.PLANNED)
        try:
            there = await _size_of(self._destination.store, *self._at(self._destination, name))
            if there is not None and there != size_bytes:
                bucket, key = self._at(self._destination, name)
                raise Corruption(
                    f"s3://{bucket}/{key} is there and is not the source's: {there} bytes for "
                    f"{size_bytes}; delete it and repeat"
                )
            if there is not None:
                return replace(item, done=Done.PRESENT)
            if not self._dry_run:
                await self._copy(name, sha256)
                return replace(item, done=Done.COPIED)
        except SimcloudError as error:
            return replace(item, done=Done.FAILED, problem=error.message)
        return item

    async def _copy(self, name: str, sha256: str) -> None:
        bucket, key = self._at(self._source, name)
        data = (await self._source.store.get(bucket, key)).data
        if sha256 and hashlib.sha256(data).hexdigest() != sha256:
            raise Corruption(f"s3://{bucket}/{key} is not what its list says")
        bucket, key = self._at(self._destination, name)
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        await self._destination.store.put_if_absent(bucket, key, data, content_type=kind)

    def _at(self, place: Place, name: str) -> tuple[str, str]:
        location: RunLocation = place.location
        return location.bucket, scene_root(location.prefix, self._digest) + name


async def _size_of(store: ObjectStore, bucket: str, key: str) -> int | None:
    found = await store.find(bucket, key)
    return None if found is None else found.size_bytes
