"""A Job followed to its end: what S3 has of the run, and what its pods are about."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from simcloud.clock import SYSTEM_CLOCK, Clock
from simcloud.dataset.committed import Collected, collect_shards
from simcloud.dataset.index import ShardRecord, load_shard_record
from simcloud.dataset.rundoc import RunDocuments
from simcloud.errors import Transient
from simcloud.s3.objects import ObjectStore
from simcloud_cli.kubernetes.jobstate import JobState, Phase, job_state, troubles
from simcloud_cli.kubernetes.kubectl import Kubectl, Manifest
from simcloud_cli.kubernetes.liveline import LiveLine
from simcloud_cli.kubernetes.standstill import Standstill

_PATIENCE_S = 600.0
"""How long a cluster or S3 may be out of reach before following is given up; the Job goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One look at a Job."""

    job: JobState
    pods: tuple[Manifest, ...]
    """Those that have not succeeded."""
    stored: Collected


@dataclass(slots=True, kw_only=True)
class Follower:
    """Looks at a Job until it has ended.

    Cancelling it leaves the Job as it is.
    """

    kubectl: Kubectl
    namespace: str
    name: str
    """Of the Job."""
    store: ObjectStore
    documents: RunDocuments
    line: LiveLine
    every_s: float
    """Between looks, seconds."""
    standstill: Standstill
    """How long no pod of it may be able to start."""
    clock: Clock = SYSTEM_CLOCK
    # What follows is its state: indexes that were read, and pods' troubles that were told.
    _records: dict[tuple[int, str], ShardRecord] = field(default_factory=dict)
    _told: set[tuple[str, str]] = field(default_factory=set)

    async def follow(self) -> JobState | None:
        """Returns the Job as it was when it had ended; None: it was deleted.

        Raises:
            Transient: cluster or S3 were out of reach for ten minutes.
            PreconditionFailed: none of its pods could start for too long.
        """
        since: float | None = None
        while True:
            try:
                look = await self._look()
            except Transient as error:
                now = self.clock.monotonic()
                since = now if since is None else since
                if now - since > _PATIENCE_S:
                    raise
                self._tell("", type(error).__name__, f"waiting: {error.message}")
            else:
                if look is None:
                    return None
                since = None
                self.line.show(look_in_words(look, self.documents), look.stored, self.documents)
                if look.job.phase is not Phase.ACTIVE:
                    return look.job
                self.standstill.check(look.job, look.pods)
            await asyncio.sleep(self.every_s)

    async def _look(self) -> Look | None:
        job = await self.kubectl.find(
            "get", "job.batch", self.name, f"--namespace={self.namespace}", "-ojson"
        )
        if job is None:
            return None
        # Those that have succeeded may be many, and there is nothing to tell of them.
        pods: list[Manifest] = (
            await self.kubectl.ask(
                "get",
                "pods",
                f"--namespace={self.namespace}",
                f"--selector=batch.kubernetes.io/job-name={self.name}",
                "--field-selector=status.phase!=Succeeded",
                "-ojson",
            )
        )["items"]
        for trouble in troubles(pods):
            self._tell(trouble.pod, trouble.kind, trouble.line)
        return Look(
            job=job_state(job),
            pods=tuple(pods),
            stored=await collect_shards(self.store, self.documents, read=self._read),
        )

    async def _read(self, shard: int, etag: str) -> ShardRecord:
        key = (shard, etag)
        if key not in self._records:
            self._records[key] = await load_shard_record(self.store, self.documents.location, shard)
        return self._records[key]

    def _tell(self, pod: str, kind: str, line: str) -> None:
        if (pod, kind) not in self._told:
            self._told.add((pod, kind))
            self.line.say(line)


def look_in_words(look: Look, documents: RunDocuments) -> str:
    """A look in one line."""
    stored = look.stored
    words = [
        f"{stored.stored_frames + stored.quarantined_frames} of {documents.planned_frames} frames"
    ]
    if stored.quarantined_frames:
        words.append(f"{stored.quarantined_frames} of them quarantined")
    words.append(f"{len(stored.records)} of {documents.plan.shard_count} shards")
    words.append(f"pods: {_pods(look)}")
    return ", ".join(words)


def _pods(look: Look) -> str:
    job = look.job
    phases = Counter(pod.get("status", {}).get("phase", "Pending") for pod in look.pods)
    counts = [
        (phases["Running"], "running"),
        (phases["Pending"], "pending"),
        (job.succeeded, f"of {job.completions} done"),
        (len(job.failed_indexes), "given up"),
    ]
    text = ", ".join(f"{count} {word}" for count, word in counts if count or "done" in word)
    return f"{text} (suspended)" if job.suspended else text
