"""How long a connection lives: its handshake, whether the peer is there, its age, its end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from simcloud.rpc.http2 import frames
from simcloud.rpc.http2.control import DRAINING, KEEPALIVE

if TYPE_CHECKING:
    from simcloud.rpc.http2.connection import Connection

# What the transport may hold for a peer that does not read, bytes: messages are held back at a
# quarter of it (sending), the rest is for what no window holds back.
_BACKLOG_BYTES: Final = 1024 * 1024
# Time that a peer has to answer the ping of a drain, and to read why its connection ends.
_FAREWELL_S: Final = 1.0
# And to read its last answers, anew whenever it has read of them; as long as nginx lingers
# (lingering_timeout). gRPC's clients close as soon as they have.
_LINGER_S: Final = 5.0
# What crosses our end, beside the DATA that windows allow, bytes: headers of calls, small frames.
_CROSSING_BYTES: Final = 1024 * 1024
# gRPC's own servers: so that connections that were made together do not end together.
_JITTER: Final = 0.1


class Lifetime:
    """Timers of one connection.

    Args:
        connection: whose.
    """

    __slots__ = (
        "_close_by",
        "_connection",
        "_crossing",
        "_last",
        "_moved",
        "_over_at",
        "_patience_s",
        "_reading",
        "_reads",
        "_timers",
        "_unsent",
        "draining",
    )

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._last = frames.LARGEST_STREAM
        self._reading = True
        self._moved = 0
        # What may still come when we have ended, and when the server itself does.
        self._crossing = connection.limits.connection_window_bytes + _CROSSING_BYTES
        self._over_at: float | None = None
        # After our end: when the peer's has to come, and what shows that it still reads: what the
        # transport held for it and whether anything has come, both since they were looked at.
        self._close_by = 0.0
        self._patience_s = _FAREWELL_S
        self._unsent = 0
        self._reads = False
        self.draining = False
        """Whether the peer was told to go elsewhere."""

    def begin(self) -> None:
        """The connection is made."""
        limits = self._connection.limits
        self._later("handshake", limits.handshake_s, self._check_handshake)
        self._later("keepalive", limits.keepalive_s, self._probe)
        if limits.max_age_s is not None:
            age_s = limits.max_age_s * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret
            self._later("age", age_s, self._age)

    def end(self) -> None:
        """The connection is lost."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _later(self, name: str, after_s: float, what: Callable[[], None]) -> None:
        known = self._timers.get(name)
        if known is not None:
            known.cancel()
        self._timers[name] = self._connection.loop.call_later(after_s, what)

    def _check_handshake(self) -> None:
        if not self._connection.settled:
            self._connection.fail(frames.SETTINGS_TIMEOUT, "no preface and SETTINGS in time")

    # --- whether the peer is there ---

    def _probe(self) -> None:
        connection = self._connection
        if connection.heard:
            connection.heard = False
            self._later("keepalive", connection.limits.keepalive_s, self._probe)
            return
        connection.sender.control(frames.frame(frames.PING, 0, 0, KEEPALIVE))
        self._later("keepalive", connection.limits.keepalive_timeout_s, self._give_up)

    def _give_up(self) -> None:
        if self._connection.heard:
            self._probe()
        elif self._connection.transport is not None:
            # Not close(): what is still to be written would wait for a peer that has vanished.
            self._connection.transport.abort()

    def answered(self, payload: bytes) -> None:
        """A ping of ours was."""
        if payload == DRAINING and self.draining:
            self._last_words()

    # --- a peer that does not read ---

    def check_backlog(self) -> None:
        """Stops reading from a peer that asks on and takes no answer."""
        transport = self._connection.transport
        if (
            self._reading
            and transport is not None
            and transport.get_write_buffer_size() > _BACKLOG_BYTES
        ):
            self._reading = False
            transport.pause_reading()

    def resume_reading(self) -> None:
        """The transport has room again."""
        transport = self._connection.transport
        if not self._reading and transport is not None and not transport.is_closing():
            self._reading = True
            transport.resume_reading()

    def await_progress(self) -> None:
        """Calls wait for the peer to take answers: for how long, when it takes none at all."""
        if "progress" not in self._timers:
            limits = self._connection.limits
            self._moved = self._connection.sender.moved
            patience_s = limits.keepalive_s + limits.keepalive_timeout_s
            self._later("progress", patience_s, self._check_progress)

    def _check_progress(self) -> None:
        del self._timers["progress"]
        connection = self._connection
        if not connection.calls.waiting:
            return
        if connection.sender.moved == self._moved:
            connection.fail(frames.ENHANCE_YOUR_CALM, "it asks on and takes no answers")
        else:
            self.await_progress()

    # --- its end ---

    def _age(self) -> None:
        self.drain()
        self._later("grace", self._connection.limits.age_grace_s, self._cut)

    def _cut(self) -> None:
        self._connection.fail(frames.NO_ERROR, "max_connection_age")

    def drain(self, within_s: float | None = None) -> None:
        """Tells the peer to go elsewhere, in two steps (RFC 9113, section 6.8).

        The first says that the end is near and refuses nothing: calls may be on their way. The
        second, a round trip later, says which calls are the last.

        Args:
            within_s: when the server itself ends; None: it goes on.
        """
        if within_s is not None:
            self._over_at = self._connection.loop.time() + within_s
            self._hasten(within_s)
        connection = self._connection
        if self.draining or connection.closing or connection.transport is None:
            return
        self.draining = True
        connection.sender.control(
            frames.goaway(frames.LARGEST_STREAM, frames.NO_ERROR)
            + frames.frame(frames.PING, 0, 0, DRAINING)
        )
        self._later("farewell", _FAREWELL_S, self._last_words)

    def _last_words(self) -> None:
        if self._last != frames.LARGEST_STREAM:
            return
        connection = self._connection
        self._last = connection.calls.last_stream
        connection.sender.control(frames.goaway(self._last, frames.NO_ERROR))
        connection.calls.on_empty = self._leave
        if not connection.streams:
            self._leave()

    def closed_to(self, stream_id: int) -> bool:
        """Whether a new stream comes after our last words."""
        return stream_id > self._last

    def _leave(self) -> None:
        connection = self._connection
        if self._over_at is None:
            at_most_s = max(_LINGER_S, connection.limits.age_grace_s)
        else:
            at_most_s = max(_FAREWELL_S, self._over_at - connection.loop.time())
        self.say_no_more(_LINGER_S, at_most_s)

    def say_no_more(self, patience_s: float = _FAREWELL_S, at_most_s: float = _FAREWELL_S) -> None:
        """Sends what there is and no more, and reads on until the peer closes.

        A socket that is closed while its peer still sends is reset (RFC 9293, section 3.6.1): the
        peer may then never see why, nor the answers that it had not read yet.

        Args:
            patience_s: how long to wait for it, seconds; anew as long as it reads.
            at_most_s: how long all together.
        """
        connection = self._connection
        connection.closing = True
        # From here on nothing is sent: neither by a timer nor by calls that end now.
        self.end()
        connection.calls.on_empty = None
        connection.sender.flush()
        connection.sender.close()
        transport = connection.transport
        if transport is None:
            return
        self._patience_s = patience_s
        self._close_by = connection.loop.time() + at_most_s
        self._await_close(transport)
        if transport.is_closing() or not transport.can_write_eof():
            # TLS has no half-close here. uvloop, on which services run, waits for the peer's own
            # end and drops what comes before it; asyncio's SSLProtocol takes that for an error and
            # cuts, so that on its loop a peer that sends on may lose its last answers.
            transport.close()
            return
        self.resume_reading()
        try:
            transport.write_eof()
        except OSError:
            transport.abort()  # Nobody is there any more.

    def _await_close(self, transport: asyncio.Transport) -> None:
        left_s = self._close_by - self._connection.loop.time()
        self._reads = False
        self._unsent = transport.get_write_buffer_size()
        self._later("close", min(self._patience_s, left_s), self._check_close)

    def _check_close(self) -> None:
        transport = self._connection.transport
        if transport is None:
            return
        reads = self._reads or transport.get_write_buffer_size() < self._unsent
        if reads and self._connection.loop.time() < self._close_by:
            self._await_close(transport)
        else:
            transport.abort()

    def _hasten(self, within_s: float) -> None:
        """The server ends: a connection that ended before does not outlast it."""
        timer = self._timers.get("close")
        if timer is None:
            return
        now = self._connection.loop.time()
        self._close_by = min(self._close_by, now + max(_FAREWELL_S, within_s))
        self._later("close", min(timer.when(), self._close_by) - now, self._check_close)

    def crossed(self, size: int) -> None:
        """Bytes have come after our end, and count for nothing but for their number."""
        self._reads = True  # Windows given back, if nothing else.
        self._crossing -= size
        transport = self._connection.transport
        if self._crossing < 0 and transport is not None:
            transport.abort()
