"""Wire messages to our types and back, for what several services and clients share.

Each message has one ``..._from_wire``; that is where it is validated: what is wrong is an
``InvalidRequest`` with the field's path as it stands in the contract.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from simcloud.dataset.frames import MAX_CHUNK_BYTES, EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.errors import InvalidRequest
from simcloud.spec.canonical import canonical_json, digest, parse
from simcloud.spec.model import Spec
from simcloud.spec.plan import Plan, ShardFrames
from simcloud.v1 import dataset_pb2, frame_pb2, spec_pb2

MAX_SPEC_BYTES = 1 << 20
MAX_PLAN_BYTES = 64 << 10
MAX_PROVENANCE_BYTES = 64 << 10
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedShard:
    """A shard that is in S3 whole, with its index."""

    frames: ShardFrames
    key: str
    """Of the tar object."""
    etag: str
    """Quotes included; for If-Match only, identity is CRC and size."""
    size_bytes: int
    crc64nvme: int
    """Of the whole tar object."""
    stored_frames: int
    """Frame keys (frame and camera) with their layers."""
    quarantined_frames: int
    """Frame keys kept as their json member alone."""
    fingerprints: tuple[str, ...]
    """Digests of render fingerprints, in order of first appearance."""
    already_committed: bool = False
    """Whether it had been committed before this call."""


class RunState(StrEnum):
    """How far a run is."""

    OPEN = "open"
    PUBLISHED = "published"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSummary:
    """What a run consists of, counted in S3."""

    location: RunLocation
    spec_digest: str
    state: RunState
    plan_generation: int
    planned_frames: int
    """Frame keys that the newest plan asks for."""
    stored_frames: int
    quarantined_frames: int
    planned_shards: int
    committed_shards: int
    stored_bytes: int
    """Bytes of the committed tar objects."""
    manifest_key: str
    """Of the newest manifest; empty when there is none."""
    create_time: datetime
    """When spec.json was written, by S3's clock."""
    missing: tuple[ShardFrames, ...] = ()
    """Shards that are not committed, ascending, at most 1000."""
    quarantined_by_rule: Mapping[str, int] = field(default_factory=dict)
    """Quarantined frame keys by the rule that they broke; empty where runs are listed."""
    problem: str = ""
    """What of a listed run can't be read; its counts are then zero."""


_STATES = {
    RunState.OPEN: dataset_pb2.RUN_STATE_OPEN,
    RunState.PUBLISHED: dataset_pb2.RUN_STATE_PUBLISHED,
    RunState.ABORTED: dataset_pb2.RUN_STATE_ABORTED,
}


def location_from_wire(message: frame_pb2.RunRef) -> RunLocation:
    """Where a run lives.

    Raises:
        InvalidRequest: ``run.bucket``, ``run.prefix`` or ``run.run`` is missing or malformed.
    """
    return RunLocation(bucket=message.bucket, prefix=message.prefix, run=message.run)


def location_to_wire(location: RunLocation) -> frame_pb2.RunRef:
    """The message."""
    return frame_pb2.RunRef(bucket=location.bucket, prefix=location.prefix, run=location.run)


def frames_from_wire(message: dataset_pb2.ShardRange, *, field: str = "range") -> ShardFrames:
    """A shard's frames.

    Raises:
        InvalidRequest: the range is empty.
    """
    if message.end_frame <= message.first_frame:
        raise InvalidRequest(
            f"{field}.end_frame",
            f"must be greater than first_frame {message.first_frame}, found {message.end_frame}",
        )
    return ShardFrames(message.shard, message.first_frame, message.end_frame)


def frames_to_wire(frames: ShardFrames) -> dataset_pb2.ShardRange:
    """The message."""
    return dataset_pb2.ShardRange(
        shard=frames.shard, first_frame=frames.first, end_frame=frames.end
    )


def digest_from_wire(text: str, *, field: str) -> str:
    """A SHA-256 digest.

    Raises:
        InvalidRequest: not 64 lower-case hex digits.
    """
    if not _DIGEST.fullmatch(text):
        raise InvalidRequest(field, f"{text!r} is not a SHA-256 digest of 64 lower-case hex digits")
    return text


def spec_from_wire(message: spec_pb2.SpecDocument, *, field: str = "spec") -> Spec:
    """A spec.

    Raises:
        InvalidRequest: too large, not canonical, refused by the model, or not of its digest.
    """
    _check_size(message.canonical_json, MAX_SPEC_BYTES, f"{field}.canonical_json")
    spec = parse(Spec, message.canonical_json, field=f"{field}.canonical_json")
    found = digest(message.canonical_json)
    if message.digest != found:
        raise InvalidRequest(f"{field}.digest", f"is {message.digest!r}, the spec's is {found!r}")
    return spec


def spec_to_wire(spec: Spec) -> spec_pb2.SpecDocument:
    """The message."""
    data = canonical_json(spec)
    return spec_pb2.SpecDocument(canonical_json=data, digest=digest(data))


def plan_from_wire(message: spec_pb2.PlanDocument, *, field: str = "plan") -> Plan:
    """A plan.

    Raises:
        InvalidRequest: too large, not canonical, or refused by the model.
    """
    _check_size(message.canonical_json, MAX_PLAN_BYTES, f"{field}.canonical_json")
    return parse(Plan, message.canonical_json, field=f"{field}.canonical_json")


def plan_to_wire(plan: Plan) -> spec_pb2.PlanDocument:
    """The message."""
    return spec_pb2.PlanDocument(canonical_json=canonical_json(plan))


def committed_from_wire(message: dataset_pb2.CommittedShard) -> CommittedShard:
    """A committed shard, as a server answers it."""
    return CommittedShard(
        frames=ShardFrames(message.range.shard, message.range.first_frame, message.range.end_frame),
        key=message.key,
        etag=message.etag,
        size_bytes=message.size_bytes,
        crc64nvme=message.crc64nvme,
        stored_frames=message.stored_frames,
        quarantined_frames=message.quarantined_frames,
        fingerprints=tuple(message.fingerprints),
        already_committed=message.already_committed,
    )


def committed_to_wire(shard: CommittedShard) -> dataset_pb2.CommittedShard:
    """The message."""
    return dataset_pb2.CommittedShard(
        range=frames_to_wire(shard.frames),
        key=shard.key,
        etag=shard.etag,
        size_bytes=shard.size_bytes,
        crc64nvme=shard.crc64nvme,
        stored_frames=shard.stored_frames,
        quarantined_frames=shard.quarantined_frames,
        fingerprints=shard.fingerprints,
        already_committed=shard.already_committed,
    )


def summary_from_wire(message: dataset_pb2.RunSummary) -> RunSummary:
    """A run's summary, as a server answers it.

    Raises:
        InvalidRequest: a state or a run that this version does not know.
    """
    state = next((ours for ours, wire in _STATES.items() if wire == message.state), None)
    if state is None:
        raise InvalidRequest("summary.state", f"{message.state} is not a state of a run")
    return RunSummary(
        location=location_from_wire(message.run),
        spec_digest=message.spec_digest,
        state=state,
        plan_generation=message.plan_generation,
        planned_frames=message.planned_frames,
        stored_frames=message.stored_frames,
        quarantined_frames=message.quarantined_frames,
        planned_shards=message.planned_shards,
        committed_shards=message.committed_shards,
        stored_bytes=message.stored_bytes,
        manifest_key=message.manifest_key,
        create_time=message.create_time.ToDatetime(tzinfo=UTC),
        missing=tuple(
            ShardFrames(item.shard, item.first_frame, item.end_frame) for item in message.missing
        ),
        quarantined_by_rule=dict(sorted(message.quarantined_by_rule.items())),
        problem=message.problem,
    )


def summary_to_wire(summary: RunSummary) -> dataset_pb2.RunSummary:
    """The message."""
    message = dataset_pb2.RunSummary(
        run=location_to_wire(summary.location),
        spec_digest=summary.spec_digest,
        state=_STATES[summary.state],
        plan_generation=summary.plan_generation,
        planned_frames=summary.planned_frames,
        stored_frames=summary.stored_frames,
        quarantined_frames=summary.quarantined_frames,
        planned_shards=summary.planned_shards,
        committed_shards=summary.committed_shards,
        stored_bytes=summary.stored_bytes,
        manifest_key=summary.manifest_key,
        missing=[frames_to_wire(frames) for frames in summary.missing],
        quarantined_by_rule=dict(summary.quarantined_by_rule),
        problem=summary.problem,
    )
    message.create_time.FromDatetime(summary.create_time.astimezone(UTC))
    return message


def frame_header(frame: EncodedFrame) -> frame_pb2.FrameHeader:
    """The header that begins a frame and camera."""
    return frame_pb2.FrameHeader(
        frame=frame.frame,
        camera=frame.camera,
        record=frame.record,
        layers=[
            frame_pb2.LayerHeader(
                annotator=layer.annotator,
                extension=layer.extension,
                media_type=layer.media_type,
                size_bytes=len(layer.data),
                crc64nvme=layer.crc64nvme,
            )
            for layer in frame.layers
        ],
    )


def layer_chunks(frame: EncodedFrame) -> Iterator[frame_pb2.LayerChunk]:
    """The chunks that follow a frame's header."""
    for index, layer in enumerate(frame.layers):
        for begin in range(0, len(layer.data), MAX_CHUNK_BYTES):
            yield frame_pb2.LayerChunk(
                layer=index, data=layer.data[begin : begin + MAX_CHUNK_BYTES]
            )


def _check_size(data: bytes, limit: int, field: str) -> None:
    if len(data) > limit:
        raise InvalidRequest(field, f"is at most {limit} bytes, found {len(data)}")
