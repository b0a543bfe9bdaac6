"""`run` and `resume` without their options' words: plan, generate, score, print."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from simcloud.accounting.plan import select_shards
from simcloud.accounting.reconcile import reconcile
from simcloud.client.events import RunStored
from simcloud.client.renderer import resolve_renderer
from simcloud.client.run import RunRequest
from simcloud.client.uploader import Run, RunState
from simcloud.dataset.layout import RunLocation
from simcloud.errors import InvalidRequest, NotFound, SimcloudError
from simcloud.scene.store import put_bundle
from simcloud.scoring.job import find_model
from simcloud.spec.canonical import canonical_json, digest
from simcloud.spec.plan import DEFAULT_FRAMES_PER_SHARD, CountingRule, Plan
from simcloud_cli.commands.common import output_folder
from simcloud_cli.embedded import Part
from simcloud_cli.exit_codes import ExitCode
from simcloud_cli.flow import Scoring, generate, score_and_report
from simcloud_cli.interrupt import Interrupted, run_async
from simcloud_cli.naming import default_run_name, provenance
from simcloud_cli.output import console
from simcloud_cli.progress import RunProgress
from simcloud_cli.session import Session, check_run_name, check_spec, in_session
from simcloud_cli.specfile import SpecFile
from simcloud_cli.summary import Outcome, print_outcome

DEFAULT_FRAMES = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """Options of `run` and `resume`, as on the command line."""

    frames: int | None
    frames_per_shard: int | None
    name: str | None
    shards: str
    shards_per_task: int
    model: str
    score: bool
    allow_mixed_fingerprints: bool
    allow_quarantine: int
    preview: bool
    output: Path | None
    json: bool


Prepare = Callable[[Session, RunProgress], Awaitable[RunRequest]]


def run_spec(spec_file: SpecFile, options: RunOptions) -> ExitCode:
    """Makes, or goes on with, the run of a spec."""

    async def prepare(session: Session, progress: RunProgress) -> RunRequest:
        # Whatever can be refused is refused here: nothing is rendered, and no run is made.
        description = await session.generator.describe()
        spec = resolve_renderer(spec_file.spec, description)
        for check in description.backends[0].preflight:
            if not check.ok:
                progress.say(f"note: {check.detail}")
        name = options.name or default_run_name(spec_file.name, digest(canonical_json(spec)))
        location = session.location(name)
        await session.store.check_bucket(location.bucket)
        existing = await _existing(session, location)
        plan = plan_asked_for(
            options, spec_file.counting, existing.plan if existing else None, run=name
        )
        shards = _shards(options, plan)
        if options.score:
            await find_model(session.router, options.model)
        stored = await put_bundle(
            session.store, spec_file.bundle, bucket=location.bucket, prefix=location.prefix
        )
        if stored:
            progress.say(f"scene stored: {len(spec_file.bundle.files)} files")
        if existing is None:
            # The spec of a run that is there was looked at when the run was made.
            await check_spec(session, spec_file, spec, progress.say)
        return RunRequest(
            location=location,
            spec=spec,
            plan=plan,
            shards=shards,
            allow_mixed_fingerprints=options.allow_mixed_fingerprints,
            provenance=provenance(),
            preview=options.preview,
        )

    if options.name is not None:
        check_run_name(options.name)
    return _drive(prepare, options)


def resume_run(name: str, options: RunOptions) -> ExitCode:
    """Goes on with a run by its documents in S3."""

    async def prepare(session: Session, progress: RunProgress) -> RunRequest:
        del progress
        location = session.location(name)
        found = await session.uploader.get_run(location)
        if options.score:
            await find_model(session.router, options.model)
        return RunRequest(
            location=location,
            spec=found.spec,
            plan=found.plan,
            shards=_shards(options, found.plan),
            allow_mixed_fingerprints=options.allow_mixed_fingerprints,
            provenance=provenance(),
            preview=False,
        )

    check_run_name(name)
    return _drive(prepare, options)


def _drive(prepare: Prepare, options: RunOptions) -> ExitCode:
    progress = RunProgress()

    async def work(session: Session) -> Outcome:
        with progress:
            request = await prepare(session, progress)
            progress.say(f"run {request.location.run} ({request.location.uri})")
            folder = output_folder(options.output, session.context.state_dir, request.location.run)
            stored = await generate(session, request, progress, folder)
            scoring = await scored(
                session, request, stored, progress, folder=folder, options=options
            )
            if scoring is not None:
                counts = scoring.counts
            else:
                counts = await reconcile(session.store, request.location)
        return Outcome(
            location=request.location,
            spec=request.spec,
            stored=stored,
            scoring=scoring,
            counts=counts,
            partial=request.shards is not None,
            folder=folder,
            context=session.name,
        )

    needs = {Part.GENERATOR, Part.UPLOADER} | ({Part.ROUTER} if options.score else set())
    try:
        outcome = run_async(in_session(frozenset(needs), work))
    except (Interrupted, SimcloudError):
        if progress.run is not None:
            console(stderr=True).print(
                f"what is stored stays; go on with: simcloud resume {progress.run}", markup=False
            )
        raise
    return print_outcome(outcome, allow_quarantine=options.allow_quarantine, json=options.json)


async def scored(
    session: Session,
    request: RunRequest,
    stored: RunStored,
    progress: RunProgress,
    *,
    folder: Path,
    options: RunOptions,
) -> Scoring | None:
    """Scoring, when the whole run is published: a part of it says nothing about a model."""
    if not options.score or not stored.published:
        return None
    return await score_and_report(
        session,
        request.location,
        options.model,
        progress,
        folder,
        cost=stored.cost if stored.cost.rendered_frames else None,
    )


async def _existing(session: Session, location: RunLocation) -> Run | None:
    try:
        found = await session.uploader.get_run(location)
    except NotFound:
        return None
    return None if found.summary.state is RunState.ABORTED else found


def plan_asked_for(
    options: RunOptions, counting: CountingRule, existing: Plan | None, *, run: str
) -> Plan:
    """The plan asked for; what wasn't said is as the run has it.

    Raises:
        InvalidRequest: the run that is there can't become that.
    """
    if existing is None:
        return Plan(
            frames=options.frames or DEFAULT_FRAMES,
            frames_per_shard=options.frames_per_shard or DEFAULT_FRAMES_PER_SHARD,
            counting=counting,
        )
    frames = options.frames or existing.frames
    if frames < existing.frames:
        raise InvalidRequest(
            "--frames",
            f"run {run} has {existing.frames} frames and can't shrink to {frames}: ask for as many "
            "or more, or take another --name",
        )
    frames_per_shard = options.frames_per_shard or existing.frames_per_shard
    if frames_per_shard != existing.frames_per_shard:
        raise InvalidRequest(
            "--frames-per-shard",
            f"run {run} has {existing.frames_per_shard} and can't change to {frames_per_shard}: "
            "leave the option out, or take another --name",
        )
    return existing.model_copy(update={"frames": frames})


def _shards(options: RunOptions, plan: Plan) -> frozenset[int] | None:
    if not options.shards:
        return None
    return frozenset(
        select_shards(
            options.shards, shard_count=plan.shard_count, shards_per_task=options.shards_per_task
        )
    )
