"""A run copied from one bucket or endpoint to another: data first, manifests last.

Every object is made with ``If-None-Match: *``, so a mirror that was cut short is gone on with, one
that is done costs a LIST and a HEAD an object, and two at once do no harm. A tar is copied by the
server itself where both places are one S3, else through this process (``tarcopy``); either way it
is compared with the CRC-64/NVME that its index names before the copy is completed. Indexes and
manifests name the ETag of a tar, which the destination chooses: they are written anew with its own;
the rest is copied byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from simcloud.dataset.index import INDEX_TYPE, load_index, load_shard_record, shard_record
from simcloud.dataset.index_build import rebuild_index
from simcloud.dataset.index_compare import rows_agree
from simcloud.dataset.layout import KeyKind, RunKey
from simcloud.dataset.manifest import Manifest, load_manifest
from simcloud.dataset.rundoc import load_spec
from simcloud.dataset.tarcopy import Place, TarCopier
from simcloud.errors import AlreadyExists, Corruption, InvalidRequest, NotFound, SimcloudError
from simcloud.s3.copying import COPY_PART_BYTES
from simcloud.s3.retrying import for_each
from simcloud.spec.canonical import canonical_json
from simcloud.spec.plan import ShardFrames

_SHARDS_AT_ONCE = 2
_SMALL_AT_ONCE = 8
__all__ = ["SCENE_KIND", "Done", "Mirrored", "Place", "mirror_run"]

_ORDER = (
    KeyKind.SPEC,
    KeyKind.PLAN,
    KeyKind.SHARD,
    KeyKind.INDEX,
    KeyKind.PREDICTIONS,
    KeyKind.REPORT,
    KeyKind.MANIFEST,
)
"""Kinds in the order of copying; who owns open shards, and an abort, are the source's alone."""


SCENE_KIND = "scene"
"""Of the files of the scene that the run's spec names (``simcloud.scene.mirror``)."""


class Done(StrEnum):
    """What became of an object."""

    COPIED = "copied"
    PRESENT = "present"
    """It was there already, and is the same."""
    PLANNED = "planned"
    """It would be copied."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Mirrored:
    """One object of the run."""

    path: str
    """Within the run."""
    kind: str
    """A ``KeyKind``, or ``SCENE_KIND``."""
    size_bytes: int
    """At the source."""
    done: Done
    problem: str = ""
    """Why it failed."""
    by_server: bool = False
    """Whether the server copied it by itself, so that none of it came through this process."""


async def mirror_run(
    source: Place,
    destination: Place,
    *,
    dry_run: bool = False,
    copy_part_bytes: int = COPY_PART_BYTES,
    say: Callable[[Mirrored], None] = lambda _: None,
) -> list[Mirrored]:
    """Copies what the destination lacks; every object of the run in the end, by kind and key.

    A kind is begun when the one before is done. After a failure of the spec nothing else is tried;
    after one of a tar or an index nothing that promises it is written: no manifest.

    Args:
        source: read only.
        destination: the same run's name, in another bucket, prefix or endpoint.
        dry_run: look only.
        copy_part_bytes: of a tar that the server copies, 5 MiB or more.
        say: told each object as it is done.

    Raises:
        InvalidRequest: another run's name, or the same place twice.
        NotFound: the source has no such run.
        AlreadyExists: the destination holds a run of another spec under the name.
        SimcloudError: a listing failed.
    """
    _check_places(source, destination)
    listed = await _listed(source)
    await _check_spec(source, destination)
    tars = TarCopier(source, destination, copy_part_bytes=copy_part_bytes)
    results: list[Mirrored] = []
    for kind in _ORDER:
        failed = any(item.done is Done.FAILED for item in results)
        if failed and kind in (KeyKind.PLAN, KeyKind.MANIFEST):
            break

        async def one(row: tuple[str, RunKey, int]) -> Mirrored:
            item = await _mirror_one(source, destination, row, tars=tars, dry_run=dry_run)
            say(item)
            return item

        rows = [row for row in listed if row[1].kind is kind]
        limit = _SHARDS_AT_ONCE if kind is KeyKind.SHARD else _SMALL_AT_ONCE
        results += await for_each(rows, one, limit=limit)
    return results


def _check_places(source: Place, destination: Place) -> None:
    if source.location.run != destination.location.run:
        raise InvalidRequest(
            "dst",
            f"a mirror keeps its run's name {source.location.run!r}, found "
            f"{destination.location.run!r}; end it with a slash to have the name added",
        )
    same = source.location == destination.location
    if same and source.store.client.meta.endpoint_url == destination.store.client.meta.endpoint_url:
        raise InvalidRequest("dst", f"{destination.location} is the source itself")


async def _listed(source: Place) -> list[tuple[str, RunKey, int]]:
    location = source.location
    found = []
    async for row in source.store.list_keys(location.bucket, location.root):
        key = location.parse(row.key)
        if key is not None and key.kind in _ORDER:
            found.append((row.key[len(location.root) :], key, row.size_bytes))
    return found


async def _check_spec(source: Place, destination: Place) -> None:
    spec = await load_spec(source.store, source.location)
    try:
        present = await load_spec(destination.store, destination.location)
    except NotFound:
        return
    if present.spec_digest != spec.spec_digest:
        raise AlreadyExists(
            f"{destination.location} is a run of another spec ({present.spec_digest}); the "
            f"source's is {spec.spec_digest}: take another prefix",
            spec_digest=present.spec_digest,
        )


async def _mirror_one(
    source: Place,
    destination: Place,
    row: tuple[str, RunKey, int],
    *,
    tars: TarCopier,
    dry_run: bool,
) -> Mirrored:
    path, key, size = row
    item = Mirrored(path=path, kind=key.kind, size_bytes=size, done=Done.PLANNED)
    try:
        if dry_run:
            there = destination.location.key(path)
            found = await destination.store.find(destination.location.bucket, there)
            return replace(item, done=Done.PRESENT) if found is not None else item
        match key.kind:
            case KeyKind.SHARD:
                copied = await tars.copy(key.shard)
                item = replace(item, by_server=copied and tars.by_server)
            case KeyKind.INDEX:
                copied = await _write_index(source, destination, key.shard)
            case KeyKind.MANIFEST:
                copied = await _write_manifest(source, destination, key.number)
            case _:
                copied = await _copy_small(source, destination, path, key.kind)
    except SimcloudError as error:
        return replace(item, done=Done.FAILED, problem=error.message)
    return replace(item, done=Done.COPIED if copied else Done.PRESENT)


async def _copy_small(source: Place, destination: Place, path: str, kind: KeyKind) -> bool:
    body = await source.store.get(source.location.bucket, source.location.key(path))
    bucket, key = destination.location.bucket, destination.location.key(path)
    outcome = await destination.store.put_if_absent(
        bucket, key, body.data, content_type=_type_of(path)
    )
    if not outcome.created:
        there = await destination.store.get(bucket, key)
        if there.data == body.data:
            return False
        if kind is not KeyKind.REPORT:
            raise AlreadyExists(f"s3://{bucket}/{key} has other bytes: look which to keep")
        # a report is written anew each time it is made
        await destination.store.put(bucket, key, body.data, content_type=_type_of(path))
        return True
    return outcome.created


async def _write_index(source: Place, destination: Place, shard: int) -> bool:
    """The index of the copied tar, made from it as after any upload; compared with the source's."""
    bucket, key = destination.location.bucket, destination.location.index_key(shard)
    stored = await load_index(source.store, source.location, shard)
    frames: ShardFrames = shard_record(stored).shard
    if await destination.store.find(bucket, key) is not None:
        there = await load_index(destination.store, destination.location, shard)
        _check_rows(there, stored, key)
        return False
    made = await rebuild_index(destination.store, destination.location, frames)
    _check_rows(made, stored, key)
    outcome = await destination.store.put_if_absent(bucket, key, made, content_type=INDEX_TYPE)
    return outcome.created


def _check_rows(made: bytes, stored: bytes, key: str) -> None:
    if not rows_agree(made, stored):
        raise Corruption(f"{key}: the source's index does not say what its tar says")


async def _write_manifest(source: Place, destination: Place, generation: int) -> bool:
    manifest = await load_manifest(source.store, source.location, generation=generation)
    store, location = destination.store, destination.location

    async def etag(shard: int) -> str:
        return (await load_shard_record(store, location, shard)).tar.etag

    etags = await for_each([item.shard for item in manifest.shards], etag, limit=_SMALL_AT_ONCE)
    shards = tuple(
        item.model_copy(update={"etag": tag})
        for item, tag in zip(manifest.shards, etags, strict=True)
    )
    written: Manifest = manifest.model_copy(update={"shards": shards})
    outcome = await store.put_if_absent(
        location.bucket, location.manifest_key(generation), canonical_json(written)
    )
    if not outcome.created and written != await load_manifest(
        store, location, generation=generation
    ):
        raise AlreadyExists(f"{location}: manifest {generation} names other shards")
    return outcome.created


def _type_of(path: str) -> str:
    ending = path.rpartition(".")[2]
    return {
        "json": "application/json",
        "parquet": INDEX_TYPE,
        "html": "text/html; charset=utf-8",
    }.get(ending, "application/octet-stream")
