"""What travels on an UploadShard stream, as our types; the servicer translates."""

from __future__ import annotations

from dataclasses import dataclass

from simcloud.client._wire import CommittedShard
from simcloud.dataset.layout import RunLocation
from simcloud.spec.plan import ShardFrames
from simcloud_uploader.receive import FrameStart, LayerPiece


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest:
    """The first message."""

    location: RunLocation
    frames: ShardFrames
    spec_digest: str
    fingerprint: str
    max_frame_bytes: int
    allow_mixed_fingerprints: bool
    writer: str


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """No more frames."""

    frame_count: int


@dataclass(frozen=True, slots=True)
class Opened:
    """The shard is owned by this stream."""

    epoch: int
    resume_frame: int
    part_size_bytes: int


@dataclass(frozen=True, slots=True)
class Credited:
    """More may be sent."""

    granted_bytes: int


@dataclass(frozen=True, slots=True)
class Durable:
    """Frames survive the death of every process."""

    durable_before: int


@dataclass(frozen=True, slots=True)
class Restarted:
    """The upload is gone."""

    resume_frame: int
    reason: str


Request = OpenRequest | FrameStart | LayerPiece | CommitRequest
Event = Opened | Credited | Durable | Restarted | CommittedShard
