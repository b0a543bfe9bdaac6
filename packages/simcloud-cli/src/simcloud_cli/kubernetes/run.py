"""`simcloud run --on kubernetes`: plan, submit, follow, account, print."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from simcloud.accounting.report import Report
from simcloud.client.run import RunRequest, resolve_renderer
from simcloud.clock import SYSTEM_CLOCK
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.rundoc import RunDocuments, load_run, newest_plan
from simcloud.dataset.runs import create_run
from simcloud.errors import InvalidRequest, PreconditionFailed, SimcloudError, Violation
from simcloud.scene.store import put_bundle
from simcloud.scoring.job import find_model
from simcloud.spec.canonical import canonical_json, digest
from simcloud.spec.model import Spec
from simcloud.spec.plan import Plan
from simcloud_cli.commands.common import output_folder
from simcloud_cli.embedded import Part
from simcloud_cli.exit_codes import ExitCode
from simcloud_cli.interrupt import Interrupted, run_async
from simcloud_cli.kubernetes.accounting import (
    counted,
    missing_shards,
    provenance_json,
    stored_by_others,
)
from simcloud_cli.kubernetes.checks import examine_cluster
from simcloud_cli.kubernetes.follow import Follower
from simcloud_cli.kubernetes.jobstate import JobState, Phase
from simcloud_cli.kubernetes.kubectl import Kubectl
from simcloud_cli.kubernetes.liveline import LiveLine
from simcloud_cli.kubernetes.manifests import (
    Overlay,
    RunJob,
    as_yaml,
    check_region,
    nameable,
    read_overlay,
    render_run,
    run_label,
)
from simcloud_cli.kubernetes.standstill import Standstill
from simcloud_cli.kubernetes.submit import Attach, Nothing, Submit, apply, decide, find_job
from simcloud_cli.naming import default_run_name
from simcloud_cli.output import console
from simcloud_cli.progress import RunProgress
from simcloud_cli.runflow import RunOptions, plan_asked_for, scored
from simcloud_cli.session import (
    Session,
    check_run_name,
    check_spec,
    current_context,
    in_session,
)
from simcloud_cli.specfile import SpecFile
from simcloud_cli.summary import Outcome, print_outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """Where the Job goes and how it is cut, as on the command line."""

    overlay: Path | None
    namespace: str | None
    """None: the overlay's."""
    kube_context: str | None
    """None: the kubeconfig's current one."""
    pods: int | None
    """At once; None: as the overlay has it."""
    shards_per_task: int | None
    """None: as the overlay has it."""
    resume: bool
    dry_run: bool
    every_s: float
    stuck_minutes: float
    """Longest time in which none of its pods can start."""


def run_on_kubernetes(
    spec_file: SpecFile, options: RunOptions, cluster: ClusterOptions
) -> ExitCode:
    """Makes, joins or goes on with the Job of a spec's run; returns when it has ended.

    Raises:
        PreconditionFailed: the cluster lacks something, or a Job of the run has ended.
        InvalidRequest: spec, overlay or context are wrong.
        Interrupted: Ctrl-C; the Job goes on, and how to join it again was printed.
    """
    if cluster.overlay is None:
        raise InvalidRequest(
            "--overlay",
            "--on kubernetes needs the cluster's kustomization: a folder such as "
            "deploy/k8s/overlays/kind-run, with your images, region and components",
        )
    if options.shards:
        raise InvalidRequest("--shards", "pods share the shards that are missing: leave it out")
    if options.name is not None:
        check_run_name(options.name)
    name, context = current_context()
    if context.embedded:
        raise InvalidRequest(
            "--on",
            f"context {name} is a stack on this machine, whose S3 no pod can reach: name the "
            "cluster's bucket with `simcloud context set NAME bucket=... s3.region=...` and use it "
            "by --context NAME",
        )
    wanted = {Part.GENERATOR: context.generator}
    if options.score:
        wanted[Part.ROUTER] = context.router
    needs = frozenset(part for part, target in wanted.items() if target)
    flow = _Flow(spec_file, options, cluster, folder=cluster.overlay)
    try:
        outcome = run_async(in_session(needs, flow.work))
    except (Interrupted, SimcloudError):
        flow.say_how_to_go_on()
        raise
    if outcome is None:
        return ExitCode.COMPLETE
    return print_outcome(outcome, allow_quarantine=options.allow_quarantine, json=options.json)


class _Flow:
    """One command's way; its state is the Job it is at, for what is printed when it breaks off."""

    def __init__(
        self, spec_file: SpecFile, options: RunOptions, cluster: ClusterOptions, *, folder: Path
    ) -> None:
        self._spec_file = spec_file
        self._options = options
        self._cluster = cluster
        self._folder = folder
        self._kubectl = Kubectl(context=cluster.kube_context)
        self._line = LiveLine()
        self._job = ""
        self._unsure = False
        """Whether the cluster was asked for that Job and has not answered."""
        self._namespace = ""

    async def work(self, session: Session) -> Outcome | None:
        """The whole way; None after a dry run."""
        with self._line:
            overlay = await read_overlay(self._kubectl, self._folder, self._cluster.namespace)
            self._namespace = overlay.namespace
            check_region(overlay, session.context.s3.region)
            if not self._cluster.dry_run:
                await self._refuse_what_cannot_work(overlay)
            spec = await self._resolved(session)
            name = self._options.name or default_run_name(
                self._spec_file.name, digest(canonical_json(spec))
            )
            location = session.location(name)
            await session.store.check_bucket(location.bucket)
            found = await newest_plan(session.store, location)
            counting = self._spec_file.counting
            plan = plan_asked_for(self._options, counting, found[1] if found else None, run=name)
            if self._cluster.dry_run:
                await self._print_job(session, overlay, location, plan)
                return None
            return await self._make(session, overlay, location, spec, plan)

    async def _make(
        self, session: Session, overlay: Overlay, location: RunLocation, spec: Spec, plan: Plan
    ) -> Outcome:
        router = self._options.score and bool(session.context.router)
        if router:
            await find_model(session.router, self._options.model)
        await self._create(session, location, spec, plan)
        self._line.say(f"run {location.run} ({location.uri})")
        documents = await load_run(session.store, location)
        ended = await self._job_ended(session, overlay, documents)
        counts = await counted(session.store, location)
        request = RunRequest(location=location, spec=documents.spec, plan=documents.plan)
        stored = stored_by_others(documents, counts)
        folder = output_folder(self._options.output, session.context.state_dir, location.run)
        scoring = None
        self._line.end()
        if router:
            with RunProgress() as progress:
                scoring = await scored(
                    session, request, stored, progress, folder=folder, options=self._options
                )
        elif self._options.score:
            self._line.say(f"not scored: context {session.name} names no router")
        self._say_end(ended, counts)
        return Outcome(
            location=location,
            spec=documents.spec,
            stored=stored,
            scoring=scoring,
            counts=scoring.counts if scoring is not None else counts,
            partial=False,
            folder=folder,
            context=session.name,
        )

    async def _refuse_what_cannot_work(self, overlay: Overlay) -> None:
        """Before anything is written or billed."""
        findings = await examine_cluster(self._kubectl, overlay)
        wrong = [finding for finding in findings if not finding.ok]
        if not wrong:
            return
        more = f" (and {len(wrong) - 1} more)" * (len(wrong) > 1)
        raise PreconditionFailed(
            f"{wrong[0].name}: {wrong[0].detail}{more}; nothing was made: `simcloud doctor --on "
            f"kubernetes --overlay {self._folder}` lists everything",
            violations=tuple(
                Violation(kind="CLUSTER", subject=item.name, description=item.detail)
                for item in wrong
            ),
        )

    async def _resolved(self, session: Session) -> Spec:
        """The spec with its renderer named: by the generator, or as it was written."""
        spec = self._spec_file.spec
        if session.context.generator:
            return resolve_renderer(spec, await session.generator.describe())
        if "auto" in (spec.renderer.backend, spec.renderer.variant):
            raise InvalidRequest(
                "renderer",
                f"is auto, and context {session.name} names no generator that says what it has: "
                "write `renderer: {backend: mitsuba, variant: llvm_ad_rgb}`, or what your pods "
                f"have, into {self._spec_file.path}",
            )
        return spec

    async def _create(
        self, session: Session, location: RunLocation, spec: Spec, plan: Plan
    ) -> None:
        """Puts the scene, has the spec looked at, writes the run's documents."""
        stored = await put_bundle(
            session.store, self._spec_file.bundle, bucket=location.bucket, prefix=location.prefix
        )
        if stored:
            self._line.say(f"scene stored: {len(self._spec_file.bundle.files)} files")
        if session.context.generator:
            await check_spec(session, self._spec_file, spec, self._line.say)
        await create_run(
            session.store,
            location,
            spec=spec,
            plan=plan,
            provenance=provenance_json(),
        )

    async def _job_ended(
        self, session: Session, overlay: Overlay, documents: RunDocuments
    ) -> JobState | None:
        """Makes or joins the Job and follows it; None when none was needed."""
        location = documents.location
        missing = await missing_shards(session.store, documents.location, documents.plan)
        there = await find_job(self._kubectl, self._namespace, run_label(location))
        match decide(there, missing=len(missing), resume=self._cluster.resume):
            case Nothing():
                self._line.say("every shard is stored: no Job is needed")
                return None
            case Attach(job=name):
                self._line.say(f"joined Job {name}, which is at work")
            case Submit(attempt=attempt):
                job = self._run_job(overlay, location, documents.plan, missing, attempt)
                name = job.name
                items = await render_run(self._kubectl, overlay, job, self._namespace)
                # Before it is asked for: broken off here, it may be there, and bill.
                self._job, self._unsure = name, True
                await apply(self._kubectl, items)
                self._unsure = False
                self._line.say(
                    f"Job {name} in namespace {self._namespace}: {len(missing)} shards, "
                    f"{job.completions} pods, {min(job.parallelism, job.completions)} at once"
                )
        self._job = name
        follower = Follower(
            kubectl=self._kubectl,
            namespace=self._namespace,
            name=name,
            store=session.store,
            documents=documents,
            line=self._line,
            every_s=self._cluster.every_s,
            standstill=Standstill(patience_s=self._cluster.stuck_minutes * 60, clock=SYSTEM_CLOCK),
        )
        ended = await follower.follow()
        self._job = ""
        if ended is None:
            raise PreconditionFailed(
                f"Job {name} was deleted: what is stored stays; the same command makes a new Job "
                "for what is missing"
            )
        return ended

    def _run_job(
        self,
        overlay: Overlay,
        location: RunLocation,
        plan: Plan,
        missing: tuple[int, ...],
        attempt: int,
    ) -> RunJob:
        return RunJob(
            location=location,
            plan=plan,
            shards=nameable(missing),
            shards_per_task=self._cluster.shards_per_task or overlay.shards_per_task,
            parallelism=self._cluster.pods or overlay.parallelism,
            attempt=attempt,
            allow_mixed_fingerprints=self._options.allow_mixed_fingerprints,
            allow_quarantine=self._options.allow_quarantine,
        )

    async def _print_job(
        self, session: Session, overlay: Overlay, location: RunLocation, plan: Plan
    ) -> None:
        missing = await missing_shards(session.store, location, plan)
        there = await self._job_there(location)
        match decide(there, missing=len(missing), resume=self._cluster.resume):
            case Nothing():
                self._line.say("every shard is stored: no Job is needed")
            case Attach(job=name):
                self._line.say(f"Job {name} is at work: it would be joined, and none made")
            case Submit(attempt=attempt):
                job = self._run_job(overlay, location, plan, missing, attempt)
                items = await render_run(self._kubectl, overlay, job, self._namespace)
                sys.stdout.write(as_yaml(items))

    async def _job_there(self, location: RunLocation) -> JobState | None:
        """The run's Job for a dry run, which needs no cluster."""
        try:
            return await find_job(self._kubectl, self._namespace, run_label(location))
        except SimcloudError as error:
            self._line.say(
                f"whether there is a Job of this run is not known ({error.message}): what follows "
                "is for a cluster without one"
            )
            return None

    def _say_end(self, job: JobState | None, counts: Report) -> None:
        if job is not None and job.phase is Phase.FAILED:
            self._line.say(f"Job {job.name} failed: {job.reason}: {job.message}")
        if job is not None and job.failed_indexes:
            named = ", ".join(map(str, job.failed_indexes[:20]))
            self._line.say(f"indexes given up: {named}")
        if counts.missing:
            self._line.say("the same command with --resume makes a Job for what is missing")

    def say_how_to_go_on(self) -> None:
        """What is printed when following breaks off."""
        if not self._job:
            return
        where = f"--namespace {self._namespace}"
        if self._cluster.kube_context:
            where += f" --context {self._cluster.kube_context}"
        out = console(stderr=True)
        if self._unsure:
            out.print(
                f"Job {self._job} may have been made, and goes on then; the same command joins it, "
                f"kubectl {where} get job {self._job} shows it",
                markup=False,
            )
        else:
            out.print(f"Job {self._job} goes on without us; the same command joins it again")
        out.print(f"cancel it with: kubectl {where} delete job {self._job}", markup=False)
