"""A run that pods make, counted in S3."""

from __future__ import annotations

from typing import cast

from pydantic import JsonValue

from simcloud.accounting.reconcile import reconcile
from simcloud.accounting.report import Report
from simcloud.client.cost import CostCount
from simcloud.client.events import RunStored
from simcloud.client.uploader import RunState, RunSummary
from simcloud.dataset.committed import committed_shards
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.rundoc import RunDocuments
from simcloud.dataset.runs import publish_run
from simcloud.s3.objects import ObjectStore
from simcloud.spec.plan import Plan
from simcloud_cli.naming import provenance


def provenance_json() -> dict[str, JsonValue]:
    """Who makes a run, as its documents keep it."""
    return cast("dict[str, JsonValue]", provenance())


async def missing_shards(store: ObjectStore, location: RunLocation, plan: Plan) -> tuple[int, ...]:
    """Shards of a plan that are not committed, ascending; a run that isn't there lacks all."""
    present = set(await committed_shards(store, location))
    return tuple(item.shard for item in plan.shards() if item.shard not in present)


async def counted(store: ObjectStore, location: RunLocation) -> Report:
    """The accounting; what the last pod, killed before it could publish, left is published."""
    counts = await reconcile(store, location)
    if counts.published or counts.missing or counts.aborted:
        return counts
    await publish_run(store, location, provenance=provenance_json())
    return await reconcile(store, location)


def stored_by_others(documents: RunDocuments, counts: Report) -> RunStored:
    """The end of a generation that others did; what it cost them is in the manifest."""
    state = RunState.PUBLISHED if counts.published else RunState.OPEN
    summary = RunSummary(
        location=documents.location,
        spec_digest=documents.spec_digest,
        state=RunState.ABORTED if counts.aborted else state,
        plan_generation=documents.generation,
        planned_frames=counts.planned,
        stored_frames=counts.stored,
        quarantined_frames=counts.quarantined,
        planned_shards=documents.plan.shard_count,
        committed_shards=documents.plan.shard_count - len(counts.missing),
        stored_bytes=counts.stored_bytes,
        manifest_key=(
            documents.location.manifest_key(documents.generation) if counts.published else ""
        ),
        create_time=documents.created_at,
        missing=tuple(item.shard for item in counts.missing),
    )
    return RunStored(summary=summary, published=counts.published, lost=(), cost=CostCount().total())
