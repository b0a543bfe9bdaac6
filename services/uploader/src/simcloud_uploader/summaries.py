"""How far runs are: counted by LISTs of S3, with what was read before of objects that are the same.

A look costs a LIST of plans and manifests, two HEADs, and while the run is open a LIST of its
indexes; beside that it reads each document and each index's footer once, not once a look.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass

from simcloud.client._wire import RunState, RunSummary
from simcloud.dataset.committed import collect_shards
from simcloud.dataset.index import ShardRecord, read_shard_record
from simcloud.dataset.layout import KeyKind, RunLocation
from simcloud.dataset.manifest import manifest_of
from simcloud.dataset.quarantine import by_rule, quarantined_rows
from simcloud.dataset.rundoc import RunDocuments, is_aborted, no_such_run
from simcloud.s3.answers import Body, ObjectInfo
from simcloud.s3.objects import ObjectStore
from simcloud.s3.retrying import for_each
from simcloud.spec.plan import ShardFrames
from simcloud_uploader.documents import SMALL, Documents
from simcloud_uploader.facts import Fact, Facts

MAX_MISSING = 1000
"""Shards of ``RunSummary.missing`` (dataset.proto)."""
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Generations:
    """Plans and manifests of a run, by generation: their ETags."""

    plans: dict[int, str]
    manifests: dict[int, str]

    @property
    def manifest(self) -> int:
        """The newest manifest; 0 when there is none."""
        return max(self.manifests, default=0)


@dataclass(frozen=True, slots=True)
class _Counts:
    """What a manifest says in figures."""

    stored_frames: int
    quarantined_frames: int
    shards: int
    stored_bytes: int
    by_rule: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Rules:
    """Frame keys of an index by the rule that they broke."""

    counts: dict[str, int]


class Summaries:
    """Looks at the runs of one S3.

    Args:
        store: S3.
        facts: what was read of objects that never change.
    """

    def __init__(self, store: ObjectStore, facts: Facts) -> None:
        self._store = store
        self._facts = facts
        self._documents = Documents(store, facts)

    async def look(
        self, location: RunLocation, *, spec: ObjectInfo | None = None, rules: bool = True
    ) -> tuple[RunSummary, RunDocuments]:
        """A run, counted in S3, and what it was asked for as.

        Args:
            location: the run.
            spec: its spec.json, when it was just asked for.
            rules: whether to tell the rules that quarantined frames broke; while a run is open,
                this reads the index of each shard that has such frames.

        Raises:
            NotFound: there is no such run.
            Corruption: a document or an index can't be read, or is another run's.
        """
        found = spec or await self._store.find(location.bucket, location.spec_key)
        if found is None:
            raise no_such_run(location)
        generations = await self._generations(location)
        documents = await self._documents.of(location, found, generations.plans)
        return await self._summary(documents, generations, rules=rules), documents

    async def summary(self, documents: RunDocuments) -> RunSummary:
        """A run whose documents were just read, counted in S3."""
        generations = await self._generations(documents.location)
        return await self._summary(documents, generations, rules=True)

    async def _generations(self, location: RunLocation) -> Generations:
        found = Generations({}, {})
        # "manifests/" and "plans/" are neighbours in a listing: one request tells both. It begins a
        # letter earlier, since SeaweedFS leaves out a folder whose name is the beginning.
        after = location.manifests_prefix.removesuffix("s/")
        async for row in self._store.list_keys(location.bucket, location.root, start_after=after):
            key = location.parse(row.key)
            if key is not None and key.kind is KeyKind.MANIFEST:
                found.manifests[key.number] = row.etag
            elif key is not None and key.kind is KeyKind.PLAN:
                found.plans[key.number] = row.etag
            elif row.key > location.plans_prefix and not row.key.startswith(location.plans_prefix):
                break
        return found

    async def _summary(
        self, documents: RunDocuments, generations: Generations, *, rules: bool
    ) -> RunSummary:
        location = documents.location
        aborted = await is_aborted(self._store, location)
        generation = generations.manifest
        published = generation == documents.generation
        missing: tuple[ShardFrames, ...] = ()
        if published:
            # The manifest of the newest plan names every shard: no need to ask each index.
            counts = await self._published(location, generation, generations.manifests[generation])
        else:
            counts, missing = await self._open(documents, rules=rules)
        state = RunState.PUBLISHED if published else RunState.OPEN
        return RunSummary(
            location=location,
            spec_digest=documents.spec_digest,
            state=RunState.ABORTED if aborted else state,
            stored_frames=counts.stored_frames,
            quarantined_frames=counts.quarantined_frames,
            committed_shards=counts.shards,
            stored_bytes=counts.stored_bytes,
            manifest_key=location.manifest_key(generation) if generation else "",
            create_time=documents.created_at,
            missing=missing[:MAX_MISSING],
            quarantined_by_rule=counts.by_rule if rules else {},
            plan_generation=documents.generation,
            planned_frames=documents.planned_frames,
            planned_shards=documents.plan.shard_count,
        )

    async def _published(self, location: RunLocation, generation: int, etag: str) -> _Counts:
        key = location.manifest_key(generation)

        async def read() -> Fact[_Counts]:
            body = await self._store.get(location.bucket, key)
            return Fact(_counts_of(location, body), body.info.etag, SMALL)

        return await self._facts.of(_Counts, (location.bucket, key, etag), read)

    async def _open(
        self, documents: RunDocuments, *, rules: bool
    ) -> tuple[_Counts, tuple[ShardFrames, ...]]:
        location = documents.location
        etags: dict[int, str] = {}

        async def read(shard: int, etag: str) -> ShardRecord:
            etags[shard] = etag
            return await self._record(location, shard, etag)

        found = await collect_shards(self._store, documents, read=read)
        broken = {
            number: etags[number]
            for number, record in found.records.items()
            if rules and record.quarantined_frames
        }
        counts = _Counts(
            stored_frames=found.stored_frames,
            quarantined_frames=found.quarantined_frames,
            shards=len(found.records),
            stored_bytes=found.stored_bytes,
            by_rule=await self._rules(location, broken),
        )
        return counts, found.missing

    async def _record(self, location: RunLocation, shard: int, etag: str) -> ShardRecord:
        async def read() -> Fact[ShardRecord]:
            record, found = await read_shard_record(self._store, location, shard)
            return Fact(record, found, SMALL + sum(map(sys.getsizeof, record.fingerprints)))

        return await self._facts.of(
            ShardRecord, (location.bucket, location.index_key(shard), etag), read
        )

    async def _rules(self, location: RunLocation, indexes: dict[int, str]) -> dict[str, int]:
        async def of_one(shard: int) -> _Rules:
            key = location.index_key(shard)

            async def read() -> Fact[_Rules]:
                body = await self._store.get(location.bucket, key)
                counts = by_rule(quarantined_rows(body.data))
                return Fact(_Rules(counts), body.info.etag, SMALL)

            return await self._facts.of(_Rules, (location.bucket, key, indexes[shard]), read)

        total: Counter[str] = Counter()
        for rules in await for_each(indexes, of_one, limit=_AT_ONCE):
            total.update(rules.counts)
        return dict(sorted(total.items()))


def _counts_of(location: RunLocation, body: Body) -> _Counts:
    manifest = manifest_of(location, body)
    return _Counts(
        stored_frames=manifest.stored_frames,
        quarantined_frames=manifest.quarantined_frames,
        shards=len(manifest.shards),
        stored_bytes=manifest.stored_bytes,
        by_rule=by_rule(manifest.quarantine),
    )
