"""The sending side of a connection: frames, the peer's windows, and what waits for them."""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final

from simcloud.rpc.http2.frames import (
    CONTINUATION,
    DATA,
    DEFAULT_MAX_FRAME,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    HEADERS,
    LARGEST_WINDOW,
    ConnectionFailure,
    frame,
    pack_header,
)
from simcloud.rpc.http2.stream import Stream
from simcloud.rpc.http2.unsent import Unsent
from simcloud.rpc.http2.wire import OK_BLOCK, PREFIX_BYTES, RESPONSE_BLOCK

# Of an answer that fits everywhere: HEADERS, then the header of DATA, then a message's prefix, all
# in one piece; behind the message its trailers.
_HEADERS_START: Final = pack_header(0, len(RESPONSE_BLOCK), HEADERS, END_HEADERS, 0)[:5]
_TRAILERS_START: Final = pack_header(0, len(OK_BLOCK), HEADERS, END_HEADERS | END_STREAM, 0)[:5]
_ANSWER: Final = struct.Struct(f">5sI{len(RESPONSE_BLOCK)}sHBBBIBI").pack
_TRAILERS: Final = struct.Struct(f">5sI{len(OK_BLOCK)}s").pack
_MESSAGE: Final = struct.Struct(">HBBBIBI").pack
_PREFIX: Final = struct.Struct(">BI").pack

# What is put together before the transport is asked to take it, bytes; with more, calls wait.
_BATCH_BYTES: Final = 256 * 1024
# Copied into one piece up to here; larger ones are handed over as they are.
_JOIN_BYTES: Final = 64 * 1024


class Sender:
    """Frames of one connection on their way out.

    What calls send within one turn of the loop leaves as one write.

    Args:
        loop: of the connection.
        ended: called with a stream whose last frame was handed over.
        unsent: what all connections keep for peers that don't take it.
    """

    __slots__ = (
        "_blocked",
        "_ended",
        "_loop",
        "_out",
        "_scheduled",
        "_size",
        "_total",
        "_transport",
        "_unsent",
        "_window",
        "calls_sent",
        "full",
        "held",
        "initial_window",
        "max_frame",
        "moved",
        "paused",
        "prelude",
        "true_binary",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, ended: Callable[[Any], None], unsent: Unsent
    ) -> None:
        self._loop = loop
        self._ended = ended
        self._unsent = unsent
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes | memoryview] = []
        self._size = 0
        self._scheduled = False
        # What the peer takes now, and what it has said that it takes since it came.
        self._window = self._total = DEFAULT_WINDOW
        # Streams with something to send and room in their own window, in the order of their turns.
        self._blocked: dict[int, Stream] = {}
        self.initial_window = DEFAULT_WINDOW
        """Of new streams."""
        self.max_frame = DEFAULT_MAX_FRAME
        self.paused = False
        """The transport is full."""
        self.full: Callable[[], None] | None = None
        """Called when it was given more nonetheless: what no window holds back."""
        self.held = 0
        """Bytes that wait in outboxes of calls that have ended: nobody else bounds them."""
        self.moved = 0
        """Bytes of such that have left."""
        self.calls_sent = False
        """Whether HEADERS or DATA have left since someone last asked."""
        self.true_binary = False
        """Whether the peer takes binary metadata without base64."""
        self.prelude = b""
        """Begins the next header block."""

    @property
    def sent_bytes(self) -> int:
        """Of DATA, since the connection began."""
        return self._total - self._window

    def open(self, transport: asyncio.Transport) -> None:
        """Has a transport from here on."""
        self._transport = transport
        transport.set_write_buffer_limits(high=_BATCH_BYTES)

    def control(self, data: bytes) -> None:
        """Sends frames that no window holds back."""
        self._out.append(data)
        self._size += len(data)
        self._schedule()

    def answer(self, stream: Stream, message: bytes) -> None:
        """The whole of a call's answer: plain headers, one message, trailers that say OK."""
        size = len(message) + PREFIX_BYTES
        if not self._fits(stream, size) or self.prelude:
            self.headers(stream.stream_id, RESPONSE_BLOCK)
            self.message(stream, message)
            self.end(stream, OK_BLOCK)
            return
        number = stream.stream_id
        out = self._out
        out.append(
            _ANSWER(
                _HEADERS_START,
                number,
                RESPONSE_BLOCK,
                size >> 8,
                size & 0xFF,
                DATA,
                0,
                number,
                0,
                size - PREFIX_BYTES,
            )
        )
        out.append(message)
        out.append(_TRAILERS(_TRAILERS_START, number, OK_BLOCK))
        self._window -= size
        self._size += size
        self.calls_sent = True
        self._ended(stream)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _fits(self, stream: Stream, size: int) -> bool:
        return (
            size <= self.max_frame
            and size <= self._window
            and size <= stream.send_left
            and stream.outbox is None
            and not self.paused
            and self._size < _BATCH_BYTES
        )

    def headers(self, number: int, block: bytes, *, end: bool = False) -> None:
        """A header block, in as many frames as it needs (RFC 9113, section 6.10)."""
        block, self.prelude = self.prelude + block, b""
        self.calls_sent = True
        flags, most = END_STREAM if end else 0, self.max_frame
        if len(block) <= most:
            self.control(frame(HEADERS, flags | END_HEADERS, number, block))
            return
        self.control(frame(HEADERS, flags, number, block[:most]))
        for start in range(most, len(block), most):
            last = END_HEADERS if start + most >= len(block) else 0
            self.control(frame(CONTINUATION, last, number, block[start : start + most]))

    def message(self, stream: Stream, message: bytes) -> bool:
        """A message; whether it has left. If not, ``stream.writers`` hears when it has."""
        size = len(message) + PREFIX_BYTES
        if self._fits(stream, size):
            number = stream.stream_id
            self._out.append(
                _MESSAGE(size >> 8, size & 0xFF, DATA, 0, number, 0, size - PREFIX_BYTES)
            )
            self._out.append(message)
            self._window -= size
            stream.send_left -= size
            self._size += size
            self.calls_sent = True
            self._schedule()
            return True
        if stream.outbox is None:
            stream.outbox = deque()
        stream.outbox.append(memoryview(_PREFIX(0, size - PREFIX_BYTES)))
        if message:
            stream.outbox.append(memoryview(message))
        self._blocked[stream.stream_id] = stream
        self.pump()
        if stream.outbox is None:
            return True
        self._unsent.keep(stream, size)
        return False

    def end(self, stream: Stream, block: bytes) -> None:
        """Trailers, behind what still waits."""
        if stream.outbox is not None:
            stream.end_block = block
            self.held += sum(map(len, stream.outbox))
            return
        self.headers(stream.stream_id, block, end=True)
        self._ended(stream)

    def forget(self, stream: Stream) -> None:
        """Nothing more of this stream is sent."""
        self._blocked.pop(stream.stream_id, None)
        self._unsent.free(stream)
        if stream.end_block is not None and stream.outbox is not None:
            self.held -= sum(map(len, stream.outbox))

    def pump(self) -> None:
        """Sends what windows and transport let pass, a frame of each stream in turn."""
        blocked = self._blocked
        while blocked and self._window > 0 and not self.paused and self._size < _BATCH_BYTES:
            number = next(iter(blocked))
            stream = blocked.pop(number)
            if stream.outbox is None or stream.send_left <= 0:
                continue  # Its own window brings it back.
            self._send_some(stream, stream.outbox)
            if stream.outbox:
                blocked[number] = stream
                continue
            stream.outbox = None
            self._unsent.free(stream)
            stream.wake_writers()
            if stream.end_block is not None:
                self.end(stream, stream.end_block)

    def _send_some(self, stream: Stream, outbox: deque[memoryview]) -> None:
        # One DATA frame. The prefix and the message behind it share it.
        room = min(self._window, stream.send_left, self.max_frame)
        parts: list[memoryview] = []
        size = 0
        while outbox and size < room:
            head = outbox.popleft()
            if len(head) > room - size:
                outbox.appendleft(head[room - size :])
                head = head[: room - size]
            parts.append(head)
            size += len(head)
        self._out.append(pack_header(size >> 8, size & 0xFF, DATA, 0, stream.stream_id))
        self._out += parts
        if stream.end_block is not None:
            self.held -= size
            self.moved += size
        self.calls_sent = True
        self._window -= size
        stream.send_left -= size
        self._size += size
        self._schedule()

    def widen(self, stream: Stream | None, increment: int) -> bool:
        """The peer takes more, of one stream or of the connection.

        Returns:
            False: the stream's window is now larger than any may be (section 6.9.1).

        Raises:
            ConnectionFailure: the connection's is.
        """
        if stream is None:
            self._window += increment
            self._total += increment
            if self._window > LARGEST_WINDOW:
                raise ConnectionFailure(FLOW_CONTROL_ERROR, "the connection's window overflows")
        else:
            stream.send_left += increment
            if stream.send_left > LARGEST_WINDOW:
                return False
            if stream.outbox is not None:
                self._blocked[stream.stream_id] = stream
        if self._blocked:
            self.pump()
        return True

    def resize(self, window: int, streams: Mapping[int, Stream]) -> None:
        """The peer's INITIAL_WINDOW_SIZE, which changes all streams' windows (section 6.9.2).

        Raises:
            ConnectionFailure: one is now too large.
        """
        change, self.initial_window = window - self.initial_window, window
        for stream in streams.values():
            stream.send_left += change
            if stream.send_left > LARGEST_WINDOW:
                raise ConnectionFailure(FLOW_CONTROL_ERROR, "a stream's window overflows")
            if stream.outbox is not None:
                self._blocked[stream.stream_id] = stream
        self.pump()

    def resume(self) -> None:
        """The transport takes more."""
        self.paused = False
        self.pump()

    def close(self) -> None:
        """There is no transport any more."""
        self._transport = None
        self._blocked.clear()
        self._out, self._size = [], 0

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        self.flush()
        if self._blocked:
            self.pump()

    def flush(self) -> None:
        """Hands everything to the transport."""
        out, size, transport = self._out, self._size, self._transport
        if not out:
            return
        self._out, self._size = [], 0
        if transport is None or transport.is_closing():
            return
        if size <= _JOIN_BYTES:
            transport.write(b"".join(out))
        else:
            transport.writelines(out)
        if self.paused and self.full is not None:
            self.full()
