"""One connection: bytes in, frames to streams."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, cast

from simcloud.rpc.http2 import frames
from simcloud.rpc.http2.calls import Calls
from simcloud.rpc.http2.context import Context
from simcloud.rpc.http2.control import Control
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
from simcloud.rpc.http2.lifetime import Lifetime
from simcloud.rpc.http2.messages import Inbox, MessageRefused
from simcloud.rpc.http2.sending import Sender
from simcloud.rpc.http2.wire import PREFIX_BYTES

if TYPE_CHECKING:
    from simcloud.rpc.http2.server import Shared

# Of frames that are neither DATA nor headers: our peers' have a few bytes.
_MAX_OTHER_BYTES: Final = 16 * 1024
_STREAM_MASK: Final = 0x7FFF_FFFF
_read_prefix: Final = struct.Struct(">BI").unpack_from


class Connection(asyncio.BufferedProtocol):
    """A peer's connection.

    Received bytes lie in a buffer that all connections of a server share: between ``get_buffer``
    and ``buffer_updated`` no other one is read (asyncio's selector loops, and uvloop). What is left
    over, at most a frame's beginning, is kept here.

    Args:
        shared: what the server's connections have in common.
    """

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.limits = shared.limits
        self.loop = shared.loop
        self.peer = ""
        self.auth_context: Mapping[str, list[bytes]] = {}
        self.streams: dict[int, Context] = {}
        self.calls = Calls(self)
        self.sender = Sender(self.loop, self.calls.ended)
        self.control = Control(limits=self.limits, sender=self.sender, streams=self.streams)
        self.lifetime = Lifetime(self)
        self.transport: asyncio.Transport | None = None
        self.heads = Heads(self.limits.max_header_bytes)
        self._view = shared.view
        self._held = b""
        self._greeted = False
        self.settled = False
        """The peer has said that it speaks HTTP/2, and how."""
        self._closing = False
        self._receive_left = self.limits.connection_window_bytes
        # Of the DATA frame under way: its stream, what is to come of its data and padding, and
        # whether the stream ends with it.
        self._data_stream: Context | None = None
        self._data_left = 0
        self._padding_left = 0
        self._data_ends = False

    # --- the transport's calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Says hello: SETTINGS may be sent before the peer's preface (RFC 9113, section 3.4)."""
        self.transport = cast("asyncio.Transport", transport)
        self.sender.open(self.transport)
        self.peer, self.auth_context = self.shared.identify(self.transport)
        if not self.shared.admit(self):
            self.transport.abort()
            return
        self.transport.write(self.control.hello())
        self.lifetime.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends every call: nobody is there to take an answer."""
        self._closing = True
        self.lifetime.end()
        self.sender.close()
        self.calls.abandon_all()
        self.shared.gone(self)

    def pause_writing(self) -> None:
        """The peer reads more slowly than we write."""
        self.sender.paused = True
        self.lifetime.check_backlog()

    def resume_writing(self) -> None:
        """It has caught up."""
        self.lifetime.resume_reading()
        self.sender.resume()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        held = self._held
        if held:
            size = len(held)
            self._view[:size] = held
            return self._view[size:]
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Takes what has come."""
        if self._closing:
            return
        end = len(self._held) + nbytes
        self.lifetime.heard = True
        try:
            position = self._take(end)
            self._held = bytes(self._view[position:end]) if position < end else b""
        except ConnectionFailure as failure:
            self.fail(failure.code, failure.reason)

    def eof_received(self) -> bool:
        """The peer sends no more; nobody half-closes a connection of HTTP/2."""
        return False

    def fail(self, code: int, reason: str) -> None:
        """Ends the connection with GOAWAY (RFC 9113, section 5.4.1)."""
        if self._closing:
            return
        self._closing = True
        self._held = b""
        self.sender.control(frames.goaway(self.calls.last_stream, code, reason))
        self.sender.flush()
        if code != frames.NO_ERROR:
            self.shared.refused(self.peer, reason)
        self.calls.abandon_all()
        self.lifetime.close()

    # --- bytes to frames ---

    def _take(self, end: int) -> int:
        """Takes what is whole; returns where the rest begins."""
        position = 0
        if not self._greeted:
            position = self._greet(end)
            if not self._greeted:
                return position
        buffer = self.shared.buffer
        while position < end:
            if self._data_left or self._padding_left:
                position = self._go_on(position, end)
                continue
            if end - position < HEADER_BYTES:
                return position
            high, low, kind, flags, number = unpack_header(buffer, position)
            length, number = high << 8 | low, number & _STREAM_MASK
            if kind == DATA:
                start = position + HEADER_BYTES
                if flags & PADDED and length and start >= end:
                    return position
                position = self._begin_data(start, end, flags, number, length)
                continue
            self._check_length(kind, length)
            stop = position + HEADER_BYTES + length
            if stop > end:
                return position
            self._take_frame(kind, flags, number, bytes(self._view[stop - length : stop]))
            position = stop
            if self._closing:
                return end
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
        if self._view[:size] != PREFACE[:size]:
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
            padding = self.shared.buffer[start] + 1
            if padding > length:
                raise ConnectionFailure(frames.PROTOCOL_ERROR, "more padding than payload")
            start += 1
        stream = self._receiving(number, length, bool(flags & END_STREAM))
        size = length - padding
        stop = start + size
        padding = max(0, padding - 1)
        if stop <= end:
            self._data(stream, start, stop, bool(flags & END_STREAM))
            self._padding_left = padding
            return stop
        self._data_stream, self._data_left, self._padding_left = stream, size, padding
        self._data_ends = bool(flags & END_STREAM)
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
            self._data(stream, position, stop, ends)
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

    # --- DATA to messages ---

    def _receiving(self, number: int, length: int, ends: bool) -> Context | None:
        """Counts a DATA frame against the windows (section 6.9); None: nobody wants it."""
        self._receive_left -= length
        if self._receive_left < 0:
            raise ConnectionFailure(frames.FLOW_CONTROL_ERROR, "more than the connection's window")
        window = self.limits.connection_window_bytes
        if self._receive_left < window // 2:
            self.sender.control(frames.window_update(0, window - self._receive_left))
            self._receive_left = window
        if not length and not ends:
            self.control.oddity()
        stream = self.streams.get(number)
        if stream is None:
            self.calls.late(number, ends=ends)
            return None
        stream.receive_left -= length
        if stream.remote_ended:
            self.calls.reset(stream, frames.STREAM_CLOSED)
            return None
        if stream.receive_left < 0:
            self.calls.reset(stream, frames.FLOW_CONTROL_ERROR)
            return None
        return stream

    def _data(self, stream: Context | None, start: int, stop: int, ends: bool) -> None:
        if stream is None or stream.remote_ended or stream.stream_id not in self.streams:
            return
        size = stop - start
        if stream.content_left is not None and not self._counted(stream, size, ends):
            return
        if ends and stream.inbox is None and size >= PREFIX_BYTES and not stream.method.streams_in:
            # The usual call: one message in one frame, and the end.
            flag, length = _read_prefix(self.shared.buffer, start)
            if not flag and length == size - PREFIX_BYTES <= self.limits.max_message_bytes:
                stream.request = bytes(self._view[start + PREFIX_BYTES : stop])
                stream.remote_ended = True
                self.calls.begin(stream)
                return
        inbox = stream.inbox
        if inbox is None:
            inbox = stream.inbox = Inbox(self.limits.max_message_bytes, stream.head.encoding)
        try:
            inbox.feed(self._view[start:stop])
        except MessageRefused as error:
            self.calls.refuse(stream, error.code, error.details)
            return
        if ends:
            self.calls.remote_ended(stream)
        else:
            self.taken(stream, inbox)
            if stream.reader is not None and inbox.messages:
                stream.wake_reader()

    def _counted(self, stream: Context, size: int, ends: bool) -> bool:
        """Counts what comes against a content-length (section 8.1.1)."""
        assert stream.content_left is not None
        stream.content_left -= size
        if stream.content_left < 0 or (ends and stream.content_left):
            self.calls.reset(stream, frames.PROTOCOL_ERROR)
            return False
        return True

    def taken(self, stream: Context, inbox: Inbox) -> None:
        """Gives a stream's window back as messages are taken (section 6.9).

        A message larger than the window gets what it needs, when none before it waits.
        """
        if stream.remote_ended or stream.local_ended:
            return
        window, left = self.limits.stream_window_bytes, stream.receive_left
        more = window - left - inbox.held
        if not inbox.messages and inbox.missing > left:
            more = max(more, inbox.missing - left)
        elif more < window // 2:
            return
        stream.receive_left += more
        self.sender.control(frames.window_update(stream.stream_id, more))

    # --- the other frames ---

    def _take_frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if not self.settled and kind == frames.SETTINGS and not flags & frames.ACK:
            self.settled = True
        self._expect(kind, number)
        match kind:
            case frames.HEADERS:
                self._headers(flags, number, payload)
            case frames.CONTINUATION:
                whole = self.heads.go_on(flags, payload)
                if whole is not None:
                    self.calls.headers(number, whole[0], ends=whole[1])
            case frames.RST_STREAM:
                self._check(kind, payload, number, needs_stream=True)
                self.calls.cancelled(number)
            case frames.WINDOW_UPDATE:
                self._check(kind, payload, number, needs_stream=None)
                self._window_update(number, frames.read_u32(payload) & frames.LARGEST_WINDOW)
            case frames.SETTINGS:
                self._check(kind, payload, number, needs_stream=False)
                self.control.settings(flags, payload)
            case frames.PING:
                self._check(kind, payload, number, needs_stream=False)
                if self.control.ping(flags, payload):
                    self.lifetime.answered(payload)
                self.lifetime.check_backlog()
            case _:
                self._rarer(kind, payload, number)

    def _rarer(self, kind: int, payload: bytes, number: int) -> None:
        match kind:
            case frames.PRIORITY:
                self._check(kind, payload, number, needs_stream=True)
            case frames.PUSH_PROMISE:
                raise ConnectionFailure(frames.PROTOCOL_ERROR, "clients promise nothing")
            case frames.GOAWAY:
                self._check(kind, payload[:8], number, needs_stream=False)
            case _:
                pass  # Section 4.1: unknown frames are ignored.
        self.control.oddity()

    def _check(self, kind: int, payload: bytes, number: int, *, needs_stream: bool | None) -> None:
        """Checks what each kind of frame fixes: its size, and whether it is of a stream."""
        size = _SIZES.get(kind)
        if size is not None and len(payload) != size:
            raise ConnectionFailure(frames.FRAME_SIZE_ERROR, f"a frame {kind} of {len(payload)}")
        if needs_stream is not None and bool(number) != needs_stream:
            raise ConnectionFailure(frames.PROTOCOL_ERROR, f"a frame {kind} on stream {number}")

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        if not number & 1:
            raise ConnectionFailure(frames.PROTOCOL_ERROR, f"HEADERS on stream {number}")
        block = self.heads.begin(number, flags, payload)
        if block is not None:
            self.calls.headers(number, block, ends=bool(flags & END_STREAM))

    def _window_update(self, number: int, increment: int) -> None:
        if not number:
            if not increment:
                raise ConnectionFailure(frames.PROTOCOL_ERROR, "WINDOW_UPDATE by nothing")
            self.sender.widen(None, increment)
            return
        stream = self.streams.get(number)
        if stream is None:
            self.calls.late(number, ends=False, harmless=True)
        elif not increment:
            self.calls.reset(stream, frames.PROTOCOL_ERROR)
        elif not self.sender.widen(stream, increment):
            self.calls.reset(stream, frames.FLOW_CONTROL_ERROR)


# Sections 6.3 to 6.9.
_SIZES: Final = {
    frames.PRIORITY: 5,
    frames.RST_STREAM: 4,
    frames.PING: 8,
    frames.GOAWAY: 8,
    frames.WINDOW_UPDATE: 4,
}
