"""How frame refs are read."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

MIB = 1024 * 1024


class RefSettings(BaseModel):
    """How frame refs are read from S3."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    linger_s: float = Field(default=0.002, ge=0, le=1)
    """Time that a ref waits for neighbours in the same object, seconds; frames of one stream come a
    quarter of its window at a time."""
    gap_bytes: int = Field(default=64 * 1024, ge=0, le=16 * MIB)
    """Bytes that nobody wants are read and dropped when no more of them lie between two ranges."""
    max_get_bytes: int = Field(default=8 * MIB, ge=0, le=64 * MIB)
    """Largest GET for several ranges; 0: every range is a GET of its own. It is read only while
    `payload_budget_bytes` has room for it."""
    cache_bytes: int = Field(default=0, ge=0)
    """Ranges kept in memory for those who want them again, beside `payload_budget_bytes`; only of
    refs with an ETag. 0: none."""
