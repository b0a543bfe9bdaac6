"""Settings of the Isaac Sim backend."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

RendererMode = Literal["RealTimePathTracing", "PathTracing"]
"""RTX modes that make usable training pictures; they are the backend's variants."""

PREFIX = "SIMCLOUD_GENERATOR_ISAAC__"
"""Of their environment variables; the generator's own count for every command."""


class IsaacSettings(BaseModel):
    """How Isaac Sim is started and stepped."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gpus: tuple[int, ...] = Field(default=(0,), min_length=1, max_length=16)
    """Indices of the GPUs that render, as nvidia-smi numbers them. Each has a process of its own:
    several GPUs in one process rarely pay, and have been seen to give empty masks."""
    renderer: RendererMode = "RealTimePathTracing"
    """RTX mode, the backend's variant. `PathTracing` takes the spec's samples per pixel."""
    experience: str = ""
    """Experience file (`.kit`) to start; empty: Isaac Sim's own for Python, which is headless and
    keeps no settings."""
    asset_root: str = ""
    """Where Isaac's own assets are: a URL or a folder that holds `Isaac` and `NVIDIA`; empty:
    Isaac's default, in NVIDIA's bucket. Set it to a mirror where there is no way out."""
    rt_subframes: int = Field(default=16, ge=1, le=1024)
    """Subframes rendered for each picture. Every frame moves everything, so the denoiser has to
    forget the frame before: fewer than 8 leave ghosts."""
    warmup_steps: int = Field(default=3, ge=1, le=100)
    """Captures thrown away after a camera's buffers were made; the first ones may be empty."""
    settle_updates: int = Field(default=200, ge=0, le=10_000)
    """Updates of the application after a stage was opened: shaders compile, caches fill, and light
    inside of rooms settles."""
    stale_retries: int = Field(default=2, ge=0, le=10)
    """Captures repeated when the data are still those of an earlier frame; then the process is
    replaced."""
    max_bounces: int = Field(default=4, ge=1, le=64)
    """Longest path. The spec's `max_depth` is not followed: Isaac Sim takes it at its start."""
    dlss_mode: int = Field(default=2, ge=0, le=2)
    """DLSS: 0 performance, 1 balanced, 2 quality. Mode 3 does not work without a window."""
    texture_streaming: bool = False
    """Whether textures are loaded as they come into view: less GPU memory, but a picture may show
    them half loaded."""
    cpu_threads: int = Field(default=16, ge=1, le=256)
    """Threads of Isaac Sim's own task pool."""
    start_timeout_s: float = Field(default=1800.0, gt=0)
    """Time for a process to start; the very first compiles shaders, 5 to 15 minutes."""
    load_timeout_s: float = Field(default=600.0, gt=0)
    """Time for a stage, or what a frame adds to it, to load."""
    step_timeout_s: float = Field(default=300.0, gt=0)
    """Time for one capture. Isaac's own wait has no end, so the process is ended and replaced."""
    recycle_frames: int = Field(default=2000, ge=0)
    """Frames after which a process is replaced; 0: never. A start costs half a minute."""
    recycle_rss_mib: int = Field(default=32_768, ge=0)
    """Resident memory above which a process is replaced after its frame, MiB; 0: never. An idle
    one holds several GiB."""
    version: str = ""
    """Version of Isaac Sim where neither its package nor its folder says it."""
    versions: tuple[str, ...] = ("6.0", "6.2")
    """Versions of Isaac Sim that are let in, as `major.minor`. Another one is refused even if its
    signatures agree, since behaviour was read for these alone."""


def load_isaac_settings(prog: str) -> IsaacSettings:
    """The generator's Isaac settings from the environment, for a command of its own.

    Args:
        prog: name of the command, for messages.
    """
    from simcloud.settings import load_settings

    return load_settings(IsaacSettings, PREFIX, argv=[], prog=prog)
