"""Requests are refused at the border, with the path of what is wrong."""

from __future__ import annotations

import pytest

from simcloud.client.cost import STAGES
from simcloud.dataset.frames import MAX_CHUNK_BYTES, EncodedFrame, Layer
from simcloud.errors import InvalidRequest
from simcloud.spec.canonical import canonical_json, digest
from simcloud.spec.model import Spec
from simcloud.spec.plan import ShardFrames
from simcloud.v1 import dataset_pb2, frame_pb2, generator_pb2, spec_pb2
from simcloud_generator import wire
from simcloud_generator.jobs import FrameResult
from simcloud_generator.shard_run import Progress

RUN = frame_pb2.RunRef(bucket="frames", prefix="a", run="one")


def document(**changes: object) -> spec_pb2.SpecDocument:
    raw = {
        "scene": {"root": "stage.usda", "digest": "1" * 64},
        "cameras": [
            {
                "name": "main",
                "width_px": 8,
                "height_px": 6,
                "placement": {"kind": "look_at", "eye": [0, -1, 0], "target": [0, 0, 0]},
            }
        ],
    }
    data = canonical_json(Spec.model_validate(raw | changes))
    return spec_pb2.SpecDocument(canonical_json=data, digest=digest(data))


def request(
    *shards: tuple[int, int, int], spec: spec_pb2.SpecDocument | None = None
) -> generator_pb2.GenerateRequest:
    return generator_pb2.GenerateRequest(
        spec=spec or document(),
        run=RUN,
        shards=[
            dataset_pb2.ShardRange(shard=shard, first_frame=first, end_frame=end)
            for shard, first, end in shards
        ],
    )


def test_a_good_request_is_taken_as_it_is() -> None:
    ask = wire.generate_request(request((0, 0, 3), (2, 6, 9)))
    assert [(item.shard, item.first, item.end) for item in ask.shards] == [(0, 0, 3), (2, 6, 9)]
    assert (ask.run.bucket, ask.run.prefix, ask.run.run) == ("frames", "a", "one")
    assert ask.ask.spec.cameras[0].width_px == 8


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (request(), "shards"),
        (request((0, 3, 3)), "shards[0].end_frame"),
        (request((0, 0, 3), (0, 3, 6)), "shards[1].shard"),
        (request((0, 0, 3), spec=spec_pb2.SpecDocument()), "spec.canonical_json"),
        (
            request((0, 0, 3), spec=document(scene={"root": "stage.usda"})),
            "spec.scene.digest",
        ),
    ],
)
def test_a_wrong_request_names_the_field(
    message: generator_pb2.GenerateRequest, field: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        wire.generate_request(message)
    assert caught.value.field == field


def test_every_stage_of_a_frame_is_told_physics_too() -> None:
    told = {stage: number / 8 for number, stage in enumerate(STAGES, start=1)}
    result = FrameResult(
        frame=4,
        views=(),
        timings_s={stage: seconds for stage, seconds in told.items() if stage != "send"},
        cpu_s=2.5,
        quarantine="",
        quarantine_rule="",
        rss_bytes=1,
    )
    shard = ShardFrames(shard=0, first=0, end=8)
    happened = Progress(
        shard=shard, rendered=1, durable_before=0, send_s=told["send"], result=result
    )
    timings = wire.event(happened).progress.timings
    fields = {field.name: getattr(timings, field.name) for field in timings.DESCRIPTOR.fields}
    found = {name: value.ToNanoseconds() / 1e9 for name, value in fields.items()}
    assert found == {**told, "cpu": 2.5}


def test_a_digest_of_another_spec_is_refused() -> None:
    wrong = document()
    wrong.digest = "0" * 64
    with pytest.raises(InvalidRequest, match=r"spec\.digest"):
        wire.spec_request(wrong, RUN)


def test_a_stream_counts_frames_by_its_stride() -> None:
    ask = wire.stream_request(
        generator_pb2.StreamFramesRequest(
            spec=document(), scenes=RUN, first_frame=10, frame_count=3, stride=5
        )
    )
    assert list(ask.frames) == [10, 15, 20]


def test_layers_travel_in_chunks_of_at_most_a_mebibyte() -> None:
    data = bytes(2 * MAX_CHUNK_BYTES + 17)
    layer = Layer(annotator="rgb", extension="png", media_type="image/png", data=data, crc64nvme=1)
    frame = EncodedFrame(frame=3, camera="main", record=b"{}", layers=(layer,))
    header, *chunks = wire.pieces(frame)
    assert header.header.layers[0].size_bytes == len(data)
    assert [len(item.chunk.data) for item in chunks] == [MAX_CHUNK_BYTES, MAX_CHUNK_BYTES, 17]
    assert b"".join(item.chunk.data for item in chunks) == data
