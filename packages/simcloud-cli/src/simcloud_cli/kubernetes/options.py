"""Where the Job of a run goes and how it is cut."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """As on the command line."""

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
