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
from simcloud.dataset.rundoc import RunDocuments
from simcloud.dataset.runs import Created, create_run, publish_run
from simcloud.errors import Corruption, InvalidRequest, NotFound
from simcloud.s3.objects import ObjectStore
from simcloud.s3.retrying import for_each
from simcloud.spec.model import Spec
from simcloud.spec.plan import Plan
from simcloud_uploader.summaries import Summaries

MAX_PROBLEM_CHARS = 1000
_LOOKED_AT_ONCE = 8
"""Runs of a page that are looked at at once."""


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
        return await create_run(
            self._store,
            location,
            spec=spec,
            plan=plan,
            provenance=_provenance(provenance_json),
        )

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
        documents, created = await publish_run(
            self._store, location, provenance=_provenance(provenance_json)
        )
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
