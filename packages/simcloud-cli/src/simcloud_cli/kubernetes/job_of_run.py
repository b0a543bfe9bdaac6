"""The Job of a run: made or joined, followed to its end, or only shown."""

from __future__ import annotations

import sys

from simcloud.clock import SYSTEM_CLOCK
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.rundoc import RunDocuments
from simcloud.errors import PreconditionFailed, SimcloudError
from simcloud.s3.objects import ObjectStore
from simcloud.spec.plan import Plan
from simcloud_cli.kubernetes.accounting import missing_shards
from simcloud_cli.kubernetes.follow import Follower
from simcloud_cli.kubernetes.jobstate import JobState
from simcloud_cli.kubernetes.kubectl import Kubectl
from simcloud_cli.kubernetes.liveline import LiveLine
from simcloud_cli.kubernetes.manifests import (
    Overlay,
    RunJob,
    as_yaml,
    nameable,
    render_run,
    run_label,
)
from simcloud_cli.kubernetes.options import ClusterOptions
from simcloud_cli.kubernetes.standstill import Standstill
from simcloud_cli.kubernetes.submit import Attach, Nothing, Submit, apply, decide, find_job
from simcloud_cli.output import console
from simcloud_cli.runflow import RunOptions


class JobOfRun:
    """One command's; its state is what is printed of the Job when the command breaks off.

    Args:
        kubectl: asks the cluster.
        line: where it is said what is done.
        options: of the run.
        cluster: of its Job.
    """

    def __init__(
        self, kubectl: Kubectl, line: LiveLine, *, options: RunOptions, cluster: ClusterOptions
    ) -> None:
        self._kubectl = kubectl
        self._line = line
        self._options = options
        self._cluster = cluster
        self._namespace = ""
        self._name = ""
        """Empty unless there is one that goes on when the command breaks off."""
        self._unsure = False
        """Whether the cluster was asked for it and has not answered."""

    async def ended(
        self, store: ObjectStore, overlay: Overlay, documents: RunDocuments
    ) -> JobState | None:
        """Makes or joins it and follows it to its end; None when none was needed.

        Raises:
            PreconditionFailed: it ended before and is not to be resumed, or was deleted.
        """
        self._namespace = overlay.namespace
        location = documents.location
        missing = await missing_shards(store, location, documents.plan)
        there = await find_job(self._kubectl, self._namespace, run_label(location))
        match decide(there, missing=len(missing), resume=self._cluster.resume):
            case Nothing():
                self._line.say("every shard is stored: no Job is needed")
                return None
            case Attach(job=name):
                self._line.say(f"joined Job {name}, which is at work")
            case Submit(attempt=attempt):
                job = self._described(overlay, location, documents.plan, missing, attempt)
                name = job.name
                items = await render_run(self._kubectl, overlay, job, self._namespace)
                # Before it is asked for: broken off here, it may be there, and bill.
                self._name, self._unsure = name, True
                await apply(self._kubectl, items)
                self._unsure = False
                self._line.say(
                    f"Job {name} in namespace {self._namespace}: {len(missing)} shards, "
                    f"{job.completions} pods, {min(job.parallelism, job.completions)} at once"
                )
        self._name = name
        follower = Follower(
            kubectl=self._kubectl,
            namespace=self._namespace,
            name=name,
            store=store,
            documents=documents,
            line=self._line,
            every_s=self._cluster.every_s,
            standstill=Standstill(patience_s=self._cluster.stuck_minutes * 60, clock=SYSTEM_CLOCK),
        )
        ended = await follower.follow()
        self._name = ""
        if ended is None:
            raise PreconditionFailed(
                f"Job {name} was deleted: what is stored stays; the same command makes a new Job "
                "for what is missing"
            )
        return ended

    def _described(
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

    async def show(
        self, store: ObjectStore, overlay: Overlay, location: RunLocation, plan: Plan
    ) -> None:
        """Prints what would be made."""
        self._namespace = overlay.namespace
        missing = await missing_shards(store, location, plan)
        there = await self._found(location)
        match decide(there, missing=len(missing), resume=self._cluster.resume):
            case Nothing():
                self._line.say("every shard is stored: no Job is needed")
            case Attach(job=name):
                self._line.say(f"Job {name} is at work: it would be joined, and none made")
            case Submit(attempt=attempt):
                job = self._described(overlay, location, plan, missing, attempt)
                items = await render_run(self._kubectl, overlay, job, self._namespace)
                sys.stdout.write(as_yaml(items))

    async def _found(self, location: RunLocation) -> JobState | None:
        """The run's Job for a dry run, which needs no cluster."""
        try:
            return await find_job(self._kubectl, self._namespace, run_label(location))
        except SimcloudError as error:
            self._line.say(
                f"whether there is a Job of this run is not known ({error.message}): what follows "
                "is for a cluster without one"
            )
            return None

    def say_how_to_go_on(self) -> None:
        """What is printed when following breaks off."""
        if not self._name:
            return
        where = f"--namespace {self._namespace}"
        if self._cluster.kube_context:
            where += f" --context {self._cluster.kube_context}"
        out = console(stderr=True)
        if self._unsure:
            out.print(
                f"Job {self._name} may have been made, and goes on then; the same command joins "
                f"it, kubectl {where} get job {self._name} shows it",
                markup=False,
            )
        else:
            out.print(f"Job {self._name} goes on without us; the same command joins it again")
        out.print(f"cancel it with: kubectl {where} delete job {self._name}", markup=False)
