"""Frames of HTTP/2 (RFC 9113) and gRPC's requests of them, right and wrong ones alike."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from support.http2_hpack import Field, block

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DEFAULT_WINDOW: Final = 65_535
MOST: Final = 2**31 - 1
FRAME_BYTES: Final = 2**14

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY: Final = 0x20


class Kind(IntEnum):
    """Types of frames (section 6)."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class Code(IntEnum):
    """Error codes (section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Setting(IntEnum):
    """Settings (section 6.5.2)."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame as it came."""

    kind: int
    flags: int
    stream: int
    payload: bytes

    @property
    def ends_stream(self) -> bool:
        """Whether it is the last of its side of the stream."""
        return self.kind in {Kind.DATA, Kind.HEADERS} and bool(self.flags & END_STREAM)

    @property
    def number(self) -> int:
        """What a WINDOW_UPDATE adds, or RST_STREAM's code."""
        return int.from_bytes(self.payload[:4], "big") & MOST

    @property
    def settings(self) -> dict[int, int]:
        """What a SETTINGS frame sets."""
        return dict(struct.iter_unpack(">HI", self.payload))


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame (section 4.1)."""
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + struct.pack(">I", stream) + payload
    )


def data(stream: int, payload: bytes = b"", *, end: bool = False, pad: int | None = None) -> bytes:
    """DATA, padded by so many octets if told so."""
    flags = END_STREAM if end else 0
    if pad is not None:
        flags |= PADDED
        payload = bytes([pad]) + payload + bytes(pad)
    return frame(Kind.DATA, flags, stream, payload)


def headers(
    stream: int,
    encoded: bytes,
    *,
    end: bool = False,
    end_headers: bool = True,
    pad: int | None = None,
    priority: bytes = b"",
) -> bytes:
    """HEADERS with a block or the beginning of one."""
    flags = (END_STREAM if end else 0) | (END_HEADERS if end_headers else 0)
    payload = priority + encoded
    if priority:
        flags |= PRIORITY
    if pad is not None:
        flags |= PADDED
        payload = bytes([pad]) + payload + bytes(pad)
    return frame(Kind.HEADERS, flags, stream, payload)


def continuation(stream: int, encoded: bytes, *, end_headers: bool = True) -> bytes:
    """CONTINUATION."""
    return frame(Kind.CONTINUATION, END_HEADERS if end_headers else 0, stream, encoded)


def settings(values: Mapping[Setting, int] | Mapping[int, int] | None = None) -> bytes:
    """SETTINGS."""
    pairs = (values or {}).items()
    return frame(Kind.SETTINGS, 0, 0, b"".join(struct.pack(">HI", *each) for each in pairs))


def ping(payload: bytes = b"12345678", *, ack: bool = False) -> bytes:
    """PING."""
    return frame(Kind.PING, ACK if ack else 0, 0, payload)


def reset(stream: int, code: int = Code.CANCEL) -> bytes:
    """RST_STREAM."""
    return frame(Kind.RST_STREAM, 0, stream, struct.pack(">I", code))


def goaway(last: int = 0, code: int = Code.NO_ERROR, debug: bytes = b"") -> bytes:
    """GOAWAY."""
    return frame(Kind.GOAWAY, 0, 0, struct.pack(">II", last, code) + debug)


def window(stream: int, more: int) -> bytes:
    """WINDOW_UPDATE."""
    return frame(Kind.WINDOW_UPDATE, 0, stream, struct.pack(">I", more))


def priority(stream: int, depends_on: int = 0, weight: int = 15) -> bytes:
    """PRIORITY."""
    return frame(Kind.PRIORITY, 0, stream, struct.pack(">IB", depends_on, weight))


def message(payload: bytes, *, compressed: int = 0, size: int | None = None) -> bytes:
    """A message of gRPC's with its prefix; ``size`` in place of what it has."""
    return struct.pack(">BI", compressed, len(payload) if size is None else size) + payload


ECHO: Final = b"/probe.Probe/Echo"


def fields(path: bytes = ECHO, *more: Field) -> list[Field]:
    """What a gRPC request has (grpc's PROTOCOL-HTTP2.md), and more."""
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"probe"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        *more,
    ]


def opens(stream: int, path: bytes = ECHO, *more: Field) -> bytes:
    """HEADERS of a request whose messages are to follow."""
    return headers(stream, block(fields(path, *more)))


def request(stream: int, payload: bytes = b"", path: bytes = ECHO) -> bytes:
    """A whole request of one message."""
    return opens(stream, path) + data(stream, message(payload), end=True)
