"""What callers ask the generator for, and what it reports, without the wire."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from simcloud.dataset.layout import RunLocation
from simcloud.errors import SimcloudError
from simcloud.spec.model import Spec
from simcloud.spec.plan import ShardFrames
from simcloud_generator.shard_run import Event


@dataclass(frozen=True, slots=True)
class SpecRequest:
    """A spec and where its scene is."""

    spec: Spec
    spec_json: bytes
    spec_digest: str
    bucket: str
    prefix: str


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """Shards to render."""

    ask: SpecRequest
    run: RunLocation
    shards: tuple[ShardFrames, ...]
    allow_mixed_fingerprints: bool
    uploader_target: str


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """Frames to have."""

    ask: SpecRequest
    frames: range


@dataclass(frozen=True, slots=True)
class Failed:
    """A shard was given up."""

    shard: ShardFrames
    error: SimcloudError


@dataclass(frozen=True, slots=True)
class Summary:
    """Totals of one Generate call."""

    rendered: int
    quarantined: int
    wall_s: float
    cpu_s: float
    idle_s: float
    fingerprint: str
    failed: int
    quarantined_by_rule: Mapping[str, int] = field(default_factory=dict)
    """Quarantined frames by the rule that they broke."""


GenerateEvent = Event | Failed | Summary
