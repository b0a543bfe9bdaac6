"""The states of one stream, against a reference model, through any order of events."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from simcloud.dataset.frames import EncodedFrame
from simcloud.errors import Bug, InvalidRequest
from simcloud.s3 import checksums
from simcloud.spec.plan import Plan
from simcloud_uploader.parts import Part, StoredPart
from simcloud_uploader.receive import ExpectedFrames, FrameStart, LayerClaim, LayerPiece
from simcloud_uploader.shard_stream import Phase, ShardStream
from support.dataset_frames import FINGERPRINT, SPEC, SPEC_DIGEST, make_frame, pack

PLAN = Plan(frames=6, frames_per_shard=6)
SHARD = PLAN.shard(0)
CAMERAS = ("left", "right")
KEYS = [(frame, camera) for frame in range(6) for camera in CAMERAS]
EXPECTED = ExpectedFrames(
    spec=SPEC,
    spec_digest=SPEC_DIGEST,
    plan=PLAN,
    frames=SHARD,
    fingerprint=FINGERPRINT,
    max_frame_bytes=100_000,
)


@cache
def frame_of(frame: int, camera: str) -> EncodedFrame:
    return make_frame(frame, camera, plan=PLAN)


@cache
def whole_tar() -> bytes:
    return pack([frame_of(*key) for key in KEYS])[0]


def start_of(frame: EncodedFrame) -> FrameStart:
    return FrameStart(
        frame.frame,
        frame.camera,
        frame.record,
        tuple(
            LayerClaim(
                layer.annotator,
                layer.extension,
                layer.media_type,
                len(layer.data),
                layer.crc64nvme,
            )
            for layer in frame.layers
        ),
    )


def feed(stream: ShardStream, frame: EncodedFrame) -> list[Part]:
    """Sends a frame and camera; returns the parts it completed."""
    start = start_of(frame)
    if stream.drops(start):
        return []
    parts = [stream.start(start)]
    parts += [
        stream.piece(LayerPiece(index, layer.data)) for index, layer in enumerate(frame.layers)
    ]
    return [part for part in parts if part is not None]


def stored(part: Part) -> StoredPart:
    return StoredPart(
        number=part.number,
        size_bytes=len(part.data),
        etag=f'"{part.crc64nvme:x}"',
        crc64nvme=part.crc64nvme,
        end_frame=part.end_frame,
    )


def new_stream(part_size: int, written: tuple[StoredPart, ...] = ()) -> ShardStream:
    return ShardStream(
        EXPECTED, part_size_bytes=part_size, written=written, max_row_bytes=1_000_000
    )


class UploadModel(RuleBasedStateMachine):
    """S3 as a dict of parts, the epoch as a list, the client as the next key it sends.

    Parts are stored in any order, written in any batches; processes die and go on from the epoch;
    uploads are lost. Whatever happens, what was promised durable is in S3, and the object is the
    tar of the frames in order.
    """

    @initialize(part_size=st.integers(1, 40_000))
    def begin(self, part_size: int) -> None:
        self.part_size = part_size
        self.s3: dict[int, bytes] = {}
        self.epoch: tuple[StoredPart, ...] = ()
        self.promised = 0
        self.in_flight: list[Part] = []
        self.stream = new_stream(part_size)
        self.next_key = 0
        self.committed = False

    @precondition(lambda self: not self.committed and self.next_key < len(KEYS))
    @rule()
    def send_a_frame(self) -> None:
        self.in_flight += feed(self.stream, frame_of(*KEYS[self.next_key]))
        self.next_key += 1

    @precondition(lambda self: not self.committed and self.next_key == len(KEYS))
    @rule()
    def commit(self) -> None:
        part = self.stream.commit(len(KEYS))
        assert part is not None
        assert part.final
        self.in_flight.append(part)
        self.committed = True

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data())
    def a_part_is_stored(self, data: st.DataObject) -> None:
        part = self.in_flight.pop(data.draw(st.integers(0, len(self.in_flight) - 1)))
        self.s3[part.number] = bytes(part.data)
        self.stream.ledger.stored(stored(part))

    @rule()
    def the_epoch_is_written(self) -> None:
        self.epoch = self.stream.ledger.writable()
        self.promised = self.stream.ledger.written(len(self.epoch))

    @rule()
    def the_process_dies_and_another_goes_on(self) -> None:
        self.in_flight = []
        self.stream = new_stream(self.part_size, self.epoch)
        assert self.stream.resume_frame >= self.promised
        self._send_from(self.stream.resume_frame)

    @rule()
    def the_stream_ends_with_a_checkpoint(self) -> None:
        if self.stream.parts_cut == len(self.stream.ledger.writable()):
            part = self.stream.flush(1)
            if part is not None:
                self.s3[part.number] = bytes(part.data)
                self.stream.ledger.stored(stored(part))
        self.epoch = self.stream.ledger.writable()
        self.the_process_dies_and_another_goes_on()

    @precondition(lambda self: self.stream.restarts < 3)
    @rule(late=st.integers(0, 3))
    def the_upload_is_lost(self, late: int) -> None:
        begun = self.next_key
        self.stream.restart()
        self.s3, self.epoch, self.in_flight, self.promised = {}, (), [], 0
        # What the client had on its way is dropped until its new beginning.
        for key in KEYS[max(begun, 1) : begun + late]:
            assert feed(self.stream, frame_of(*key)) == []
        assert self.stream.commit(len(KEYS)) is None
        self._send_from(0)

    def _send_from(self, frame: int) -> None:
        self.next_key = frame * len(CAMERAS)
        self.committed = False

    @invariant()
    def what_was_promised_is_in_s3(self) -> None:
        end = max((part.end_frame for part in self.epoch), default=0)
        assert end >= self.promised
        data = b"".join(self.s3[part.number] for part in self.epoch)
        assert whole_tar().startswith(data)
        sizes = [len(self.s3[part.number]) for part in self.epoch]
        assert sizes == [part.size_bytes for part in self.epoch]
        assert data == pack([frame_of(*key) for key in KEYS[: end * 2]])[0][: len(data)]
        assert len(data) == len(pack([frame_of(*key) for key in KEYS[: end * 2]])[0]) - 1024

    @invariant()
    def a_complete_upload_is_the_tar_of_the_frames(self) -> None:
        parts = self.stream.ledger.complete
        if parts is None:
            return
        assert [part.number for part in parts] == list(range(1, len(parts) + 1))
        data = b"".join(self.s3[part.number] for part in parts)
        assert data == whole_tar()
        assert self.stream.crc64nvme == checksums.crc64nvme(data)
        assert self.stream.size_bytes == len(data)
        rows = self.stream.rows
        assert rows is None or [(row.frame, row.camera) for row in rows] == KEYS


UploadModel.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestUploadModel = UploadModel.TestCase


def test_rows_beyond_their_bound_are_left_to_the_tar() -> None:
    stream = ShardStream(EXPECTED, part_size_bytes=10_000, written=(), max_row_bytes=3000)
    for key in KEYS:
        feed(stream, frame_of(*key))
    assert stream.rows is None


def test_nothing_may_come_after_commit() -> None:
    stream = new_stream(10**6)
    for key in KEYS:
        feed(stream, frame_of(*key))
    stream.commit(len(KEYS))
    assert stream.phase is Phase.CLOSED
    with pytest.raises(InvalidRequest, match="after commit"):
        stream.start(start_of(frame_of(0, "left")))
    with pytest.raises(InvalidRequest, match="after commit"):
        stream.commit(len(KEYS))


def test_a_wrong_count_is_no_commit() -> None:
    stream = new_stream(10**6)
    for key in KEYS:
        feed(stream, frame_of(*key))
    with pytest.raises(InvalidRequest, match="expected 12, found 11"):
        stream.commit(11)


def test_a_part_is_stored_once() -> None:
    stream = new_stream(1)
    (part,) = feed(stream, frame_of(0, "left")) + feed(stream, frame_of(0, "right"))
    stream.ledger.stored(stored(part))
    with pytest.raises(Bug):
        stream.ledger.stored(stored(part))
