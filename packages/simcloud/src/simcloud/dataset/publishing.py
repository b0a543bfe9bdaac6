"""A manifest made and written: only when every shard of the plan is committed, and once.

It is made from a LIST of the indexes in S3, never from memory, and written with ``If-None-Match``.
"""

from __future__ import annotations

from pydantic import JsonValue

from simcloud.dataset.committed import collect_shards, committed_shards, tar_problem
from simcloud.dataset.index import ShardRecord
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.manifest import Manifest, ManifestShard, Unfinished, load_manifest
from simcloud.dataset.quarantine import quarantined_in
from simcloud.dataset.rundoc import RunDocuments
from simcloud.errors import Corruption
from simcloud.s3 import checksums
from simcloud.s3.objects import ObjectStore
from simcloud.s3.retrying import for_each
from simcloud.spec.canonical import canonical_json

_CONCURRENCY = 16
"""Tars asked for at once."""


async def build_manifest(
    store: ObjectStore, documents: RunDocuments, *, provenance: dict[str, JsonValue]
) -> Manifest:
    """The manifest of the newest plan, from what S3 has now.

    Every tar is asked for (HEAD): an index whose tar is gone or another is not committed data.

    Raises:
        Unfinished: not every shard is committed.
        Corruption: an index is not of this run, or its tar is not the object it names.
    """
    location = documents.location
    # A LIST says what is missing: of an array of tasks each but the last asks in vain.
    present = set(await committed_shards(store, location))
    if missing := [item for item in documents.plan.shards() if item.shard not in present]:
        raise Unfinished.of(location, missing)
    collected = await collect_shards(store, documents)
    if collected.missing:
        raise Unfinished.of(location, collected.missing)
    records = list(collected.records.values())

    async def check(record: ShardRecord) -> None:
        if problem := await tar_problem(store, location, record):
            raise Corruption(f"{location}: {problem}")

    await for_each(records, check, limit=_CONCURRENCY)
    fingerprints = dict.fromkeys(name for record in records for name in record.fingerprints)
    return Manifest(
        run=location.run,
        generation=documents.generation,
        spec_digest=documents.spec_digest,
        cameras=documents.cameras,
        frames_per_shard=documents.plan.frames_per_shard,
        frames=documents.plan.frames,
        planned_frames=documents.planned_frames,
        stored_frames=collected.stored_frames,
        quarantined_frames=collected.quarantined_frames,
        stored_bytes=collected.stored_bytes,
        fingerprints=tuple(fingerprints),
        shards=tuple(_manifest_shard(record) for record in records),
        quarantine=await quarantined_in(store, location, records),
        provenance=provenance,
    )


async def publish_manifest(store: ObjectStore, location: RunLocation, manifest: Manifest) -> bool:
    """Writes a manifest if its generation has none; True when this call wrote it.

    Raises:
        Corruption: there is one that names other shards.
    """
    outcome = await store.put_if_absent(
        location.bucket, location.manifest_key(manifest.generation), canonical_json(manifest)
    )
    if not outcome.created:
        present = await load_manifest(store, location, generation=manifest.generation)
        if present.shards != manifest.shards:
            raise Corruption(
                f"{location}: manifest {manifest.generation} names other shards than S3 has; "
                "run `simcloud verify` on it"
            )
    return outcome.created


def _manifest_shard(record: ShardRecord) -> ManifestShard:
    return ManifestShard(
        shard=record.shard.shard,
        first_frame=record.shard.first,
        end_frame=record.shard.end,
        path=record.tar.path,
        size_bytes=record.tar.size_bytes,
        crc64nvme=checksums.to_hex(record.tar.crc64nvme),
        etag=record.tar.etag,
        stored_frames=record.stored_frames,
        quarantined_frames=record.quarantined_frames,
        fingerprints=record.fingerprints,
    )
