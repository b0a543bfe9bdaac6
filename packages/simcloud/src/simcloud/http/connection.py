"""One connection: one request at a time, and how it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias, cast

from simcloud.http.errors import (
    AnswerTooLarge,
    ConnectionBroken,
    HttpFailure,
    MalformedHttp,
    PoolClosed,
    TimeIsUp,
)
from simcloud.http.parse import AnswerParser

Body: TypeAlias = bytes | tuple[bytes | memoryview, ...]
"""What is sent: bytes, or pieces of bytes that are sent one after another and never joined."""

_JOIN_BYTES: Final = 64 * 1024
"""Head and body are sent as one piece up to here: one system call, one TLS record. A larger body is
not copied for that."""

_WRITE_BYTES: Final = 256 * 1024
"""Of one write of a body in pieces: what the connection does not take at once, asyncio copies."""

_EARLY_S: Final = 0.001
"""By how much a timer of the loop may be early: libuv counts milliseconds."""

_CONTINUE_S: Final = 1.0
"""Longest wait for leave to send a body: RFC 9110, section 10.1.1, says not to wait for ever."""


class HttpConnection(asyncio.Protocol):
    """A connection; the transport calls the methods of ``asyncio.Protocol``.

    Args:
        loop: whose it is.
        on_lost: called once, when the connection is gone.
    """

    __slots__ = (
        "_active_at",
        "_expires_at",
        "_expiry",
        "_expiry_at",
        "_loop",
        "_on_lost",
        "_parser",
        "_patience_s",
        "_paused",
        "_permit",
        "_rest",
        "_sent_at",
        "_transport",
        "_waiter",
        "idle_since",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, on_lost: Callable[[HttpConnection], None]
    ) -> None:
        self._loop = loop
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        # Both are set while a request is being answered, and only then.
        self._parser: AnswerParser | None = None
        self._waiter: asyncio.Future[AnswerParser] | None = None
        # When the request has taken too long, and a timer that goes off then or before: it stays
        # from one request to the next.
        self._expires_at = 0.0
        self._expiry: asyncio.TimerHandle | None = None
        self._expiry_at = 0.0
        # Of a request that may take as long as something moves: longest silence, and when
        # something moved last. 0: the timer ends the request, whatever moves.
        self._patience_s = 0.0
        self._active_at = 0.0
        self._sent_at = 0.0
        # What of a body in pieces is still to be sent, and the wait for leave to begin with it.
        self._rest: Iterator[bytes | memoryview] | None = None
        self._permit: asyncio.TimerHandle | None = None
        self._paused = False
        self.idle_since = 0.0
        """On the loop's clock, 0 until the first answer; for the pool."""

    @property
    def usable(self) -> bool:
        """Whether another request may be sent: connected, and the last answer left it clean."""
        transport = self._transport
        return transport is not None and self._waiter is None and not transport.is_closing()

    def send(
        self,
        head: bytes,
        body: Body,
        *,
        parser: AnswerParser,
        timeout_s: float,
        silence: bool = False,
        ask_first: bool = False,
    ) -> asyncio.Future[AnswerParser]:
        """Sends one request; the future has its answer, complete.

        The future raises ``ConnectionBroken``, ``MalformedHttp``, ``AnswerTooLarge`` or
        ``TimeIsUp``; the connection is closed then. Whoever stops waiting calls ``abort``.

        Args:
            head: request line and headers, with the empty line.
            body: what follows.
            parser: reads the answer.
            timeout_s: from now to the answer's last byte; with ``silence`` the longest time in
                which nothing is sent and nothing comes.
            silence: how ``timeout_s`` is counted.
            ask_first: the head has ``Expect: 100-continue``: pieces wait until they are wanted, so
                that a request which is refused costs no more than its head.
        """
        transport = self._transport
        assert transport is not None, "requests are sent by connections that are usable"
        self._parser = parser
        waiter = self._waiter = self._loop.create_future()
        # The timer of an earlier request does as long as it is early enough: it looks again. Making
        # one for each costs as much as reading an answer's head, asyncio.timeout six times that.
        now = self._sent_at = self._loop.time()
        self._expires_at = now + timeout_s
        if self._expiry is None or self._expiry_at > self._expires_at:
            self._set_expiry(self._expires_at)
        if silence:
            self._patience_s = timeout_s
            self._active_at = now
        pieces = (body,) if isinstance(body, bytes) else body
        # In one write nothing would be heard of a long body until its end, which is silence.
        if not isinstance(body, bytes) or (silence and len(body) > _JOIN_BYTES):
            self._rest = _writes(pieces)
            transport.write(head)
            if ask_first:
                self._permit = self._loop.call_later(_CONTINUE_S, self._send_body)
            else:
                self._send_body()
        elif len(body) <= _JOIN_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        return waiter

    def abort(self) -> None:
        """Closes at once, whatever is under way: the other side sees the request go. Idempotent."""
        self._finish()
        if self._transport is not None:
            self._transport.abort()

    def end(self) -> None:
        """As ``abort``; who waits for an answer is told that this side has ended it."""
        parser = self._parser
        self._fail(PoolClosed(None, answering=parser is not None and parser.begun))

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        # TCP's and TLS' transports are both, whatever the loop calls their classes.
        self._transport = cast("asyncio.Transport", transport)

    def pause_writing(self) -> None:
        """The connection takes no more for now."""
        self._paused = True

    def resume_writing(self) -> None:
        """It takes more again."""
        self._paused = False
        self._active_at = self._loop.time()
        if self._permit is None:
            self._send_body()

    def data_received(self, data: bytes) -> None:
        """Bytes of the answer."""
        parser = self._parser
        if parser is None:
            # Nobody asked: a server that is about to close says 408 to idle connections.
            self.abort()
            return
        try:
            done = parser.feed(data)
        except (MalformedHttp, AnswerTooLarge) as problem:
            self._fail(problem)
            return
        if done:
            self._succeed(parser)
            return
        if self._patience_s:
            self._active_at = self._loop.time()
        if self._permit is not None and parser.interim:
            self._send_body()

    def eof_received(self) -> None:
        """The other side sends no more; the transport closes."""
        self._ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._ended(exc if isinstance(exc, OSError) else None)
        self._transport = None
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        self._on_lost(self)

    # How a request goes and ends.

    def _send_body(self) -> None:
        """As much of a body in pieces as the connection takes."""
        if self._permit is not None:
            self._permit.cancel()
            self._permit = None
        transport, rest = self._transport, self._rest
        if transport is None or rest is None:
            return
        # Writing pauses this protocol from within, when the buffer is full.
        while not self._paused and not transport.is_closing():
            piece = next(rest, None)
            if piece is None:
                self._rest = None
                return
            transport.write(piece)

    def _ended(self, problem: OSError | None) -> None:
        parser = self._parser
        if parser is None:
            return
        if problem is None and parser.end():
            self._succeed(parser)
        else:
            self._fail(
                ConnectionBroken(
                    problem,
                    answering=parser.begun or parser.interim,
                    idle_s=self._sent_at - self.idle_since if self.idle_since else None,
                    after_s=self._loop.time() - self._sent_at,
                )
            )

    def _set_expiry(self, at: float) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
        self._expiry_at = at
        self._expiry = self._loop.call_at(at, self._expire)

    def _expire(self) -> None:
        self._expiry = None
        if self._waiter is None:
            return
        at = self._active_at + self._patience_s if self._patience_s else self._expires_at
        # A timer may go off a little early, by its loop's resolution.
        if at > self._loop.time() + _EARLY_S:
            self._set_expiry(at)
        else:
            self._fail(TimeIsUp())

    def _succeed(self, parser: AnswerParser) -> None:
        transport = self._transport
        unsent = self._rest is not None
        waiter = self._finish()
        # An answer to a request that was not read to its end (413, say) leaves the rest in the way.
        if transport is not None and (
            unsent or not parser.reusable or transport.get_write_buffer_size() or waiter is None
        ):
            transport.abort()
        if waiter is not None:
            waiter.set_result(parser)

    def _fail(self, problem: HttpFailure) -> None:
        waiter = self._finish()
        if self._transport is not None:
            self._transport.abort()
        if waiter is not None:
            waiter.set_exception(problem)

    def _finish(self) -> asyncio.Future[AnswerParser] | None:
        """Nothing is under way any more; who waited, unless they have gone."""
        waiter = self._waiter
        self._parser = self._waiter = self._rest = None
        self._patience_s = 0.0
        if self._permit is not None:
            self._permit.cancel()
            self._permit = None
        return None if waiter is None or waiter.done() else waiter


def _writes(pieces: tuple[bytes | memoryview, ...]) -> Iterator[bytes | memoryview]:
    for piece in pieces:
        if len(piece) <= _WRITE_BYTES:
            yield piece
            continue
        view = memoryview(piece)
        for begin in range(0, len(view), _WRITE_BYTES):
            yield view[begin : begin + _WRITE_BYTES]
