"""HTTP/2 frames and error codes (RFC 9113, sections 4.1, 6 and 7)."""

from __future__ import annotations

import struct
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client says first (section 3.4)."""

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITIZED: Final = 0x20

HEADER_TABLE_SIZE: Final = 0x1
ENABLE_PUSH: Final = 0x2
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5
MAX_HEADER_LIST_SIZE: Final = 0x6
TRUE_BINARY_METADATA: Final = 0xFE03
"""gRPC's own (proposal G1): the peer takes binary metadata as it is, a quarter smaller."""

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FLOW_CONTROL_ERROR: Final = 0x3
SETTINGS_TIMEOUT: Final = 0x4
STREAM_CLOSED: Final = 0x5
FRAME_SIZE_ERROR: Final = 0x6
REFUSED_STREAM: Final = 0x7
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
ENHANCE_YOUR_CALM: Final = 0xB

DEFAULT_WINDOW: Final = 65_535
"""Both windows of a peer that has said nothing (section 6.9.2)."""
DEFAULT_MAX_FRAME: Final = 16_384
"""Largest payload that a peer takes that has said nothing (section 4.2)."""
LARGEST_MAX_FRAME: Final = (1 << 24) - 1
LARGEST_WINDOW: Final = (1 << 31) - 1
LARGEST_STREAM: Final = (1 << 31) - 1

HEADER_BYTES: Final = 9
unpack_header: Final = struct.Struct(">HBBBI").unpack_from
"""Length without its last byte, that byte, type, flags, stream with its reserved bit."""
pack_header: Final = struct.Struct(">HBBBI").pack
_SETTING: Final = struct.Struct(">HI")
_U32: Final = struct.Struct(">I")


class ConnectionFailure(Exception):
    """The peer broke the rules: the connection ends with GOAWAY (section 5.4.1)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One whole frame."""
    size = len(payload)
    return pack_header(size >> 8, size & 0xFF, kind, flags, stream_id) + payload


def settings_frame(values: dict[int, int]) -> bytes:
    """SETTINGS by identifier (section 6.5)."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(*each) for each in values.items()))


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Identifiers and values of SETTINGS, in their order.

    Raises:
        ConnectionFailure: the length is no multiple of six.
    """
    if len(payload) % _SETTING.size:
        raise ConnectionFailure(FRAME_SIZE_ERROR, "SETTINGS of an odd length")
    return [(key, value) for key, value in _SETTING.iter_unpack(payload)]


def window_update(stream_id: int, increment: int) -> bytes:
    """WINDOW_UPDATE (section 6.9)."""
    return frame(WINDOW_UPDATE, 0, stream_id, _U32.pack(increment))


def rst_stream(stream_id: int, code: int) -> bytes:
    """RST_STREAM (section 6.4)."""
    return frame(RST_STREAM, 0, stream_id, _U32.pack(code))


def goaway(last_stream_id: int, code: int, reason: str = "") -> bytes:
    """GOAWAY (section 6.8)."""
    debug = reason.encode()
    return frame(GOAWAY, 0, 0, _U32.pack(last_stream_id) + _U32.pack(code) + debug)


def read_u32(payload: bytes) -> int:
    """The number of a RST_STREAM or WINDOW_UPDATE, whose length was checked."""
    value: int = _U32.unpack(payload)[0]
    return value
