"""Bytes of a connection to frames (RFC 9113, sections 3.4, 4 and 6.1)."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from typing import Final

from simcloud.rpc.http2 import frames
from simcloud.rpc.http2.context import Context
from simcloud.rpc.http2.frames import (
    DATA,
    END_STREAM,
    HEADER_BYTES,
    PADDED,
    PREFACE,
    ConnectionFailure,
    unpack_header,
)
from simcloud.rpc.http2.heads import Heads
from simcloud.rpc.http2.limits import Limits
from simcloud.telemetry.logging import get_logger

_log = get_logger(__name__)

# Of frames that are neither DATA nor headers: our peers' have a few bytes.
_MAX_OTHER_BYTES: Final = 16 * 1024
_STREAM_MASK: Final = 0x7FFF_FFFF


class Framing(asyncio.BufferedProtocol):
    """The reading half of a connection. ``connection.Connection`` extends it.

    Received bytes lie in a buffer that all connections of a server share: between ``get_buffer``
    and ``buffer_updated`` no other one is read (asyncio's selector loops, and uvloop). What is left
    over, at most a frame's beginning, is kept here. DATA is handed on as it comes, all other
    frames when they are whole.

    Args:
        limits: of frames.
        buffer: what bytes are received into, larger than any block of headers.
    """

    def __init__(self, limits: Limits, buffer: bytearray) -> None:
        self.limits = limits
        self.heads = Heads(limits.max_header_bytes)
        self.view = memoryview(buffer)
        self.settled = False
        """The peer has said that it speaks HTTP/2, and how."""
        self.closing = False
        """Nothing that comes counts any more."""
        self.heard = False
        """Whether something has come since someone last looked."""
        self._buffer = buffer
        self._held = b""
        self._greeted = False
        # Of the DATA frame under way: its stream, what is to come of its data and padding, and
        # whether the stream ends with it.
        self._data_stream: Context | None = None
        self._data_left = 0
        self._padding_left = 0
        self._data_ends = False

    @abstractmethod
    def data_begins(self, number: int, length: int, *, empty: bool, ends: bool) -> Context | None:
        """Counts a DATA frame against the windows; None: nobody wants it.

        Args:
            number: of its stream.
            length: of its payload, padding included.
            empty: whether that is padding alone, or nothing.
            ends: whether the peer's side of the stream ends with it.

        Raises:
            ConnectionFailure: it must not come.
        """

    @abstractmethod
    def data(self, stream: Context | None, start: int, stop: int, *, ends: bool) -> None:
        """Takes a part of ``view`` that is data of a stream; ``ends``: the last."""

    @abstractmethod
    def frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """Takes any other frame, when it is whole.

        Raises:
            ConnectionFailure: it must not come.
        """

    @abstractmethod
    def fail(self, code: int, reason: str) -> None:
        """Ends the connection."""

    @abstractmethod
    def crossed(self, size: int) -> None:
        """Counts bytes that came after the end: nobody reads them."""

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        held = self._held
        if held:
            size = len(held)
            self.view[:size] = held
            return self.view[size:]
        return self.view

    def buffer_updated(self, nbytes: int) -> None:
        """Takes what has come."""
        if self.closing:
            self.crossed(nbytes)
            return
        end = len(self._held) + nbytes
        self.heard = True
        try:
            position = self._take(end)
            self._held = bytes(self.view[position:end]) if position < end else b""
        except ConnectionFailure as failure:
            self.fail(failure.code, failure.reason)
        except Exception as error:
            # A bug of ours: the loop would cut the connection without a word to the peer.
            _log.error("a frame can't be handled", exc_info=error)
            self.fail(frames.INTERNAL_ERROR, "internal error")

    def _take(self, end: int) -> int:
        """Takes what is whole; returns where the rest begins."""
        position = 0
        if not self._greeted:
            position = self._greet(end)
            if not self._greeted:
                return position
        buffer = self._buffer
        while position < end:
            if self._data_left or self._padding_left:
                position = self._go_on(position, end)
                continue
            if end - position < HEADER_BYTES:
                break
            high, low, kind, flags, number = unpack_header(buffer, position)
            length, number = high << 8 | low, number & _STREAM_MASK
            start = position + HEADER_BYTES
            if kind == DATA:
                if start >= end and length and flags & PADDED:
                    break  # The length of the padding is to come.
                position = self._begin_data(start, end, flags, number, length)
                continue
            self._check_length(kind, length)
            if start + length > end:
                break
            position = start + length
            if not self.settled and kind == frames.SETTINGS and not flags & frames.ACK:
                self.settled = True
            self._expect(kind, number)
            self.frame(kind, flags, number, bytes(self.view[start:position]))
        return position

    def _check_length(self, kind: int, length: int) -> None:
        if length > self.limits.max_frame_bytes:
            raise ConnectionFailure(frames.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
        if kind in {frames.HEADERS, frames.CONTINUATION}:
            if length > self.heads.max_block_bytes:
                raise ConnectionFailure(frames.ENHANCE_YOUR_CALM, f"headers of {length} bytes")
        elif length > _MAX_OTHER_BYTES:
            raise ConnectionFailure(frames.FRAME_SIZE_ERROR, f"a frame of {length} bytes")

    def _greet(self, end: int) -> int:
        size = min(end, len(PREFACE))
        if self.view[:size] != PREFACE[:size]:
            raise ConnectionFailure(frames.PROTOCOL_ERROR, "this is a server of HTTP/2 (gRPC)")
        if size < len(PREFACE):
            return 0
        self._greeted = True
        return size

    def _begin_data(self, start: int, end: int, flags: int, number: int, length: int) -> int:
        """A DATA frame (RFC 9113, section 6.1); returns where what is taken of it ends."""
        if length > self.limits.max_frame_bytes:
            raise ConnectionFailure(frames.FRAME_SIZE_ERROR, f"a frame of {length} bytes")
        self._expect(DATA, number)
        padding = 0
        if flags & PADDED:
            if not length:
                raise ConnectionFailure(frames.FRAME_SIZE_ERROR, "padding without its length")
            padding = self._buffer[start] + 1
            if padding > length:
                raise ConnectionFailure(frames.PROTOCOL_ERROR, "more padding than payload")
            start += 1
        size = length - padding
        ends = bool(flags & END_STREAM)
        stream = self.data_begins(number, length, empty=not size, ends=ends)
        stop = start + size
        padding = max(0, padding - 1)
        if stop <= end:
            self.data(stream, start, stop, ends=ends)
            self._padding_left = padding
            return stop
        self._data_stream, self._data_left, self._padding_left = stream, size, padding
        self._data_ends = ends
        return self._go_on(start, end)

    def _go_on(self, position: int, end: int) -> int:
        """More of the DATA frame under way."""
        if self._data_left:
            stop = min(end, position + self._data_left)
            self._data_left -= stop - position
            ends = self._data_ends and not self._data_left
            stream = self._data_stream
            if not self._data_left:
                self._data_stream = None
            self.data(stream, position, stop, ends=ends)
            return stop
        stop = min(end, position + self._padding_left)
        self._padding_left -= stop - position
        return stop

    def _expect(self, kind: int, number: int) -> None:
        """Checks a frame against what must come next.

        Raises:
            ConnectionFailure: something else has to.
        """
        if not self.settled:
            raise ConnectionFailure(frames.PROTOCOL_ERROR, "SETTINGS come first")
        expecting = self.heads.expecting
        if (kind == frames.CONTINUATION) != bool(expecting) or (expecting and number != expecting):
            raise ConnectionFailure(
                frames.PROTOCOL_ERROR, "CONTINUATION where none belongs, or none"
            )
