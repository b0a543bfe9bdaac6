"""Chunks of layers as they stand on the wire, made with one copy.

Nearly all bytes that an upload sends are in ``LayerChunk.data``. Through protobuf they would be
copied three times on their way out: the slice, the field, the serialized message.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from simcloud.dataset.frames import MAX_CHUNK_BYTES, EncodedFrame
from simcloud.v1 import frame_pb2, uploader_pb2

# Tags as they stand in the contract: (field number << 3) | wire type.
_CHUNK: Final = bytes([uploader_pb2.UploadShardRequest.CHUNK_FIELD_NUMBER << 3 | 2])
_LAYER: Final = bytes([frame_pb2.LayerChunk.LAYER_FIELD_NUMBER << 3])
_DATA: Final = bytes([frame_pb2.LayerChunk.DATA_FIELD_NUMBER << 3 | 2])

Request = uploader_pb2.UploadShardRequest | bytes
"""A message of UploadShard's client, or one that is serialized already."""


def serialized(request: Request) -> bytes:
    """A message's bytes; the serializer of the call that ``chunk_requests`` are sent on."""
    return request if isinstance(request, bytes) else request.SerializeToString()


def chunk_requests(frame: EncodedFrame) -> Iterator[tuple[bytes, int]]:
    """The messages that follow a frame's header, each with its payload bytes.

    Byte for byte what protobuf writes of ``UploadShardRequest(chunk=...)``.
    """
    for index, layer in enumerate(frame.layers):
        number = _LAYER + _varint(index) if index else b""  # 0 is left out, as proto3 says
        whole = memoryview(layer.data)
        for begin in range(0, len(whole), MAX_CHUNK_BYTES):
            data = whole[begin : begin + MAX_CHUNK_BYTES]
            head = number + _DATA + _varint(len(data))
            size = _varint(len(head) + len(data))
            yield b"".join((_CHUNK, size, head, data)), len(data)


def _varint(value: int) -> bytes:
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
