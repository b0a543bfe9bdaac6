"""What runs were asked for as: their documents, each read once, and named by S3 at each look."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from simcloud.dataset.layout import KeyKind, RunLocation
from simcloud.dataset.rundoc import (
    RunDocuments,
    SpecOfRun,
    documents_of,
    newest_of,
    no_plan,
    no_such_run,
    plan_of,
    spec_of,
)
from simcloud.s3.answers import ObjectInfo
from simcloud.s3.objects import ObjectStore
from simcloud.spec.canonical import canonical_json
from simcloud.spec.plan import Plan
from simcloud_uploader.facts import Fact, Facts

# Bytes of Python objects, by tracemalloc, rounded up: a record takes 1.4 KiB, a spec 17 times its
# JSON.
SMALL = 2048
"""Memory that a fact of a few figures takes, about."""
_OF_A_SPEC = 20


@dataclass(frozen=True, slots=True)
class _PlanOfRun:
    """A plan, and the RFC 8785 JSON of it, which takes longer to write than to read."""

    plan: Plan
    json: bytes


class Documents:
    """The documents of the runs of one S3.

    Args:
        store: S3.
        facts: what was read of objects that never change.
    """

    def __init__(self, store: ObjectStore, facts: Facts) -> None:
        self._store = store
        self._facts = facts

    async def load(self, location: RunLocation) -> RunDocuments:
        """The spec and the newest plan: a HEAD and a LIST, when they are known.

        Raises:
            NotFound: there is no such run, or it was created half: spec.json without a plan.
            Corruption: a document can't be read.
        """
        spec = await self._store.find(location.bucket, location.spec_key)
        if spec is None:
            raise no_such_run(location)
        plans = {}
        async for row in self._store.list_keys(location.bucket, location.plans_prefix):
            key = location.parse(row.key)
            if key is not None and key.kind is KeyKind.PLAN:
                plans[key.number] = row.etag
        return await self.of(location, spec, plans)

    async def of(
        self, location: RunLocation, info: ObjectInfo, plans: Mapping[int, str]
    ) -> RunDocuments:
        """The spec and the newest plan, of what S3 has just named.

        Args:
            location: the run.
            info: its spec.json.
            plans: its plans by generation: their ETags.

        Raises:
            NotFound: there is no plan.
            Corruption: a document can't be read, or a gap in the generations.
        """
        generation = newest_of(location, plans)
        if not generation:
            raise no_plan(location)
        bucket = location.bucket

        async def read_spec() -> Fact[SpecOfRun]:
            body = await self._store.get(bucket, location.spec_key)
            size = SMALL + _OF_A_SPEC * len(body.data)
            return Fact(spec_of(location, body), body.info.etag, size)

        async def read_plan() -> Fact[_PlanOfRun]:
            body = await self._store.get(bucket, location.plan_key(generation))
            plan = plan_of(location, body)
            return Fact(_PlanOfRun(plan, canonical_json(plan)), body.info.etag, 2 * SMALL)

        spec = await self._facts.of(SpecOfRun, (bucket, location.spec_key, info.etag), read_spec)
        at = (bucket, location.plan_key(generation), plans[generation])
        plan = await self._facts.of(_PlanOfRun, at, read_plan)
        # the same bytes may have been written anew after a purge
        spec = replace(spec, created_at=info.last_modified)
        return documents_of(location, spec, plan.plan, generation, plan_json=plan.json)
