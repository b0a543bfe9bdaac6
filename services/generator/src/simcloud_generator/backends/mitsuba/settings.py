"""Settings of the Mitsuba backend."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class MitsubaSettings:
    """How pictures are made; every field but the last three changes pixels."""

    variant: str = "auto"
    """``llvm_ad_rgb``, ``scalar_rgb``, ``cuda_ad_rgb``, or ``auto`` for the first that works."""
    spp: int = 4
    """Samples per pixel of the picture."""
    max_depth: int = 4
    """Path length: light, up to three surfaces, camera."""
    denoise: bool = True
    aux_spp: int = 12
    """Samples per pixel of the denoiser's guides, on a grid; scalar takes four at most."""
    max_texture_px: int = 1024
    """Longer sides are reduced to this."""
    environment_size: tuple[int, int] = (512, 256)
    """Width and height that every environment is brought to."""
    threads: int = 0
    """Of the renderer; 0 takes one per CPU that the process may use."""
    kernel_cache: Path | None = None
    """Folder for compiled kernels, shared by processes; None leaves it to Dr.Jit."""
    cache_bytes: int = 1 << 30
    """Decoded images kept by a session."""
