"""Frames on receipt: what a header and a record claim must agree, with each other and the run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from simcloud.dataset.record import Quarantine, record_from_json
from simcloud.errors import Corruption, InvalidRequest
from simcloud.spec.plan import Plan
from simcloud_uploader.receive import (
    ExpectedFrames,
    FrameReceiver,
    FrameStart,
    LayerClaim,
    LayerPiece,
)
from support.dataset_frames import FINGERPRINT, SPEC, SPEC_DIGEST, make_frame

PLAN = Plan(frames=2, frames_per_shard=2)
FRAME = make_frame(0, "left", plan=PLAN)
EXPECTED = ExpectedFrames(
    spec=SPEC,
    spec_digest=SPEC_DIGEST,
    plan=PLAN,
    frames=PLAN.shard(0),
    fingerprint=FINGERPRINT,
    max_frame_bytes=100_000,
)
START = FrameStart(
    FRAME.frame,
    FRAME.camera,
    FRAME.record,
    tuple(
        LayerClaim(
            layer.annotator, layer.extension, layer.media_type, len(layer.data), layer.crc64nvme
        )
        for layer in FRAME.layers
    ),
)


def with_record(start: FrameStart, **changes: object) -> FrameStart:
    record = replace(record_from_json(start.record), **changes)  # type: ignore[arg-type]
    return replace(start, record=record.to_json())


def with_layer(start: FrameStart, **changes: object) -> FrameStart:
    first = replace(start.layers[0], **changes)  # type: ignore[arg-type]
    return replace(start, layers=(first, *start.layers[1:]))


WRONG: list[tuple[str, Callable[[FrameStart], FrameStart]]] = [
    ("frame.frame", lambda start: replace(start, frame=1)),
    ("frame.camera", lambda start: replace(start, camera="right")),
    ("frame.record", lambda start: replace(start, record=b"{}")),
    ("frame.record", lambda start: replace(start, record=b"")),
    ("frame.record.frame", lambda start: with_record(start, frame=1)),
    ("frame.record.camera", lambda start: with_record(start, camera="right")),
    ("frame.record.split", lambda start: with_record(start, split="none")),
    ("frame.record.spec_digest", lambda start: with_record(start, spec_digest="0" * 64)),
    ("frame.record.fingerprint", lambda start: with_record(start, fingerprint="0")),
    ("frame.record.layers", lambda start: with_record(start, layers=())),
    ("frame.record.layers", lambda start: with_layer(start, size_bytes=1)),
    ("frame.record.layers", lambda start: with_layer(start, crc64nvme=1)),
    ("frame.layers", lambda start: with_layer(start, annotator="normals")),
    ("frame.layers", lambda start: with_layer(start, extension="jpg")),
    ("frame.layers", lambda start: with_layer(start, media_type="image/jpeg")),
    ("frame.layers", lambda start: replace(start, layers=start.layers[::-1])),
    ("frame.layers", lambda start: replace(start, layers=())),
    (
        "frame.layers",
        lambda start: with_record(start, quarantine=Quarantine(rule="mask", detail="empty")),
    ),
    ("frame", lambda start: with_layer(start, size_bytes=100_001)),
]


@pytest.mark.parametrize(("field", "change"), WRONG)
def test_a_header_that_disagrees_is_refused_with_its_field(
    field: str, change: Callable[[FrameStart], FrameStart]
) -> None:
    with pytest.raises(InvalidRequest) as told:
        FrameReceiver(EXPECTED, resume_frame=0).start(change(START))
    assert told.value.field == field


def test_a_frame_is_put_together_from_pieces_of_any_size() -> None:
    receiver = FrameReceiver(EXPECTED, resume_frame=0)
    assert receiver.start(START) is None
    whole = None
    for index, layer in enumerate(FRAME.layers):
        middle = len(layer.data) // 2
        for data in (layer.data[:middle], layer.data[middle:]):
            if data:
                assert whole is None
                whole = receiver.piece(LayerPiece(index, data))
    assert whole is not None
    assert (whole.frame, whole.camera, whole.record) == (FRAME.frame, FRAME.camera, FRAME.record)
    assert whole.size_bytes == FRAME.size_bytes
    for got, sent in zip(whole.layers, FRAME.layers, strict=True):
        assert b"".join(got.pieces) == sent.data
        assert (got.annotator, got.size_bytes) == (sent.annotator, len(sent.data))
    assert not receiver.between_frames


def test_too_many_bytes_and_wrong_bytes_of_a_layer_are_refused() -> None:
    receiver = FrameReceiver(EXPECTED, resume_frame=0)
    receiver.start(START)
    with pytest.raises(InvalidRequest, match="more than"):
        receiver.piece(LayerPiece(0, FRAME.layers[0].data + b"x"))
    receiver = FrameReceiver(EXPECTED, resume_frame=0)
    receiver.start(START)
    with pytest.raises(Corruption, match="CRC-64/NVME"):
        receiver.piece(LayerPiece(0, bytes(len(FRAME.layers[0].data))))


def test_nothing_comes_after_the_shards_end() -> None:
    receiver = FrameReceiver(EXPECTED, resume_frame=2)
    receiver.check_whole(4)
    with pytest.raises(InvalidRequest, match="beyond"):
        receiver.start(START)
