"""Mends what a dead writer left between a tar and its index; clears away what is broken."""

from __future__ import annotations

from simcloud.accounting.report import Report
from simcloud.dataset.committed import committed_shards
from simcloud.dataset.index import INDEX_TYPE
from simcloud.dataset.index_build import rebuild_index
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.rundoc import is_aborted, load_run
from simcloud.errors import PreconditionFailed
from simcloud.s3.objects import ObjectStore


async def repair_indexes(store: ObjectStore, location: RunLocation) -> list[int]:
    """Writes the index of every shard whose tar is whole and has none; their numbers.

    The index is a pure function of the tar, so whoever writes it writes the same.

    Raises:
        NotFound: no such run.
        PreconditionFailed: the run was aborted: nothing of it may become committed any more.
        Corruption: a tar is not the shard's; delete it and make the shard again.
    """
    documents = await load_run(store, location)
    if await is_aborted(store, location):
        raise PreconditionFailed(f"{location} was aborted: what it lacks stays missing")
    committed = set(await committed_shards(store, location))
    repaired = []
    for shard in documents.plan.shards():
        key = location.shard_key(shard.shard)
        if shard.shard in committed or await store.find(location.bucket, key) is None:
            continue
        index = await rebuild_index(store, location, shard)
        await store.put_if_absent(
            location.bucket, location.index_key(shard.shard), index, content_type=INDEX_TYPE
        )
        repaired.append(shard.shard)
    return repaired


async def discard_broken(store: ObjectStore, report: Report) -> list[str]:
    """Deletes the objects that a count found to be no use any more; their keys.

    A shard's index goes before its tar: at no moment a reader of indexes finds one without a tar.
    """
    keys = list(dict.fromkeys(key for item in report.problems for key in item.discard))
    for key in keys:
        await store.delete_many(report.location.bucket, [key])
    return keys
