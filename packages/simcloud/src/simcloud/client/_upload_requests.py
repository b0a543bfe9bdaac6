"""What the client of UploadShard sends: the opening, each frame, the commit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from simcloud.client._chunks import Request, chunk_requests
from simcloud.client._wire import frame_header, frames_to_wire, location_to_wire
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.spec.plan import ShardFrames
from simcloud.v1 import uploader_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadTarget:
    """What is uploaded, and by whom."""

    location: RunLocation
    frames: ShardFrames
    spec_digest: str
    fingerprint: str
    cameras: int
    max_frame_bytes: int
    allow_mixed_fingerprints: bool
    writer: str


def open_request(target: UploadTarget) -> Request:
    """The first message of a stream."""
    return uploader_pb2.UploadShardRequest(
        open=uploader_pb2.OpenShard(
            run=location_to_wire(target.location),
            range=frames_to_wire(target.frames),
            spec_digest=target.spec_digest,
            fingerprint=target.fingerprint,
            max_frame_bytes=target.max_frame_bytes,
            allow_mixed_fingerprints=target.allow_mixed_fingerprints,
            writer=target.writer,
        )
    )


def frame_requests(frame: EncodedFrame) -> Iterator[tuple[Request, int]]:
    """The messages of a frame, each with its payload bytes, which count against the credit."""
    header = frame_header(frame)
    yield uploader_pb2.UploadShardRequest(frame=header), len(frame.record)
    yield from chunk_requests(frame)


def commit_request(target: UploadTarget) -> Request:
    """The message after the last frame."""
    return uploader_pb2.UploadShardRequest(
        commit=uploader_pb2.CommitShard(frame_count=len(target.frames) * target.cameras)
    )
