"""What a Generate call tells while shards are rendered into the uploader: one type an event."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import grpc

from simcloud.client._wire import CommittedShard, committed_from_wire, frames_from_wire
from simcloud.errors import Corruption
from simcloud.rpc.durations import seconds_of
from simcloud.spec.plan import ShardFrames
from simcloud.v1 import generator_pb2


@dataclass(frozen=True, slots=True)
class StageSeconds:
    """Wall-clock seconds of one frame by stage; stages of different frames overlap."""

    sample: float
    settle: float
    """Physics of what is dropped; 0 where nothing is, and from a generator that doesn't tell."""
    build: float
    render: float
    annotate: float
    check: float
    encode: float
    send: float
    cpu: float
    """CPU seconds of the worker, all threads; not a stage."""


@dataclass(frozen=True, slots=True)
class ShardOpened:
    """A shard is being rendered."""

    frames: ShardFrames
    resume_frame: int
    epoch: int


@dataclass(frozen=True, slots=True)
class ShardMoved:
    """A frame was made, or became durable."""

    shard: int
    rendered_frames: int
    durable_before: int
    frame: int
    timings: StageSeconds | None
    quarantine_reason: str
    quarantine_rule: str = ""
    """Rule that the frame broke; empty when it was not quarantined."""


@dataclass(frozen=True, slots=True)
class ShardGivenUp:
    """A shard that this call did not store."""

    frames: ShardFrames
    code: int
    reason: str
    message: str
    retryable: bool

    @property
    def owned_by_another(self) -> bool:
        """Whether another driver is at it: wait for its index."""
        aborted: int = grpc.StatusCode.ABORTED.value[0]
        return self.code == aborted


@dataclass(frozen=True, slots=True)
class GenerateTotals:
    """Totals of one Generate call; cost figures, not accounting."""

    rendered_frames: int
    quarantined_frames: int
    wall_s: float
    cpu_s: float
    idle_s: float
    fingerprint: str
    failed_shards: int
    quarantined_by_rule: Mapping[str, int] = field(default_factory=dict)


GenerateEvent = ShardOpened | ShardMoved | CommittedShard | ShardGivenUp | GenerateTotals
"""The totals come last."""


def event_from_wire(message: generator_pb2.GenerateResponse) -> GenerateEvent:
    """The event in a message.

    Raises:
        Corruption: it is one that this version does not know.
    """
    match message.WhichOneof("event"):
        case "shard_started":
            started = message.shard_started
            return ShardOpened(
                frames=frames_from_wire(started.range),
                resume_frame=started.resume_frame,
                epoch=started.epoch,
            )
        case "progress":
            return _moved(message.progress)
        case "shard_committed":
            return committed_from_wire(message.shard_committed)
        case "shard_failed":
            failed = message.shard_failed
            return ShardGivenUp(
                frames=frames_from_wire(failed.range),
                code=failed.code,
                reason=failed.reason,
                message=failed.message,
                retryable=failed.retryable,
            )
        case "summary":
            return _totals(message.summary)
        case other:
            raise Corruption(f"the generator sent an event that this version doesn't know: {other}")


def _moved(message: generator_pb2.ShardProgress) -> ShardMoved:
    timings = message.timings
    return ShardMoved(
        shard=message.shard,
        rendered_frames=message.rendered_frames,
        durable_before=message.durable_before,
        frame=message.frame,
        timings=StageSeconds(
            sample=seconds_of(timings.sample),
            settle=seconds_of(timings.settle),
            build=seconds_of(timings.build),
            render=seconds_of(timings.render),
            annotate=seconds_of(timings.annotate),
            check=seconds_of(timings.check),
            encode=seconds_of(timings.encode),
            send=seconds_of(timings.send),
            cpu=seconds_of(timings.cpu),
        )
        if message.HasField("timings")
        else None,
        quarantine_reason=message.quarantine_reason,
        quarantine_rule=message.quarantine_rule,
    )


def _totals(message: generator_pb2.GenerateSummary) -> GenerateTotals:
    return GenerateTotals(
        rendered_frames=message.rendered_frames,
        quarantined_frames=message.quarantined_frames,
        wall_s=seconds_of(message.wall),
        cpu_s=seconds_of(message.cpu),
        idle_s=seconds_of(message.idle),
        fingerprint=message.fingerprint,
        failed_shards=message.failed_shards,
        quarantined_by_rule=dict(sorted(message.quarantined_by_rule.items())),
    )
