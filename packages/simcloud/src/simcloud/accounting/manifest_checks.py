"""Whether a run's manifest says what its indexes say."""

from __future__ import annotations

from simcloud.accounting.report import Problem
from simcloud.accounting.shard_checks import ShardFinding
from simcloud.dataset.manifest import Manifest, load_manifest
from simcloud.dataset.rundoc import RunDocuments
from simcloud.errors import Corruption
from simcloud.s3 import checksums
from simcloud.s3.objects import ObjectStore

_REPUBLISH = "mend the shards first; then delete the manifest and simcloud resume {location}"


async def manifest_problems(
    store: ObjectStore, documents: RunDocuments, findings: list[ShardFinding], *, published: bool
) -> list[Problem]:
    """What is wrong with the manifest of a run's newest plan.

    Args:
        store: S3.
        documents: the run's spec and plan.
        findings: of every shard that has an index.
        published: whether there is one.
    """
    location = documents.location
    key = location.manifest_key(documents.generation)
    if not published:
        return [
            Problem(
                where=key,
                detail=f"plan {documents.generation} has no manifest: it is not published",
                mend=f"simcloud resume {location}",
            )
        ]
    try:
        manifest = await load_manifest(store, location, generation=documents.generation)
    except Corruption as error:
        return [Problem(where=key, detail=str(error), mend=_REPUBLISH.format(location=location))]
    if detail := _difference(manifest, documents, findings):
        return [Problem(where=key, detail=detail, mend=_REPUBLISH.format(location=location))]
    return []


def _difference(manifest: Manifest, documents: RunDocuments, findings: list[ShardFinding]) -> str:
    if (manifest.spec_digest, manifest.frames) != (documents.spec_digest, documents.plan.frames):
        return "it is of another spec or plan"
    named = {item.shard: (item.size_bytes, item.crc64nvme) for item in manifest.shards}
    if sorted(named) != list(range(documents.plan.shard_count)):
        return f"it names {len(named)} shards of {documents.plan.shard_count}"
    for finding in findings:
        record = finding.record
        if record is None:
            continue
        found = (record.tar.size_bytes, checksums.to_hex(record.tar.crc64nvme))
        if named[finding.shard.shard] != found:
            return f"it names another object for shard {finding.shard.shard} than the index"
    return _count_difference(manifest, findings)


def _count_difference(manifest: Manifest, findings: list[ShardFinding]) -> str:
    """Where the manifest's own numbers are not those of the indexes that it stands for."""
    records = [finding.record for finding in findings if finding.record is not None]
    if len(records) != len(manifest.shards):
        return ""  # said of the shard already
    for name, counted in (
        ("stored_frames", sum(record.stored_frames for record in records)),
        ("quarantined_frames", sum(record.quarantined_frames for record in records)),
        ("stored_bytes", sum(record.tar.size_bytes for record in records)),
    ):
        said = getattr(manifest, name)
        if said != counted:
            return f"its {name} is {said}, the indexes have {counted}"
    return ""
