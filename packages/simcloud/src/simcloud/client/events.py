"""What a run tells while it works: one typed event for each thing that happened."""

from __future__ import annotations

from dataclasses import dataclass

from simcloud.client._wire import CommittedShard, RunSummary
from simcloud.client.cost import GenerationCost
from simcloud.client.generation import StageSeconds
from simcloud.dataset.frames import EncodedFrame
from simcloud.spec.plan import ShardFrames


@dataclass(frozen=True, slots=True)
class RunOpened:
    """The run exists and its shards are known."""

    spec_digest: str
    created: bool
    """Whether this call made it; else it is resumed."""
    plan_generation: int
    planned_frames: int
    """Frame keys of the shards that this call answers for."""
    stored_frames: int
    """Those of them that were committed before."""
    shards: tuple[ShardFrames, ...]
    """The shards that this call answers for."""
    committed: frozenset[int]


@dataclass(frozen=True, slots=True)
class FirstPicture:
    """The first frame, by every camera, as soon as there is one to look at."""

    frames: tuple[EncodedFrame, ...]


@dataclass(frozen=True, slots=True)
class ShardBegun:
    """A shard is being rendered."""

    frames: ShardFrames
    resume_frame: int


@dataclass(frozen=True, slots=True)
class FrameMade:
    """A frame was rendered and handed to the uploader."""

    shard: int
    frame: int
    timings: StageSeconds
    quarantine_reason: str


@dataclass(frozen=True, slots=True)
class ShardStored:
    """A shard is in S3 with its index."""

    shard: CommittedShard


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something stands in the way and is waited for."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class ShardLost:
    """A shard was given up; the run stays incomplete."""

    frames: ShardFrames
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class RunStored:
    """The last event of a generation."""

    summary: RunSummary
    published: bool
    """Whether the newest plan has its manifest."""
    lost: tuple[ShardLost, ...]
    """Shards that this call answers for and that are not stored."""
    cost: GenerationCost


RunEvent = (
    RunOpened
    | FirstPicture
    | ShardBegun
    | FrameMade
    | ShardStored
    | Waiting
    | ShardLost
    | RunStored
)
