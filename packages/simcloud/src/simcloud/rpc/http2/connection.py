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
from simcloud.rpc.http2.frames import END_STREAM, ConnectionFailure
from simcloud.rpc.http2.framing import Framing
from simcloud.rpc.http2.lifetime import Lifetime
from simcloud.rpc.http2.messages import Inbox, MessageRefused
from simcloud.rpc.http2.sending import Sender
from simcloud.rpc.http2.tls import identify, speaks_http2
from simcloud.rpc.http2.wire import PREFIX_BYTES

if TYPE_CHECKING:
    from simcloud.rpc.http2.server import Shared

_read_prefix: Final = struct.Struct(">BI").unpack_from


class Connection(Framing):
    """A peer's connection.

    Args:
        shared: what the server's connections have in common.
    """

    def __init__(self, shared: Shared) -> None:
        super().__init__(shared.limits, shared.buffer)
        self.shared = shared
        self.loop = shared.loop
        self.peer = ""
        """Where it is, as gRPC writes it."""
        self.auth_context: Mapping[str, list[bytes]] = {}
        """What TLS says of it."""
        self.transport: asyncio.Transport | None = None
        self.streams: dict[int, Context] = {}
        """Those that are open, by their number."""
        self.calls = Calls(self)
        self.sender = Sender(self.loop, self.calls.ended, shared.unsent)
        self.control = Control(limits=self.limits, sender=self.sender, streams=self.streams)
        self.lifetime = Lifetime(self)
        self.sender.full = self.lifetime.check_backlog
        self._receive_left = self.limits.connection_window_bytes

    # --- the transport's calls ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Says hello: SETTINGS may be sent before the peer's preface (RFC 9113, section 3.4)."""
        self.transport = cast("asyncio.Transport", transport)
        self.sender.open(self.transport)
        self.peer, self.auth_context = identify(self.transport)
        if not (speaks_http2(self.transport) and self.shared.admit(self)):
            self.transport.abort()
            return
        self.transport.write(self.control.hello())
        self.lifetime.begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends every call: nobody is there to take an answer."""
        self.closing = True
        self.lifetime.end()
        self.sender.close()
        self.calls.on_empty = None  # Nobody is left to whom more could be said.
        self.calls.abandon_all()
        self.shared.gone(self)

    def pause_writing(self) -> None:
        """The peer reads more slowly than we write."""
        self.sender.paused = True

    def resume_writing(self) -> None:
        """It has caught up."""
        self.lifetime.resume_reading()
        self.sender.resume()

    def eof_received(self) -> bool:
        """The peer sends no more; nobody half-closes a connection of HTTP/2."""
        return False

    def fail(self, code: int, reason: str) -> None:
        """Ends the connection with GOAWAY (RFC 9113, section 5.4.1)."""
        if self.closing:
            return
        self.sender.control(frames.goaway(self.calls.last_stream, code, reason))
        self.lifetime.say_no_more()
        self.calls.abandon_all()
        if code not in {frames.NO_ERROR, frames.INTERNAL_ERROR}:
            self.shared.refused(self.peer, reason)

    def crossed(self, size: int) -> None:
        """Bytes that came after our end."""
        self.lifetime.crossed(size)

    # --- DATA to messages ---

    def data_begins(self, number: int, length: int, *, empty: bool, ends: bool) -> Context | None:
        """Counts a DATA frame against the windows (section 6.9); None: nobody wants it."""
        self._receive_left -= length
        if self._receive_left < 0:
            raise ConnectionFailure(frames.FLOW_CONTROL_ERROR, "more than the connection's window")
        window = self.limits.connection_window_bytes
        if self._receive_left < window // 2:
            self.sender.control(frames.window_update(0, window - self._receive_left))
            self._receive_left = window
        if empty and not ends:
            self.control.oddity()
        stream = self.streams.get(number)
        if stream is None:
            self.calls.late_data(number, length, ends=ends)
            return None
        stream.receive_left -= length
        if stream.remote_ended:
            self.calls.reset(stream, frames.STREAM_CLOSED)
            return None
        if stream.receive_left < 0:
            self.calls.reset(stream, frames.FLOW_CONTROL_ERROR)
            return None
        return stream

    def data(self, stream: Context | None, start: int, stop: int, *, ends: bool) -> None:
        """Makes messages of it."""
        size = stop - start
        if stream is None or not self._is_wanted(stream, size, ends):
            return
        if ends and stream.inbox is None and size >= PREFIX_BYTES and not stream.method.streams_in:
            # The usual call: one message in one frame, and the end.
            flag, length = _read_prefix(self._buffer, start)
            if not flag and length == size - PREFIX_BYTES <= self.limits.max_message_bytes:
                stream.request = bytes(self.view[start + PREFIX_BYTES : stop])
                stream.remote_ended = True
                self.calls.begin(stream)
                return
        inbox = stream.inbox
        if inbox is None:
            inbox = stream.inbox = Inbox(self.limits.max_message_bytes, stream.head.encoding)
        try:
            inbox.feed(self.view[start:stop])
        except MessageRefused as error:
            self.calls.refuse_message(stream, error.code, error.details)
            return
        if inbox.held > inbox.counted:
            self.shared.received.count(stream, inbox)
        if ends:
            self.calls.remote_ended(stream)
        else:
            self.taken(stream, inbox)
            if stream.reader is not None and inbox.messages:
                stream.wake_reader()

    def _is_wanted(self, stream: Context, size: int, ends: bool) -> bool:
        if stream.remote_ended or stream.stream_id not in self.streams:
            return False
        if stream.content_left is not None and not self._counted(stream, size, ends):
            return False
        if not stream.local_ended:
            return True
        # Nobody reads it any more: it has counted against the windows, and may be the end.
        if ends:
            self.calls.remote_ended(stream)
        return False

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

        A message larger than the window gets what it needs, when none before it waits and when
        the server has room for it.
        """
        if stream.remote_ended or stream.local_ended:
            return
        window, left = self.limits.stream_window_bytes, stream.receive_left
        more = window - left - inbox.held
        if (
            not inbox.messages
            and inbox.missing > left
            and (inbox.missing <= left + more or self.shared.received.grants(stream, inbox))
        ):
            more = max(more, inbox.missing - left)
        elif more < window // 2:
            return
        stream.receive_left += more
        self.sender.control(frames.window_update(stream.stream_id, more))

    # --- the other frames ---

    def frame(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """Does what it says (section 6)."""
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
