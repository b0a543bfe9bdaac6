"""One connection to a target: one request at a time, and how it ends."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from typing import Final, cast

from simcloud_inference_router.targets.http_chunks import MalformedHttp
from simcloud_inference_router.targets.http_parse import AnswerParser, AnswerTooLarge

_JOIN_BYTES: Final = 64 * 1024
"""Head and body are sent as one piece up to here: one system call, one TLS record. A larger body is
not copied for that."""


class ConnectionBroken(Exception):
    """The other side ended the connection, or it broke, before the answer was complete."""

    def __init__(self, problem: OSError | None, *, answering: bool) -> None:
        super().__init__(problem)
        self.problem = problem
        self.answering = answering
        """Whether anything of the answer had come."""


class TimeIsUp(Exception):
    """The answer was not complete in time."""


class HttpConnection(asyncio.Protocol):
    """A connection; the transport calls the methods of ``asyncio.Protocol``.

    Args:
        loop: whose it is.
        on_lost: called once, when the connection is gone.
    """

    __slots__ = (
        "_expiry",
        "_loop",
        "_on_lost",
        "_parser",
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
        self._expiry: asyncio.TimerHandle | None = None
        self.idle_since = 0.0
        """On the loop's clock; for the pool."""

    @property
    def usable(self) -> bool:
        """Whether another request may be sent: connected, and the last answer left it clean."""
        transport = self._transport
        return transport is not None and self._waiter is None and not transport.is_closing()

    def send(
        self, head: bytes, body: bytes, *, timeout_s: float, max_answer_bytes: int
    ) -> asyncio.Future[AnswerParser]:
        """Sends one request; the future has its answer, complete.

        The future raises ``ConnectionBroken``, ``MalformedHttp``, ``AnswerTooLarge`` or
        ``TimeIsUp``; the connection is closed then. Whoever stops waiting calls ``abort``.

        Args:
            head: request line and headers, with the empty line.
            body: what follows.
            timeout_s: from now to the answer's last byte.
            max_answer_bytes: largest body read.
        """
        transport = self._transport
        assert transport is not None, "requests are sent by connections that are usable"
        self._parser = AnswerParser(max_body_bytes=max_answer_bytes)
        waiter = self._waiter = self._loop.create_future()
        # One timer of the loop and not asyncio.timeout, which costs six times as much.
        self._expiry = self._loop.call_later(timeout_s, self._expire)
        if len(body) <= _JOIN_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        return waiter

    def abort(self) -> None:
        """Closes at once, whatever is under way: the other side sees the request go. Idempotent."""
        self._finish()
        if self._transport is not None:
            self._transport.abort()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection stands."""
        # TCP's and TLS' transports are both, whatever the loop calls their classes.
        self._transport = cast("asyncio.Transport", transport)

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

    def eof_received(self) -> None:
        """The other side sends no more; the transport closes."""
        self._ended(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._ended(exc if isinstance(exc, OSError) else None)
        self._transport = None
        self._on_lost(self)

    # How a request ends.

    def _ended(self, problem: OSError | None) -> None:
        parser = self._parser
        if parser is None:
            return
        if problem is None and parser.end():
            self._succeed(parser)
        else:
            self._fail(ConnectionBroken(problem, answering=parser.begun))

    def _expire(self) -> None:
        self._fail(TimeIsUp())

    def _succeed(self, parser: AnswerParser) -> None:
        transport = self._transport
        waiter = self._finish()
        # An answer to a request that was not read to its end (413, say) leaves the rest in the way.
        if transport is not None and (
            not parser.reusable or transport.get_write_buffer_size() or waiter is None
        ):
            transport.abort()
        if waiter is not None:
            waiter.set_result(parser)

    def _fail(self, problem: Exception) -> None:
        waiter = self._finish()
        if self._transport is not None:
            self._transport.abort()
        if waiter is not None:
            waiter.set_exception(problem)

    def _finish(self) -> asyncio.Future[AnswerParser] | None:
        """Nothing is under way any more; who waited, unless they have gone."""
        waiter = self._waiter
        self._parser = self._waiter = None
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        return None if waiter is None or waiter.done() else waiter


def words_of(exc: OSError | None) -> str:
    """What became of a connection, for people; None: it was closed in order."""
    # Without the address, which is nothing that our callers need to know.
    if exc is None:
        return "it sent nothing more"
    if isinstance(exc, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {exc.verify_message}"
    if isinstance(exc, ssl.SSLError):
        return f"TLS: {exc.reason or type(exc).__name__}"
    if isinstance(exc, socket.gaierror):
        return "its name can't be resolved"
    if exc.errno and exc.errno > 0:
        return os.strerror(exc.errno)
    return type(exc).__name__
