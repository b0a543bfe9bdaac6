"""What a scene may cost: everything that is counted before it is expanded."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class SceneLimits(BaseModel):
    """Bounds of a scene; one beyond them is refused with what, where and how much it has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_prims: int = Field(default=500_000, ge=1)
    """Prims of the stage, those inside instances counted as often as they are drawn."""
    max_triangles: int = Field(default=20_000_000, ge=1)
    """Triangles of the stage and its library, instances counted as often as they are drawn."""
    max_instances: int = Field(default=200_000, ge=1)
    """Instances of all PointInstancers, nested ones multiplied."""
    max_texture_px: int = Field(default=16384 * 8192, ge=1)
    """Pixels of one texture, read from its header: 16384x8192 decodes to half a gibibyte."""
    max_texture_total_px: int = Field(default=4 * 16384 * 16384, ge=1)
    """Pixels of all textures together."""
    max_bytes: int = Field(default=8 * 1024**3, ge=1)
    """Bytes of all files of a scene."""
    max_files: int = Field(default=10_000, ge=1)
    """Files of a scene."""
    inspect_seconds: float = Field(default=120.0, gt=0, le=3600)
    """Longest time that looking at a scene may take, seconds; also its CPU time."""
    inspect_memory_mib: int = Field(default=8192, ge=256)
    """Most address space that looking at a scene may take, MiB."""
