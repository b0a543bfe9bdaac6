"""A run's documents: `spec.json`, which never changes, and `plans/NNNN.json`, which may grow."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from simcloud.dataset.layout import KeyKind, RunLocation
from simcloud.errors import Corruption, InvalidRequest, NotFound
from simcloud.s3.answers import Body
from simcloud.s3.errors import NoSuchKey
from simcloud.s3.objects import ObjectStore
from simcloud.spec.canonical import canonical_bytes, canonical_json, digest, first_problem, parse
from simcloud.spec.model import Spec
from simcloud.spec.plan import Plan

RUN_VERSION = "simcloud.run/v1"


class RunDocument(BaseModel):
    """``spec.json``: RFC 8785 JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: str = RUN_VERSION
    """Version of this document."""
    digest: str
    """SHA-256 over the RFC 8785 JSON of ``spec``, lower-case hex."""
    spec: dict[str, JsonValue]
    """The spec with every default filled in."""
    provenance: dict[str, JsonValue] = {}
    """Who and what created the run; not part of the digest."""


@dataclass(frozen=True, slots=True)
class RunDocuments:
    """A run as it was asked for."""

    location: RunLocation
    spec: Spec
    spec_json: bytes
    """RFC 8785 JSON of the spec."""
    spec_digest: str
    provenance: dict[str, JsonValue]
    created_at: datetime
    """When spec.json was written, by S3's clock."""
    plan: Plan
    """The newest."""
    plan_json: bytes
    """RFC 8785 JSON of the plan."""
    generation: int
    """Of the plan, from 1."""

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, in the spec's order."""
        return tuple(camera.name for camera in self.spec.cameras)

    @property
    def planned_frames(self) -> int:
        """Frame keys that the plan asks for: frames times cameras."""
        return self.plan.frames * len(self.spec.cameras)


async def write_spec(
    store: ObjectStore, location: RunLocation, spec: Spec, provenance: dict[str, JsonValue]
) -> bool:
    """Writes spec.json if there is none; True when this call created the run.

    When it returns False another has: compare with ``load_spec``.
    """
    spec_json = canonical_json(spec)
    document = RunDocument(
        digest=digest(spec_json), spec=spec.model_dump(mode="json"), provenance=provenance
    )
    outcome = await store.put_if_absent(
        location.bucket, location.spec_key, canonical_json(document)
    )
    return outcome.created


async def write_plan(
    store: ObjectStore, location: RunLocation, plan: Plan, generation: int
) -> bool:
    """Writes a generation of the plan if there is none; True when this call wrote it."""
    outcome = await store.put_if_absent(
        location.bucket, location.plan_key(generation), canonical_json(plan)
    )
    return outcome.created


@dataclass(frozen=True, slots=True)
class SpecOfRun:
    """spec.json, read and checked."""

    spec: Spec
    spec_json: bytes
    spec_digest: str
    provenance: dict[str, JsonValue]
    created_at: datetime


async def load_spec(store: ObjectStore, location: RunLocation) -> SpecOfRun:
    """The spec of a run.

    Raises:
        NotFound: there is no such run.
        Corruption: spec.json is not what its digest says.
    """
    try:
        body = await store.get(location.bucket, location.spec_key)
    except NoSuchKey as error:
        raise no_such_run(location) from error
    return spec_of(location, body)


def no_such_run(location: RunLocation) -> NotFound:
    """The error of who asks for a run that has no spec.json."""
    return NotFound(
        f"there is no run {location}: {location.spec_key} does not exist; create it or list "
        "the runs below the prefix"
    )


def spec_of(location: RunLocation, body: Body) -> SpecOfRun:
    """The spec in the bytes of spec.json.

    Raises:
        Corruption: they are not what their digest says.
    """
    where = f"s3://{location.bucket}/{location.spec_key}"
    document = _document(body.data, where)
    spec_json = canonical_bytes(document.spec)
    if digest(spec_json) != document.digest:
        raise Corruption(f"{where}: the spec's digest is not {document.digest}")
    try:
        spec = parse(Spec, spec_json, field="spec")
    except InvalidRequest as error:
        raise Corruption(f"{where}: written by another version of Simcloud? {error}") from error
    return SpecOfRun(
        spec=spec,
        spec_json=spec_json,
        spec_digest=document.digest,
        provenance=document.provenance,
        created_at=body.info.last_modified,
    )


async def newest_plan(store: ObjectStore, location: RunLocation) -> tuple[int, Plan] | None:
    """Generation and plan of the newest one; None when there is none.

    Raises:
        Corruption: a plan that can't be read, or a gap in the generations.
    """
    generations = []
    async for row in store.list_keys(location.bucket, location.plans_prefix):
        key = location.parse(row.key)
        if key is not None and key.kind is KeyKind.PLAN:
            generations.append(key.number)
    newest = newest_of(location, generations)
    return (newest, await load_plan(store, location, newest)) if newest else None


def newest_of(location: RunLocation, generations: Iterable[int]) -> int:
    """The newest of the plans that are there; 0 when there is none.

    Raises:
        Corruption: a gap in the generations.
    """
    found = sorted(generations)
    if found != list(range(1, len(found) + 1)):
        raise Corruption(f"{location}: plans {found} are not 1 to {found[-1]}")
    return len(found)


async def load_plan(store: ObjectStore, location: RunLocation, generation: int) -> Plan:
    """A generation of the plan.

    Raises:
        NoSuchKey: there is none.
        Corruption: it can't be read.
    """
    return plan_of(location, await store.get(location.bucket, location.plan_key(generation)))


def plan_of(location: RunLocation, body: Body) -> Plan:
    """The plan in the bytes of an object.

    Raises:
        Corruption: it can't be read.
    """
    try:
        return parse(Plan, body.data, field="plan")
    except InvalidRequest as error:
        raise Corruption(f"s3://{location.bucket}/{body.info.key}: {error}") from error


async def load_run(store: ObjectStore, location: RunLocation) -> RunDocuments:
    """The spec and the newest plan of a run.

    Raises:
        NotFound: there is no such run, or it was created half: spec.json without a plan.
        Corruption: a document can't be read.
    """
    spec = await load_spec(store, location)
    found = await newest_plan(store, location)
    if found is None:
        raise no_plan(location)
    generation, plan = found
    return documents_of(location, spec, plan, generation)


def no_plan(location: RunLocation) -> NotFound:
    """The error of a run that was created half."""
    return NotFound(f"run {location} has a spec and no plan: create it again with its plan")


def documents_of(
    location: RunLocation,
    spec: SpecOfRun,
    plan: Plan,
    generation: int,
    *,
    plan_json: bytes = b"",
) -> RunDocuments:
    """A run's documents together; ``plan_json`` is the plan's RFC 8785 JSON, where it is known."""
    return RunDocuments(
        location=location,
        spec=spec.spec,
        spec_json=spec.spec_json,
        spec_digest=spec.spec_digest,
        provenance=spec.provenance,
        created_at=spec.created_at,
        plan=plan,
        plan_json=plan_json or canonical_json(plan),
        generation=generation,
    )


async def is_aborted(store: ObjectStore, location: RunLocation) -> bool:
    """Whether the run was aborted."""
    return await store.find(location.bucket, location.aborted_key) is not None


async def is_still_there(store: ObjectStore, run: RunDocuments) -> bool:
    """Whether the run that was read is there: not purged since, nor purged and made anew.

    One HEAD. A purge deletes spec.json before it lists what else to delete. So who writes into a
    run and then finds it still there knows that a purge will find what was written; who does not
    takes the write back.
    """
    info = await store.find(run.location.bucket, run.location.spec_key)
    return info is not None and info.last_modified == run.created_at


def _document(data: bytes, where: str) -> RunDocument:
    try:
        document = RunDocument.model_validate(json.loads(data))
    except ValidationError as error:
        path, problem = first_problem(error)
        raise Corruption(f"{where}: {path}: {problem}") from error
    except ValueError as error:
        raise Corruption(f"{where} is not JSON: {error}") from error
    if document.version != RUN_VERSION:
        raise Corruption(f"{where} is of version {document.version!r}, not {RUN_VERSION!r}")
    return document
