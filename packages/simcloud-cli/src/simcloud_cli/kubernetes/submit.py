"""Whether a run's Job is made, joined or refused, and making it."""

from __future__ import annotations

from dataclasses import dataclass

from simcloud.errors import NotFound, PreconditionFailed
from simcloud_cli.kubernetes.jobstate import JobState, Phase, newest
from simcloud_cli.kubernetes.kubectl import Kubectl, Manifest
from simcloud_cli.kubernetes.manifests import RUN_LABEL, as_yaml

FIELD_MANAGER = "simcloud"
"""Who the cluster notes as the owner of what is applied."""


@dataclass(frozen=True, slots=True)
class Attach:
    """A Job is at work on the run: it is followed."""

    job: str


@dataclass(frozen=True, slots=True)
class Submit:
    """A new Job."""

    attempt: int


@dataclass(frozen=True, slots=True)
class Nothing:
    """Every shard is stored: no Job is needed."""


def decide(job: JobState | None, *, missing: int, resume: bool) -> Attach | Submit | Nothing:
    """What is to be done about a run.

    Args:
        job: of the newest attempt; None when the cluster has none of the run.
        missing: shards that are not stored.
        resume: whether a new Job may follow one that has ended.

    Raises:
        PreconditionFailed: a Job has ended, shards are missing, and ``resume`` was not said.
    """
    if job is not None and job.phase is Phase.ACTIVE:
        return Attach(job.name)
    if not missing:
        return Nothing()
    if job is None:
        return Submit(1)
    if not resume:
        raise PreconditionFailed(
            f"Job {job.name} is {job.phase.value}{_why(job)} and {missing} shards are not stored: "
            "the same command with --resume makes a new Job for those alone"
        )
    return Submit(job.attempt + 1)


async def find_job(kubectl: Kubectl, namespace: str, label: str) -> JobState | None:
    """The newest Job of a run in the cluster."""
    found = await kubectl.ask(
        "get", "jobs.batch", f"--namespace={namespace}", f"--selector={RUN_LABEL}={label}", "-ojson"
    )
    return newest(found["items"])


async def apply(kubectl: Kubectl, items: tuple[Manifest, ...]) -> None:
    """Makes everything, the Job last; the same again changes nothing.

    By server-side apply: the API server checks each field and merges, so that a field that someone
    else set is a conflict that is told, not lost.

    Raises:
        SimcloudError: the cluster refuses one; it is named.
    """
    try:
        await kubectl.text(
            "apply",
            "--server-side",
            f"--field-manager={FIELD_MANAGER}",
            "--filename=-",
            stdin=as_yaml(items),
        )
    except NotFound as error:
        raise PreconditionFailed(
            f"the cluster lacks something that the overlay needs: {error.message}; "
            "`simcloud doctor --on kubernetes` looks at all of it"
        ) from error


def _why(job: JobState) -> str:
    words = ": ".join(filter(None, (job.reason, job.message)))
    return f" ({words})" if words else ""
