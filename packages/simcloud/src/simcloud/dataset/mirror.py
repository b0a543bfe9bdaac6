"""A run copied from one bucket or endpoint to another: data first, manifests last.

Every object is made with ``If-None-Match: *``, so a mirror that was cut short is gone on with, one
that is done costs a LIST and a HEAD an object, and two at once do no harm. A tar's bytes are
compared with the CRC-64/NVME that its index names before the copy is completed. Indexes and
manifests name the ETag of a tar, which the destination chooses: they are written anew with its own;
the rest is copied byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from simcloud.dataset.index import (
    INDEX_TYPE,
    TarObject,
    load_index,
    load_shard_record,
    rebuild_index,
    shard_record,
)
from simcloud.dataset.index_compare import rows_agree
from simcloud.dataset.layout import KeyKind, RunKey, RunLocation
from simcloud.dataset.manifest import Manifest, load_manifest
from simcloud.dataset.rundoc import load_spec
from simcloud.errors import AlreadyExists, Corruption, InvalidRequest, NotFound, SimcloudError
from simcloud.s3 import checksums
from simcloud.s3.errors import NoAnswer, NoSuchKey, ObjectExists, ServerFailed
from simcloud.s3.objects import ObjectInfo, ObjectStore, Part
from simcloud.s3.retrying import for_each
from simcloud.spec.canonical import canonical_json
from simcloud.spec.plan import ShardFrames

PART_BYTES = 16 << 20
"""Of a copied tar; 10 000 of them are 156 GiB, larger tars get larger parts."""
_MAX_PARTS = 10_000
_SHARDS_AT_ONCE = 2
_SMALL_AT_ONCE = 8
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
    kind: KeyKind
    size_bytes: int
    """At the source."""
    done: Done
    problem: str = ""
    """Why it failed."""


@dataclass(frozen=True, slots=True)
class Place:
    """A run at one endpoint."""

    store: ObjectStore
    location: RunLocation


async def mirror_run(
    source: Place,
    destination: Place,
    *,
    dry_run: bool = False,
    say: Callable[[Mirrored], None] = lambda _: None,
) -> list[Mirrored]:
    """Copies what the destination lacks; every object of the run in the end, by kind and key.

    A kind is begun when the one before is done. After a failure of a tar or an index nothing that
    promises it is written: no manifest.

    Args:
        source: read only.
        destination: the same run's name, in another bucket, prefix or endpoint.
        dry_run: look only.
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
    results: list[Mirrored] = []
    for kind in _ORDER:
        if kind is KeyKind.MANIFEST and any(item.done is Done.FAILED for item in results):
            break

        async def one(row: tuple[str, RunKey, int]) -> Mirrored:
            item = await _mirror_one(source, destination, row, dry_run=dry_run)
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
    source: Place, destination: Place, row: tuple[str, RunKey, int], *, dry_run: bool
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
                copied = await _copy_tar(source, destination, key.shard)
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


async def _copy_tar(source: Place, destination: Place, shard: int) -> bool:
    """Copies a tar through this process, part by part; at most one part is in memory a shard.

    A tar without index is not committed data and is not copied.
    """
    try:
        record = await load_shard_record(source.store, source.location, shard)
    except NoSuchKey as error:
        raise Corruption(
            f"shard {shard} of {source.location} has a tar and no index: mend it with "
            "`simcloud verify --repair`, then repeat"
        ) from error
    bucket, key = destination.location.bucket, destination.location.shard_key(shard)
    found = await destination.store.find(bucket, key)
    if found is not None:
        await _check_same(destination, found, record.tar)
        return False
    info = await source.store.head(source.location.bucket, source.location.shard_key(shard))
    upload_id = await destination.store.create_multipart(
        bucket, key, metadata=info.metadata, content_type="application/x-tar"
    )
    try:
        parts = await _send_parts(source, destination, shard, record.tar, upload_id)
        return await _complete(destination, shard, record.tar, upload_id, parts)
    except BaseException:
        await destination.store.abort_multipart(bucket, key, upload_id=upload_id)
        raise


async def _send_parts(
    source: Place, destination: Place, shard: int, tar: TarObject, upload_id: str
) -> list[Part]:
    step = max(PART_BYTES, -(-tar.size_bytes // _MAX_PARTS))
    parts: list[Part] = []
    whole = 0
    for start in range(0, tar.size_bytes, step):
        length = min(step, tar.size_bytes - start)
        body = await source.store.get(
            source.location.bucket,
            source.location.shard_key(shard),
            start=start,
            length=length,
            if_match=tar.etag,
        )
        crc = checksums.crc64nvme(body.data)
        whole = checksums.combine(whole, crc, length)
        etag = await destination.store.upload_part(
            destination.location.bucket,
            destination.location.shard_key(shard),
            upload_id=upload_id,
            number=len(parts) + 1,
            data=body.data,
            crc64nvme=crc,
        )
        parts.append(Part(number=len(parts) + 1, size_bytes=length, etag=etag, crc64nvme=crc))
    if whole != tar.crc64nvme:
        raise Corruption(
            f"shard {shard} of {source.location}: the tar has CRC {checksums.to_hex(whole)}, its "
            f"index says {checksums.to_hex(tar.crc64nvme)}: `simcloud verify --deep` tells more"
        )
    return parts


async def _complete(
    destination: Place, shard: int, tar: TarObject, upload_id: str, parts: list[Part]
) -> bool:
    """Completes the copy; False when another mirror was quicker."""
    store, bucket = destination.store, destination.location.bucket
    key = destination.location.shard_key(shard)
    created = True
    try:
        await store.complete_multipart(
            bucket,
            key,
            upload_id=upload_id,
            parts=parts,
            size_bytes=tar.size_bytes,
            crc64nvme=tar.crc64nvme,
        )
    except ObjectExists:
        created = False
        await store.abort_multipart(bucket, key, upload_id=upload_id)
    except (ServerFailed, NoAnswer):
        # Whether it was done is unknown: the object itself says.
        if await store.find(bucket, key) is None:
            raise
    await _check_same(destination, await store.head(bucket, key), tar)
    return created


async def _check_same(destination: Place, found: ObjectInfo, tar: TarObject) -> None:
    info = await destination.store.with_crc(destination.location.bucket, found)
    if (info.size_bytes, info.crc64nvme) != (tar.size_bytes, tar.crc64nvme):
        raise Corruption(
            f"s3://{destination.location.bucket}/{info.key} is there and is not the source's: "
            f"{info.size_bytes} bytes for {tar.size_bytes}; delete it and repeat"
        )


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
