"""`simcloud run --on kubernetes`: plan, submit, follow, account, print."""

from __future__ import annotations

from pathlib import Path

from simcloud.accounting.report import Report
from simcloud.client.renderer import resolve_renderer
from simcloud.client.run import RunRequest
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.rundoc import load_run, newest_plan
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
    provenance_json,
    stored_by_others,
)
from simcloud_cli.kubernetes.checks import examine_cluster
from simcloud_cli.kubernetes.job_of_run import JobOfRun
from simcloud_cli.kubernetes.jobstate import JobState, Phase
from simcloud_cli.kubernetes.kubectl import Kubectl
from simcloud_cli.kubernetes.liveline import LiveLine
from simcloud_cli.kubernetes.manifests import (
    Overlay,
    check_region,
    read_overlay,
)
from simcloud_cli.kubernetes.options import ClusterOptions
from simcloud_cli.naming import default_run_name
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
        flow.job.say_how_to_go_on()
        raise
    if outcome is None:
        return ExitCode.COMPLETE
    return print_outcome(outcome, allow_quarantine=options.allow_quarantine, json=options.json)


class _Flow:
    """One command's way."""

    def __init__(
        self, spec_file: SpecFile, options: RunOptions, cluster: ClusterOptions, *, folder: Path
    ) -> None:
        self._spec_file = spec_file
        self._options = options
        self._cluster = cluster
        self._folder = folder
        self._kubectl = Kubectl(context=cluster.kube_context)
        self._line = LiveLine()
        self.job = JobOfRun(self._kubectl, self._line, options=options, cluster=cluster)

    async def work(self, session: Session) -> Outcome | None:
        """The whole way; None after a dry run."""
        with self._line:
            overlay = await read_overlay(self._kubectl, self._folder, self._cluster.namespace)
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
                await self.job.show(session.store, overlay, location, plan)
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
        ended = await self.job.ended(session.store, overlay, documents)
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

    def _say_end(self, job: JobState | None, counts: Report) -> None:
        if job is not None and job.phase is Phase.FAILED:
            self._line.say(f"Job {job.name} failed: {job.reason}: {job.message}")
        if job is not None and job.failed_indexes:
            named = ", ".join(map(str, job.failed_indexes[:20]))
            self._line.say(f"indexes given up: {named}")
        if counts.missing:
            self._line.say("the same command with --resume makes a Job for what is missing")
