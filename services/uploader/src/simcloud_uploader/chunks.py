"""Chunks of layers, read from the wire where they lie.

Nearly all bytes that come are in ``LayerChunk.data``. protobuf copies them twice, into its message
and out of it; here a message of the one shape that writers give a chunk is cut apart in place. Any
other shape, however odd, is protobuf's to read, so that what is accepted does not change.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError

from simcloud.v1 import frame_pb2, uploader_pb2
from simcloud_uploader.receive import LayerPiece

# Tags as they stand in the contract: (field number << 3) | wire type.
_CHUNK: Final = uploader_pb2.UploadShardRequest.CHUNK_FIELD_NUMBER << 3 | 2
_LAYER: Final = frame_pb2.LayerChunk.LAYER_FIELD_NUMBER << 3
_DATA: Final = frame_pb2.LayerChunk.DATA_FIELD_NUMBER << 3 | 2


def read_request(message: bytes) -> LayerPiece | uploader_pb2.UploadShardRequest:
    """One message of an UploadShard client; the data of a chunk is a view of it.

    What is none comes back as the empty message, which no client may send: raised here, gRPC would
    say INTERNAL and hide what is wrong.
    """
    piece = _piece(message)
    if piece is not None:
        return piece
    try:
        return uploader_pb2.UploadShardRequest.FromString(message)
    except DecodeError:
        return uploader_pb2.UploadShardRequest()


def _piece(message: bytes) -> LayerPiece | None:
    """The chunk that fills a message: tag, length, layer unless it is 0, then data to the end."""
    try:
        if message[0] != _CHUNK:
            return None
        size, at = _varint(message, 1)
        if at + size != len(message):
            return None
        layer = 0
        if message[at] == _LAYER:
            layer, at = _varint(message, at + 1)
        if message[at] != _DATA:
            return None
        size, at = _varint(message, at + 1)
    except IndexError:
        return None
    if at + size != len(message) or layer > 0xFFFFFFFF:
        return None
    return LayerPiece(layer, memoryview(message)[at:])


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number at ``at`` and where it ends; five bytes are more than a chunk needs."""
    value = shift = 0
    while shift < 35:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise IndexError(at)
