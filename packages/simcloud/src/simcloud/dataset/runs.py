"""Runs made and published: their documents written once, whoever writes them.

The uploader does both for its callers. Where no uploader can be reached, as from outside of a
cluster, the same is done with S3 alone: every write is conditional, so that one wins.
"""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from simcloud.dataset.committed import committed_shards
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.manifest import newest_generation
from simcloud.dataset.publishing import build_manifest, publish_manifest
from simcloud.dataset.rundoc import (
    RunDocuments,
    is_aborted,
    is_still_there,
    load_run,
    load_spec,
    newest_plan,
    write_plan,
    write_spec,
)
from simcloud.errors import AlreadyExists, PreconditionFailed
from simcloud.s3.objects import ObjectStore
from simcloud.spec.canonical import canonical_json, digest
from simcloud.spec.model import Spec, differing_fields
from simcloud.spec.plan import Plan, ShardFrames

_PLAN_TRIES = 5


class RunIsAborted(PreconditionFailed):
    """The run was aborted: no shard of it can be opened any more."""

    reason = "RUN_ABORTED"


class SpecDiffers(AlreadyExists):
    """The run is of another spec."""

    reason = "SPEC_DIFFERS"


@dataclass(frozen=True, slots=True)
class Created:
    """What ``create_run`` found or made."""

    created: bool
    """Whether this call wrote spec.json."""
    generation: int
    """Of the newest plan."""
    shards: tuple[ShardFrames, ...]
    """Of the newest plan, ascending."""
    committed: tuple[int, ...]
    """Those that have an index, ascending."""


async def create_run(
    store: ObjectStore,
    location: RunLocation,
    *,
    spec: Spec,
    plan: Plan,
    provenance: dict[str, JsonValue],
) -> Created:
    """Creates a run, or brings its next plan.

    Raises:
        SpecDiffers: another spec is there.
        PreconditionFailed: the plan is no growth of the newest; the run is aborted.
    """
    # First, so that nothing is written into a run that is being purged.
    if await is_aborted(store, location):
        raise RunIsAborted(f"{location} was aborted: take another name")
    created = await write_spec(store, location, spec, provenance)
    if not created:
        present = await load_spec(store, location)
        if present.spec_digest != digest(canonical_json(spec)):
            fields = differing_fields(present.spec, spec)
            raise SpecDiffers(
                f"{location} exists with another spec; these fields differ: "
                f"{', '.join(fields)}; take another name, or the same spec",
                spec_digest=present.spec_digest,
                fields=",".join(fields),
            )
    generation, plan = await _bring_plan(store, location, plan)
    shards = tuple(plan.shards())
    present_shards = await committed_shards(store, location)
    return Created(
        created=created,
        generation=generation,
        shards=shards,
        committed=tuple(number for number in present_shards if number < len(shards)),
    )


async def _bring_plan(store: ObjectStore, location: RunLocation, plan: Plan) -> tuple[int, Plan]:
    for _ in range(_PLAN_TRIES):
        newest = await newest_plan(store, location)
        if newest is not None:
            generation, present = newest
            if present == plan:
                return generation, plan
            problem = plan.is_growth_of(present)
            if problem is not None:
                raise PreconditionFailed(
                    f"the plan is no growth of plan {generation} of {location}: {problem}",
                    plan_generation=generation,
                )
        following = 1 if newest is None else newest[0] + 1
        if await write_plan(store, location, plan, following):
            await _keep_plan(store, location, following)
            return following, plan
    raise PreconditionFailed(f"others change the plan of {location} at the same time; repeat")


async def _keep_plan(store: ObjectStore, location: RunLocation, generation: int) -> None:
    """Returns when a plan was written into a run; takes it back when that was purged before."""
    if await store.find(location.bucket, location.spec_key) is None:
        await store.delete_many(location.bucket, [location.plan_key(generation)])
        raise RunIsAborted(f"{location} was aborted and purged meanwhile: create it again")


async def publish_run(
    store: ObjectStore, location: RunLocation, *, provenance: dict[str, JsonValue]
) -> tuple[RunDocuments, bool]:
    """Writes the manifest of the newest plan; True when this call did.

    Raises:
        Unfinished: each missing shard is a violation.
        RunIsAborted: the run was aborted.
    """
    documents = await load_run(store, location)
    if await is_aborted(store, location):
        raise RunIsAborted(f"{location} was aborted")
    created = False
    if await newest_generation(store, location) < documents.generation:
        manifest = await build_manifest(store, documents, provenance=provenance)
        created = await publish_manifest(store, location, manifest)
        if not await is_still_there(store, documents):
            if created:
                key = location.manifest_key(manifest.generation)
                await store.delete_many(location.bucket, [key])
            raise RunIsAborted(f"{location} was aborted and purged")
    return documents, created
