"""Runs: created, grown, looked at, listed, published."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import cast

from pydantic import JsonValue

from simcloud.client._wire import MAX_PROVENANCE_BYTES, RunState, RunSummary
from simcloud.dataset.layout import SCENES, RunLocation, check_bucket, check_prefix, check_run
from simcloud.dataset.manifest import (
    build_manifest,
    committed_shards,
    newest_generation,
    publish_manifest,
)
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
from simcloud.errors import (
    AlreadyExists,
    Corruption,
    InvalidRequest,
    NotFound,
    PreconditionFailed,
)
from simcloud.s3.objects import ObjectStore
from simcloud.s3.retrying import for_each
from simcloud.spec.canonical import canonical_json, digest
from simcloud.spec.model import Spec, differing_fields
from simcloud.spec.plan import Plan, ShardFrames
from simcloud_uploader.ownership import RunIsAborted
from simcloud_uploader.summaries import Summaries

MAX_PROBLEM_CHARS = 1000
_PLAN_TRIES = 5
_LOOKED_AT_ONCE = 8
"""Runs of a page that are looked at at once."""


class SpecDiffers(AlreadyExists):
    """The run is of another spec."""

    reason = "SPEC_DIFFERS"


@dataclass(frozen=True, slots=True)
class Created:
    """What ``create`` found or made."""

    created: bool
    generation: int
    shards: tuple[ShardFrames, ...]
    committed: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of runs."""

    runs: tuple[RunSummary, ...]
    next_page_token: str


class Runs:
    """The runs of one S3, no state of them in memory.

    Args:
        store: S3.
        summaries: looks at runs.
    """

    def __init__(self, store: ObjectStore, summaries: Summaries) -> None:
        self._store = store
        self._summaries = summaries

    async def create(
        self, location: RunLocation, *, spec: Spec, plan: Plan, provenance_json: bytes
    ) -> Created:
        """Creates a run, or brings its next plan.

        Raises:
            SpecDiffers: another spec is there.
            PreconditionFailed: the plan is no growth of the newest; the run is aborted.
        """
        provenance = _provenance(provenance_json)
        # First, so that nothing is written into a run that is being purged.
        if await is_aborted(self._store, location):
            raise RunIsAborted(f"{location} was aborted: take another name")
        created = await write_spec(self._store, location, spec, provenance)
        if not created:
            present = await load_spec(self._store, location)
            if present.spec_digest != digest(canonical_json(spec)):
                fields = differing_fields(present.spec, spec)
                raise SpecDiffers(
                    f"{location} exists with another spec; these fields differ: "
                    f"{', '.join(fields)}; take another name, or the same spec",
                    spec_digest=present.spec_digest,
                    fields=",".join(fields),
                )
        generation, plan = await self._bring_plan(location, plan)
        shards = tuple(plan.shards())
        present_shards = await committed_shards(self._store, location)
        return Created(
            created=created,
            generation=generation,
            shards=shards,
            committed=tuple(number for number in present_shards if number < len(shards)),
        )

    async def _bring_plan(self, location: RunLocation, plan: Plan) -> tuple[int, Plan]:
        for _ in range(_PLAN_TRIES):
            newest = await newest_plan(self._store, location)
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
            if await write_plan(self._store, location, plan, following):
                await self._keep_plan(location, following)
                return following, plan
        raise PreconditionFailed(f"others change the plan of {location} at the same time; repeat")

    async def _keep_plan(self, location: RunLocation, generation: int) -> None:
        """Returns when a plan was written into a run; takes it back when that was purged before."""
        if await self._store.find(location.bucket, location.spec_key) is None:
            await self._store.delete_many(location.bucket, [location.plan_key(generation)])
            raise RunIsAborted(f"{location} was aborted and purged meanwhile: create it again")

    async def get(self, location: RunLocation) -> tuple[RunSummary, RunDocuments]:
        """How far a run is.

        Raises:
            NotFound: there is no such run.
        """
        return await self._summaries.look(location)

    async def list_page(self, bucket: str, prefix: str, *, page_size: int, page_token: str) -> Page:
        """The runs below a prefix, by name, without what they miss."""
        check_bucket(bucket, field="bucket")
        check_prefix(prefix, field="prefix")
        if page_size > 1000:
            raise InvalidRequest("page_size", f"is at most 1000, found {page_size}")
        size = page_size or 100
        after = _decode_token(page_token)
        found: list[RunSummary] = []
        folders = self._store.list_folders(
            bucket, f"{prefix}/" if prefix else "", start_after=after
        )

        async def look(name: str) -> RunSummary | None:
            return await self._listed(bucket, prefix, name)

        async for names in _batches(folders, _LOOKED_AT_ONCE):
            looked = await for_each(names, look, limit=_LOOKED_AT_ONCE)
            found.extend(summary for summary in looked if summary is not None)
            if len(found) > size:
                return Page(tuple(found[:size]), _encode_token(found[size - 1].location.run))
        return Page(tuple(found), "")

    async def _listed(self, bucket: str, prefix: str, name: str) -> RunSummary | None:
        if name == SCENES:
            return None
        try:
            check_run(name)
            location = RunLocation(bucket=bucket, prefix=prefix, run=name)
            spec = await self._store.find(bucket, location.spec_key)
            if spec is None:
                return None  # a folder of someone else's, or a run that is being made or purged
        except InvalidRequest:
            return None
        try:
            summary, _ = await self._summaries.look(location, spec=spec, rules=False)
        except NotFound:
            return None
        except Corruption as error:
            # One damaged run must not hide the others.
            return _damaged(location, error.message, created=spec.last_modified)
        return replace(summary, missing=())

    async def publish(
        self, location: RunLocation, *, provenance_json: bytes
    ) -> tuple[RunSummary, bool]:
        """Writes the manifest of the newest plan; True when this call did.

        Raises:
            Unfinished: each missing shard is a violation.
            RunIsAborted: the run was aborted.
        """
        provenance = _provenance(provenance_json)
        documents = await load_run(self._store, location)
        if await is_aborted(self._store, location):
            raise RunIsAborted(f"{location} was aborted")
        created = False
        if await newest_generation(self._store, location) < documents.generation:
            manifest = await build_manifest(self._store, documents, provenance=provenance)
            created = await publish_manifest(self._store, location, manifest)
            if not await is_still_there(self._store, documents):
                if created:
                    key = location.manifest_key(manifest.generation)
                    await self._store.delete_many(location.bucket, [key])
                raise RunIsAborted(f"{location} was aborted and purged")
        return await self._summaries.summary(documents), created


def _damaged(location: RunLocation, problem: str, *, created: datetime) -> RunSummary:
    return RunSummary(
        location=location,
        spec_digest="",
        state=RunState.OPEN,
        plan_generation=0,
        planned_frames=0,
        stored_frames=0,
        quarantined_frames=0,
        planned_shards=0,
        committed_shards=0,
        stored_bytes=0,
        manifest_key="",
        create_time=created,
        problem=problem[:MAX_PROBLEM_CHARS],
    )


async def _batches(items: AsyncIterator[str], size: int) -> AsyncIterator[list[str]]:
    batch: list[str] = []
    async for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _provenance(data: bytes) -> dict[str, JsonValue]:
    if len(data) > MAX_PROVENANCE_BYTES:
        raise InvalidRequest(
            "provenance_json", f"is at most {MAX_PROVENANCE_BYTES} bytes, found {len(data)}"
        )
    try:
        value = json.loads(data) if data else {}
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("provenance_json", f"is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise InvalidRequest("provenance_json", "is not a JSON object")
    return cast("dict[str, JsonValue]", value)


def _encode_token(run: str) -> str:
    return base64.urlsafe_b64encode(f"after:{run}".encode()).decode()


def _decode_token(token: str) -> str:
    if not token:
        return ""
    try:
        kind, _, run = base64.urlsafe_b64decode(token.encode()).decode().partition(":")
        if kind != "after":
            raise ValueError(kind)
        check_run(run)
    except (ValueError, InvalidRequest) as error:
        raise InvalidRequest("page_token", "is none that this service gave out") from error
    return run
