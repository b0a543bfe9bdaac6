"""What the service and its worker processes say to each other, over one pipe a worker."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from simcloud.dataset.frames import EncodedFrame
from simcloud_generator.backends.isaac.settings import IsaacSettings
from simcloud_generator.backends.mitsuba.variant import Verdict


@dataclass(frozen=True, slots=True)
class Preflight:
    """One thing looked at before work is taken."""

    name: str
    ok: bool
    detail: str
    """What was found and, if not ok, what it costs and what to do."""


@dataclass(frozen=True, slots=True)
class WorkerConfiguration:
    """What a worker needs to know before its first job."""

    variant: str
    """Variant of the Mitsuba backend; ``auto`` takes the best that works on this machine."""
    threads: int
    """Threads of one worker's renderer."""
    kernel_cache: Path
    """Folder of compiled kernels, shared by all workers."""
    backend: str = "mitsuba"
    """``mitsuba`` or ``isaac``: which renderer a worker is, for life."""
    isaac: IsaacSettings = field(default_factory=IsaacSettings)
    """Of the Isaac backend."""
    place: int = 0
    """Which of the pool's workers this is; on Isaac it chooses the GPU."""
    preflight: tuple[Preflight, ...] = ()
    """What the service has looked at already."""
    verdicts: tuple[Verdict, ...] = ()
    """Variants of the Mitsuba backend that were tried already, so that no worker has to."""


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """First message of a worker: who renders."""

    backend: str
    variant: str
    variants: tuple[str, ...]
    """Variants that it can honour, the one in force first."""
    stochastic: bool
    fingerprint: str
    """Digest of the render fingerprint."""
    fingerprint_json: str
    preflight: tuple[Preflight, ...]
    """What was looked at before work is taken."""


@dataclass(frozen=True, slots=True)
class RenderJob:
    """One frame to make."""

    stage: Path
    """Root layer of the scene in the cache."""
    spec_json: bytes
    """Canonical JSON of the spec."""
    split: str
    """The frame's split by the run's plan."""
    frame: int
    quarantine: str = ""
    """Not empty: do not render, but answer a quarantined frame with this reason (a frame that
    killed its worker twice still has its parameters and its place in the shard)."""


@dataclass(frozen=True, slots=True)
class InspectJob:
    """A scene to be opened and a spec to be tried on it, without a picture."""

    stage: Path
    spec_json: bytes


@dataclass(frozen=True, slots=True)
class KernelCounts:
    """Kernels that a renderer had to get; those in its memory already are not counted."""

    compiled: int = 0
    """Each took about half a second."""
    cached: int = 0
    """Read from the kernel cache on disk."""

    def since(self, earlier: KernelCounts) -> KernelCounts:
        """What was added to an earlier count of the same process."""
        return KernelCounts(self.compiled - earlier.compiled, self.cached - earlier.cached)


@dataclass(frozen=True, slots=True)
class SceneReport:
    """What was found in a scene."""

    problems: tuple[tuple[str, str], ...]
    """Field and what is wrong."""
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FrameResult:
    """One frame, made."""

    frame: int
    views: tuple[EncodedFrame, ...]
    """One a camera, in the spec's order."""
    timings_s: dict[str, float]
    """Wall-clock seconds by stage: sample, settle, build, render, annotate, check, encode."""
    cpu_s: float
    """CPU seconds of the worker, all threads."""
    quarantine: str
    """Why the frame was quarantined; empty when it was not."""
    quarantine_rule: str
    """The rule of label QA that it broke, or ``render``; empty when it was not quarantined."""
    rss_bytes: int
    """The worker's resident memory afterwards."""
    kernels: KernelCounts = KernelCounts()
    """What the frame made the renderer get."""


Job = RenderJob | InspectJob
Reply = FrameResult | SceneReport | Exception
"""A worker answers every job with its result, or with the error that stopped it."""
