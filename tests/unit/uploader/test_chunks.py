"""Chunks written and read without protobuf: byte for byte what protobuf writes and reads."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import example, given
from hypothesis import strategies as st

from simcloud.client._chunks import chunk_requests, serialized
from simcloud.client._wire import layer_chunks
from simcloud.dataset.frames import MAX_CHUNK_BYTES, EncodedFrame, Layer
from simcloud.v1 import frame_pb2, uploader_pb2
from simcloud_uploader.chunks import read_request
from simcloud_uploader.receive import LayerPiece

Request = uploader_pb2.UploadShardRequest


def chunk_of(layer: int, data: bytes) -> bytes:
    return Request(chunk=frame_pb2.LayerChunk(layer=layer, data=data)).SerializeToString()


def frame_of(*sizes: int) -> EncodedFrame:
    layers = tuple(
        Layer("rgb", "png", "image/png", bytes([index % 256]) * size, 0)
        for index, size in enumerate(sizes)
    )
    return EncodedFrame(0, "left", b"{}", layers)


@given(layer=st.integers(0, 2**32 - 1), data=st.binary(min_size=1, max_size=300))
@example(layer=0, data=bytes(127))
@example(layer=1, data=bytes(128))
@example(layer=129, data=bytes(1 << 20))
def test_a_chunk_is_read_where_it_lies(layer: int, data: bytes) -> None:
    message = chunk_of(layer, data)
    read = read_request(message)
    assert isinstance(read, LayerPiece)
    assert (read.layer, bytes(read.data)) == (layer, data)
    assert isinstance(read.data, memoryview)
    assert read.data.obj is message


@given(message=st.binary(max_size=40) | st.builds(chunk_of, st.integers(0, 300), st.binary()))
@example(message=chunk_of(1, b"x") + chunk_of(2, b"y"))
@example(message=b"\x1a\x06\x12\x01x\x08\x02")  # data before layer
@example(message=b"\x1a\x05\x12\x01x\x18\x01")  # a field of another version
@example(message=b"\x1a\x83\x00\x12\x01x")  # a length in more bytes than it needs
@example(message=b"\x1a\x08\x08\xff\xff\xff\xff\x7f\x12\x00")
def test_any_other_shape_is_what_protobuf_makes_of_it(message: bytes) -> None:
    try:
        expected = Request.FromString(message)
    except DecodeError:
        assert read_request(message) == Request()
        return
    read = read_request(message)
    if isinstance(read, LayerPiece):
        chunk = expected.chunk
        assert expected.WhichOneof("message") == "chunk"
        assert (read.layer, bytes(read.data)) == (chunk.layer, chunk.data)
    else:
        assert read == expected


@pytest.mark.parametrize("sizes", [(1,), (127, 128), (1,) * 130, (MAX_CHUNK_BYTES * 2 + 1, 5)])
def test_what_the_client_sends_is_what_protobuf_writes(sizes: tuple[int, ...]) -> None:
    frame = frame_of(*sizes)
    by_protobuf = [Request(chunk=chunk) for chunk in layer_chunks(frame)]
    ours = list(chunk_requests(frame))
    assert [data for data, _ in ours] == [message.SerializeToString() for message in by_protobuf]
    assert [size for _, size in ours] == [len(message.chunk.data) for message in by_protobuf]
    assert serialized(by_protobuf[0]) == ours[0][0] == serialized(ours[0][0])
