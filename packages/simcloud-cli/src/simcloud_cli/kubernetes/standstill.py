"""A Job of which no pod can start: told in one line after a while, instead of followed for ever.

The Job itself has no deadline: one would also end a run that works for a week.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from simcloud.clock import Clock
from simcloud.errors import PreconditionFailed
from simcloud_cli.kubernetes.jobstate import JobState, Phase, Trouble, troubles
from simcloud_cli.kubernetes.kubectl import Manifest

_ENDED = {"Succeeded", "Failed"}


def kept_from_starting(pods: Sequence[Manifest]) -> tuple[Trouble, ...] | None:
    """What keeps every pod that has not ended from starting; None: one works or is on its way.

    Args:
        pods: of one Job. None left is a standstill too: a quota or an admission rule forbids them,
            and that is told by the Job's events alone.
    """
    found = []
    for pod in pods:
        phase = pod.get("status", {}).get("phase", "Pending")
        if phase in _ENDED:
            continue
        trouble = next(troubles([pod]), None)
        # One that is interrupted is on its way out, and its index starts again.
        if phase != "Pending" or trouble is None or trouble.kind == "DisruptionTarget":
            return None
        found.append(trouble)
    return tuple(found)


@dataclass(slots=True, kw_only=True)
class Standstill:
    """How long nothing of a Job could start."""

    patience_s: float
    """Longest time, seconds."""
    clock: Clock
    _since: float | None = field(default=None)

    def check(self, job: JobState, pods: Sequence[Manifest]) -> None:
        """Returns while there is hope; is told each look at a Job and its pods.

        Raises:
            PreconditionFailed: no pod could start for that long; it says why, and what mends it.
        """
        # A Job that somebody or a queue suspended waits because that was wanted.
        waits = job.phase is Phase.ACTIVE and not job.suspended
        found = kept_from_starting(pods) if waits else None
        if found is None:
            self._since = None
            return
        now = self.clock.monotonic()
        if self._since is None:
            self._since = now
        if now - self._since < self.patience_s:
            return
        why = "there is none (`kubectl describe job` says who forbids it: a quota, an admission)"
        if found:
            why = found[0].line + f" (and {len(found) - 1} more)" * (len(found) > 1)
        raise PreconditionFailed(
            f"no pod of Job {job.name} could start for {self.patience_s / 60:g} min: {why}; the "
            "Job stays, and its pods start once that is mended; what the overlay says is in the "
            "Job, so after a change of it delete the Job first"
        )
