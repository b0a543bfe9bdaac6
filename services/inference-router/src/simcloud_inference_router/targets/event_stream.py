"""AWS's event stream framing, as InvokeEndpointWithResponseStream answers in it; pure.

A message is its length, the length of its headers, a CRC-32 of those eight bytes, headers, payload,
and a CRC-32 of all before it; numbers are big-endian (Smithy, "application/vnd.amazon.eventstream";
compared with botocore's parser in the unit tests).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

MEDIA_TYPE = "application/vnd.amazon.eventstream"

MAX_HEADERS_BYTES = 128 * 1024
MAX_PAYLOAD_BYTES = 24 * 1024 * 1024
"""botocore's own limits (botocore/eventstream.py)."""

_PRELUDE = struct.Struct(">III")
_CRC_BYTES = 4
_OVERHEAD = _PRELUDE.size + _CRC_BYTES
_TEXT = 7

# Bytes of a value by its type; None: two bytes of length stand before it.
_VALUE_BYTES: Mapping[int, int | None] = {
    0: 0,  # true
    1: 0,  # false
    2: 1,  # byte
    3: 2,  # short
    4: 4,  # integer
    5: 8,  # long
    6: None,  # bytes
    _TEXT: None,
    8: 8,  # timestamp
    9: 16,  # UUID
}


class MalformedStream(Exception):
    """The bytes are no event stream; the message says expected and found."""


@dataclass(frozen=True, slots=True)
class Event:
    """One message."""

    payload: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that are text, by name; ``:event-type`` says what the payload is."""


class EventStreamDecoder:
    """Messages of a stream that comes in pieces.

    Holds at most one message that is not yet whole; its size is checked as soon as it is claimed.

    Args:
        max_payload_bytes: largest payload.
    """

    def __init__(self, *, max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> None:
        self._limit = max_payload_bytes
        self._buffer = bytearray()
        self._wanted = 0
        """Length of the message that is being read; 0: its prelude is not there yet."""

    def feed(self, data: bytes) -> list[Event]:
        """Takes the next piece; gives the messages that are whole now.

        Raises:
            MalformedStream: a checksum, a length or a header is wrong; the stream is of no use
                from there on.
        """
        self._buffer += data
        events: list[Event] = []
        position = 0
        while len(self._buffer) - position >= _PRELUDE.size:
            if not self._wanted:
                self._wanted = self._total_length(position)
            if len(self._buffer) - position < self._wanted:
                break
            end = position + self._wanted
            events.append(_event(bytes(self._buffer[position:end])))
            position = end
            self._wanted = 0
        del self._buffer[:position]
        return events

    def finish(self) -> None:
        """Checks that the stream did not end within a message.

        Raises:
            MalformedStream: it did.
        """
        if self._buffer:
            raise MalformedStream(f"the stream ends {len(self._buffer)} bytes into a message")

    def _total_length(self, position: int) -> int:
        total, headers, crc = _PRELUDE.unpack_from(self._buffer, position)
        found = zlib.crc32(self._buffer[position : position + 8])
        if found != crc:
            raise MalformedStream(f"CRC-32 of a prelude is {found:08x}, expected {crc:08x}")
        if headers > MAX_HEADERS_BYTES or total < _OVERHEAD + headers:
            raise MalformedStream(f"a message of {total} bytes has {headers} bytes of headers")
        if total - _OVERHEAD - headers > self._limit:
            raise MalformedStream(
                f"a payload has {total - _OVERHEAD - headers} bytes, at most {self._limit} are read"
            )
        return int(total)


def encode_event(event: Event) -> bytes:
    """The message of an event; the opposite of the decoder."""
    headers = bytearray()
    for name, value in event.headers.items():
        text, key = value.encode(), name.encode()
        headers += bytes([len(key)]) + key + bytes([_TEXT]) + struct.pack(">H", len(text)) + text
    total = _OVERHEAD + len(headers) + len(event.payload)
    lengths = struct.pack(">II", total, len(headers))
    message = lengths + struct.pack(">I", zlib.crc32(lengths)) + headers + event.payload
    return message + struct.pack(">I", zlib.crc32(message))


def _event(message: bytes) -> Event:
    (crc,) = struct.unpack_from(">I", message, len(message) - _CRC_BYTES)
    found = zlib.crc32(message[:-_CRC_BYTES])
    if found != crc:
        raise MalformedStream(f"CRC-32 of a message is {found:08x}, expected {crc:08x}")
    _, size, _ = _PRELUDE.unpack_from(message)
    end = _PRELUDE.size + size
    return Event(message[end:-_CRC_BYTES], _headers(message[_PRELUDE.size : end]))


def _headers(data: bytes) -> dict[str, str]:
    headers: dict[str, str] = {}
    position = 0
    try:
        while position < len(data):
            size = data[position]
            name = _taken(data, position + 1, size).decode()
            position += 1 + size
            kind = data[position]
            length = _VALUE_BYTES[kind]
            position += 1
            if length is None:
                length = int.from_bytes(_taken(data, position, 2), "big")
                position += 2
            value = _taken(data, position, length)
            position += length
            if kind == _TEXT:
                headers[name] = value.decode()
    except (IndexError, KeyError, UnicodeDecodeError) as exc:
        raise MalformedStream(f"headers can't be read at byte {position}") from exc
    return headers


def _taken(data: bytes, start: int, size: int) -> bytes:
    if start + size > len(data):
        raise IndexError
    return data[start : start + size]
