"""Frames about the connection and not its calls: SETTINGS, PING; and what floods of any cost."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from simcloud.rpc.http2 import frames
from simcloud.rpc.http2.frames import ACK, ConnectionFailure
from simcloud.rpc.http2.limits import Allowance, Limits
from simcloud.rpc.http2.sending import Sender
from simcloud.rpc.http2.stream import Stream

# As gRPC's own servers: the third ping too many ends the connection.
_MAX_PING_STRIKES: Final = 2
# Entries of one frame: six are known, and extensions have a few.
_MAX_SETTINGS: Final = 64
# Streams whose windows a frame changes at the price of another frame.
_RESIZED_AT_ONCE: Final = 1000

KEEPALIVE: Final = b"simcloud"
"""Payload of the ping that asks whether the peer is there."""
DRAINING: Final = b"draining"
"""Payload of the ping whose answer says that the peer has seen our first GOAWAY."""


class Control:
    """Answers what a peer asks of the connection, as long as it does not ask too much.

    Args:
        limits: of pings.
        sender: of the answers.
        streams: all that are open, whose windows SETTINGS may change.
    """

    __slots__ = (
        "_limits",
        "_oddities",
        "_pinged_at",
        "_resets",
        "_sender",
        "_settings",
        "_streams",
        "_strikes",
    )

    def __init__(
        self,
        *,
        limits: Limits,
        sender: Sender,
        streams: Mapping[int, Stream],
    ) -> None:
        self._limits = limits
        self._sender = sender
        self._streams = streams
        self._pinged_at = -1e9
        self._strikes = 0
        self._settings = Allowance(100, 10)
        # Callers do cancel, in bursts when they give up; CVE-2023-44487 does nothing else.
        self._resets = Allowance(max(200, 2 * limits.max_streams), 50)
        self._oddities = Allowance(2000, 200)

    def hello(self) -> bytes:
        """Our SETTINGS, and the connection's window, which SETTINGS do not set."""
        limits = self._limits
        return frames.settings_frame(
            {
                frames.MAX_CONCURRENT_STREAMS: limits.max_streams,
                frames.INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
                frames.MAX_FRAME_SIZE: limits.max_frame_bytes,
                frames.MAX_HEADER_LIST_SIZE: limits.max_header_bytes,
            }
        ) + frames.window_update(0, limits.connection_window_bytes - frames.DEFAULT_WINDOW)

    def settings(self, flags: int, payload: bytes) -> None:
        """SETTINGS (RFC 9113, section 6.5).

        Raises:
            ConnectionFailure: they are none, or too many.
        """
        if flags & ACK:
            if payload:
                raise ConnectionFailure(frames.FRAME_SIZE_ERROR, "an acknowledgement has a payload")
            return
        entries = frames.read_settings(payload)
        if len(entries) > _MAX_SETTINGS or not self._settings.take():
            raise ConnectionFailure(frames.ENHANCE_YOUR_CALM, "too many SETTINGS")
        window = None
        for key, value in entries:
            self._apply(key, value)
            if key == frames.INITIAL_WINDOW_SIZE:
                window = value
        # Before what a wider window lets pass: gRPC's clients count that against the old one until
        # they have read this, and end the stream.
        self._sender.control(frames.frame(frames.SETTINGS, ACK, 0))
        if window is not None:
            self._resize(window)

    def _resize(self, window: int) -> None:
        """Changes the windows of all streams, once a frame: the last of its entries counts."""
        if window == self._sender.initial_window:
            return
        if not self._settings.take(len(self._streams) / _RESIZED_AT_ONCE):
            raise ConnectionFailure(frames.ENHANCE_YOUR_CALM, "too many SETTINGS")
        self._sender.resize(window, self._streams)

    def _apply(self, key: int, value: int) -> None:
        match key:
            case frames.INITIAL_WINDOW_SIZE:
                if value > frames.LARGEST_WINDOW:
                    raise ConnectionFailure(frames.FLOW_CONTROL_ERROR, "a window too large")
            case frames.MAX_FRAME_SIZE:
                if not frames.DEFAULT_MAX_FRAME <= value <= frames.LARGEST_MAX_FRAME:
                    raise ConnectionFailure(frames.PROTOCOL_ERROR, "a largest frame out of range")
                self._sender.max_frame = value
            case frames.HEADER_TABLE_SIZE:
                # RFC 7541, section 4.2: a smaller table has to be acknowledged in the next block,
                # also by us, who use none.
                self._sender.prelude = b"\x20"
            case frames.TRUE_BINARY_METADATA:
                self._sender.true_binary = value == 1
            case frames.ENABLE_PUSH:
                if value > 1:
                    raise ConnectionFailure(frames.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
            case _:
                pass  # Section 6.5.2: unknown ones are ignored.

    def ping(self, flags: int, payload: bytes) -> bool:
        """PING (RFC 9113, section 6.7); whether it answers one of ours.

        Raises:
            ConnectionFailure: it is one too many.
        """
        if flags & ACK:
            return True
        now = time.monotonic()
        if self._sender.calls_sent:
            self._sender.calls_sent = False
            self._strikes = 0
        elif now - self._pinged_at < self._limits.min_ping_interval_s:
            self._strikes += 1
            if self._strikes > _MAX_PING_STRIKES:
                # The words that gRPC's clients look for, to ping less often from then on.
                raise ConnectionFailure(frames.ENHANCE_YOUR_CALM, "too_many_pings")
        self._pinged_at = now
        self._sender.control(frames.frame(frames.PING, ACK, 0, payload))
        return False

    def reset(self, cost: float = 1) -> None:
        """A call was cancelled by the peer, or had to be by us.

        Args:
            cost: next to one that was cancelled before it was served.

        Raises:
            ConnectionFailure: too many were, next to those that were answered.
        """
        if not self._resets.take(cost):
            raise ConnectionFailure(frames.ENHANCE_YOUR_CALM, "too many calls are cancelled")

    def answered(self) -> None:
        """A call came to its end."""
        self._resets.give()

    def oddity(self) -> None:
        """Something that does no harm by itself: an empty frame, an unknown one, a late one.

        Raises:
            ConnectionFailure: there are too many.
        """
        if not self._oddities.take():
            raise ConnectionFailure(frames.ENHANCE_YOUR_CALM, "too many frames to no effect")
