"""What a score job tells while it works: one type an event."""

from __future__ import annotations

from dataclasses import dataclass

from simcloud.dataset.layout import ModelKey
from simcloud.scoring.types import FrameKey


@dataclass(frozen=True, slots=True)
class ScoreOpened:
    """What will be looked at."""

    model: ModelKey
    frames: int
    """Stored frame keys of the run."""
    scored: int
    """Those of them that have been scored before."""


@dataclass(frozen=True, slots=True)
class FrameScored:
    """A frame was answered."""

    key: FrameKey
    total_s: float


@dataclass(frozen=True, slots=True)
class FrameUnscored:
    """A frame that the model or its endpoint didn't answer, and why."""

    key: FrameKey
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ShardScored:
    """A shard's predictions are in S3."""

    shard: int
    frames: int


@dataclass(frozen=True, slots=True)
class ScoreEnded:
    """The last event of a score job."""

    model: ModelKey
    scored_now: int
    """Frames answered by this call, for the speed; the accounting counts in S3."""
    wall_s: float
    unscored: tuple[FrameUnscored, ...]
    """Frames without an answer; their shards have no predictions yet."""


ScoreEvent = ScoreOpened | FrameScored | FrameUnscored | ShardScored | ScoreEnded
"""``ScoreEnded`` comes last."""
