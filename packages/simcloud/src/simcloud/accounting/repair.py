"""What `simcloud verify --repair` does: indexes that a dead writer did not come to write."""

from __future__ import annotations

from simcloud.dataset.committed import check_record, committed_shards
from simcloud.dataset.index import INDEX_TYPE, shard_record
from simcloud.dataset.index_build import rebuild_index
from simcloud.dataset.layout import KeyKind, RunLocation
from simcloud.dataset.rundoc import load_run
from simcloud.s3.objects import ObjectStore
from simcloud.s3.retrying import for_each

_CONCURRENCY = 4


async def repair(store: ObjectStore, location: RunLocation) -> tuple[int, ...]:
    """Makes the index of every tar that has none, from the tar; returns the shards, ascending.

    A tar is whole or absent, so its index can always be made; nothing else is touched.

    Raises:
        NotFound: no such run.
        Corruption: a tar is not a shard of this run.
    """
    documents = await load_run(store, location)
    committed = set(await committed_shards(store, location))
    bare = []
    async for row in store.list_keys(location.bucket, location.shards_prefix):
        key = location.parse(row.key)
        if (
            key is not None
            and key.kind is KeyKind.SHARD
            and key.shard < documents.plan.shard_count
            and key.shard not in committed
        ):
            bare.append(key.shard)

    async def index(number: int) -> None:
        data = await rebuild_index(store, location, documents.plan.shard(number))
        check_record(shard_record(data), documents)
        await store.put_if_absent(
            location.bucket, location.index_key(number), data, content_type=INDEX_TYPE
        )

    await for_each(bare, index, limit=_CONCURRENCY)
    return tuple(bare)
