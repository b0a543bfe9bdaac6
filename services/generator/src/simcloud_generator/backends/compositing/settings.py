"""Settings of the compositing backend."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositingSettings:
    """How composite pictures are made; the first two fields change pixels."""

    max_texture_px: int = 1024
    """Longer sides, of textures and backgrounds, are reduced to this."""
    environment_size: tuple[int, int] = (512, 256)
    """Width and height that every environment is brought to."""
    max_faces: int = 20_000_000
    """Triangles kept in acceleration structures."""
    cache_bytes: int = 1 << 29
    """Decoded images kept by a session, and as much again of their reductions."""
