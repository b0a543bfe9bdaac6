"""What one connection may cost us."""

from __future__ import annotations

import time
from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of a server's connections. Defaults where nobody needs another."""

    max_message_bytes: int
    """Of one message, either way."""
    max_streams: int
    """Calls of one connection at once; more are refused, and may be made again."""
    keepalive_s: float
    """Silence after which the peer is probed."""
    keepalive_timeout_s: float
    """Time that it has to answer."""
    max_age_s: float | None = None
    """Age at which a connection is asked to go elsewhere."""
    age_grace_s: float = 30.0
    """Time that its calls have then."""
    stream_window_bytes: int = MIB + 64 * 1024
    """What a caller may send before its servicer reads: bounds the memory of a stream that nobody
    reads. A chunk of 1 MiB and what its message says of it need no more."""
    connection_window_bytes: int = 16 * MIB
    """What all callers of a connection may send before we have looked at it."""
    max_frame_bytes: int = 256 * 1024
    """Of 16 KiB by default: a sender of frames cuts each message into dozens, which costs it a
    seventh of its time."""
    max_header_bytes: int = 32 * 1024
    """Of a call's headers, since callers may have long tokens, and of an error's trailers."""
    handshake_s: float = 20.0
    """Time that a peer has to say that it speaks HTTP/2."""
    unsent_bytes: int = 64 * MIB
    """Answers of ended calls that a peer does not take, before its further calls wait; four
    messages at least."""
    memory_bytes: int = 192 * MIB
    """Requests that are not whole or not taken yet, all connections together, and as much again of
    answers that their callers don't take; four messages at least."""
    patience_s: float = 2.0
    """Time that a caller may take over either when others need that memory."""
    untaken_s: float = 40.0
    """Time that a servicer may then."""
    request_s: float = 300.0
    """Time that the one message of a call has to come whole, from its headers."""
    message_s: float = 300.0
    """Time that one of several has, from its beginning or the last that was taken."""
    cleanup_s: float = 10.0
    """Time that calls have to clean up when the server's end cuts them."""
    min_ping_interval_s: float = 5.0
    """Pings that come faster, while we send nothing, are an attack, as gRPC's servers have it; with
    their 5 minutes, our own clients' probes of idle connections were one."""


class Allowance:
    """Events that a peer may cause: so many at once, and so many a second after that.

    Args:
        burst: at once.
        per_s: that come back a second.
    """

    __slots__ = ("_at", "_burst", "_left", "_per_s")

    def __init__(self, burst: float, per_s: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._left = burst
        self._at = time.monotonic()

    def take(self, cost: float = 1) -> bool:
        """Whether one more is allowed, or what is worth as many."""
        self._left -= cost
        if self._left >= 0:
            return True
        now = time.monotonic()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_s)
        self._at = now
        return self._left >= 0

    def give(self) -> None:
        """Allows one more, for good behaviour."""
        if self._left < self._burst:
            self._left += 1
