"""How a request over HTTP ends without an answer."""

from __future__ import annotations

import os
import socket
import ssl


class HttpFailure(Exception):
    """There is no answer, or none that can be used."""


class NotConnected(HttpFailure):
    """There is no connection, so nothing was sent; the message says why."""


class ConnectionBroken(HttpFailure):
    """The other side ended the connection, or it broke, before the answer was complete."""

    def __init__(
        self,
        problem: OSError | None,
        *,
        answering: bool,
        idle_s: float | None = None,
        after_s: float = 0.0,
    ) -> None:
        super().__init__(words_of(problem))
        self.answering = answering
        """Whether anything of the answer had come, interim answers (1xx) included."""
        self.idle_s = idle_s
        """Seconds that the connection, kept alive, had been idle before; None: it was a new one."""
        self.after_s = after_s
        """Seconds since this request was written."""


class PoolClosed(ConnectionBroken):
    """This side ended all connections of a pool before the answer was complete."""

    def __str__(self) -> str:
        return "this side closed the connection: this part of the process ends"


class TimeIsUp(HttpFailure):
    """The answer was not complete in time."""


class MalformedHttp(HttpFailure):
    """What came is no answer of HTTP/1.1; the message says what is wrong with it."""


class AnswerTooLarge(HttpFailure):
    """The answer's body is larger than it may be."""


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
