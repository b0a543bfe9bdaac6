"""The generator's settings."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from simcloud.rpc.auth import AllowLists
from simcloud.rpc.settings import ServerSettings, TlsSettings
from simcloud.s3.client import S3Settings
from simcloud.scene.limits import SceneLimits
from simcloud_generator.backends.isaac.settings import IsaacSettings


def _default_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "simcloud"


class GeneratorSettings(ServerSettings):
    """Everything about a generator that one may want to change."""

    s3: S3Settings = S3Settings()
    """Where scenes are read from."""
    allow: AllowLists = AllowLists()
    """Which buckets callers may name."""
    uploader_target: str = "127.0.0.1:50052"
    """Uploader that shards go to when a call names none, `host:port`."""
    uploader_tls: TlsSettings | None = None
    """Certificates towards uploaders; unset: plain text."""
    backend: Literal["auto", "mitsuba", "isaac"] = "auto"
    """Renderer: `mitsuba` on the CPU, `isaac` on GPUs with RT cores within Isaac Sim's own Python,
    or `auto`: Isaac Sim where it is installed and the machine is fit for it, else Mitsuba."""
    isaac: IsaacSettings = IsaacSettings()
    """How Isaac Sim is started and stepped."""
    backend_variant: str = "auto"
    """Variant of the Mitsuba backend: `llvm_ad_rgb`, `scalar_rgb`, `cuda_ad_rgb`, or `auto`: LLVM
    where a usable one is found, else scalar. CUDA only when named."""
    workers: int = Field(default=0, ge=0, le=256)
    """Renderer processes, each one frame at a time; 0: as many as CPUs may be used, on Isaac one
    for each of its GPUs."""
    worker_threads: int = Field(default=1, ge=1, le=256)
    """Threads of one renderer. Processes use cores better than threads do (10 % at 640x480)."""
    concurrent_shards: int = Field(default=2, ge=1, le=64)
    """Shards of one call that are open at once: while one commits, the next one renders."""
    concurrent_calls: int = Field(default=2, ge=1, le=64)
    """Generate and StreamFrames calls served at once; more get RESOURCE_EXHAUSTED."""
    max_frames_per_call: int = Field(default=1_000_000, ge=1)
    """Largest number of frames of one call."""
    max_resolution_px: int = Field(default=4096, ge=1, le=8192)
    """Largest width or height of a camera."""
    recycle_frames: int = Field(default=0, ge=0)
    """Frames after which a renderer is replaced; 0: never."""
    recycle_rss_mib: int = Field(default=4096, ge=0)
    """Resident memory above which a renderer is replaced after its frame, MiB; 0: never."""
    frame_timeout_s: float = Field(default=600.0, ge=0)
    """Time for one frame, all cameras, seconds; 0: no limit. A renderer that takes longer is killed
    and replaced; its frame is tried once more, then quarantined. Isaac Sim has limits of its own,
    `isaac.step_timeout_s` and its like."""
    cache_dir: Path = Field(default_factory=_default_cache)
    """Folder of scenes and compiled kernels."""
    scene_cache_mib: int = Field(default=8192, ge=1)
    """Bound of the scene cache, MiB; the least recently used scenes go first."""
    scene_limits: SceneLimits = SceneLimits()
    """What a scene may cost; one beyond it is refused before it is opened by a renderer."""

    @property
    def worker_count(self) -> int:
        """Renderer processes."""
        return self.workers or len(os.sched_getaffinity(0))
