"""Pooled HTTP/1.1 to targets: one POST, no retries, what goes wrong translated once.

Own code in place of a general client, whose request and answer objects, redirects, cookies and
decompression cost a routed request more than all its routing.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import NamedTuple

import aiohappyeyeballs
from yarl import URL

from simcloud_inference_router.targets.base import Failure
from simcloud_inference_router.targets.errors import (
    bad_answer,
    connection_lost,
    no_connection,
    timed_out,
)
from simcloud_inference_router.targets.http_chunks import MalformedHttp
from simcloud_inference_router.targets.http_connection import (
    ConnectionBroken,
    HttpConnection,
    TimeIsUp,
    words_of,
)
from simcloud_inference_router.targets.http_parse import AnswerTooLarge

MAX_PLACES = 1024
"""Addresses that are remembered; a catalogue has a few."""

# RFC 8305, section 5: how long one address family has before the other is tried beside it.
_NEXT_ADDRESS_S = 0.25


class HttpAnswer(NamedTuple):
    """Status, headers (names in lower case) and whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Place:
    """One scheme, host and port: its idle connections, the last used first."""

    __slots__ = ("host", "idle", "port", "sweep", "tls")

    def __init__(self, url: URL) -> None:
        if url.scheme not in {"http", "https"} or not url.raw_host or not url.port:
            raise ValueError(f"{url} is no http or https address with a host")
        self.host, self.port, self.tls = url.raw_host, url.port, url.scheme == "https"
        # A dict for its order and its quick removal.
        self.idle: dict[HttpConnection, None] = {}
        self.sweep: asyncio.TimerHandle | None = None


class HttpPool:
    """Kept-alive connections to all targets of the process.

    Made by ``open_pool``, which also closes it. How many requests run at once is the limiters'
    business; the pool itself never queues. A request takes the connection that was used last, so
    that what a peak has opened grows idle and is closed.
    """

    def __init__(
        self,
        *,
        connect_timeout_s: float,
        keepalive_s: float,
        max_answer_bytes: int,
        tls: ssl.SSLContext,
    ) -> None:
        self._connect_timeout_s = connect_timeout_s
        self._keepalive_s = keepalive_s
        self._max_answer_bytes = max_answer_bytes
        self._tls = tls
        self._loop = asyncio.get_running_loop()
        self._places: dict[tuple[str, str, int], _Place] = {}
        # By address, with its request line: what a target sends every time.
        self._known: dict[URL, tuple[_Place, str]] = {}
        self._open: dict[HttpConnection, _Place] = {}
        self._all_gone = asyncio.Event()

    @property
    def connections(self) -> int:
        """Connections that are open, idle or not."""
        return len(self._open)

    async def post(
        self,
        *,
        target: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float,
    ) -> HttpAnswer | Failure:
        """Sends one request, exactly once.

        A cancel or a timeout closes the connection. An answer above ``max_answer_bytes``, or one
        that is no HTTP/1.1, is a failure of the target.

        Args:
            target: name for messages.
            url: where to; must be encoded already.
            headers: all headers but Content-Length and, unless it is to be another one, Host.
            body: what to send.
            timeout_s: from now to the last byte of the answer.

        Raises:
            ValueError: a header has a line break in it.
        """
        place, request_line = self._known.get(url) or self._know(url)
        head = _head(request_line, headers, len(body))
        connection: HttpConnection | None = None
        try:
            connection = _idle(place)
            left_s = timeout_s
            if connection is None:
                deadline = self._loop.time() + timeout_s
                made = await self._connect(place, target, timeout_s)
                if isinstance(made, Failure):
                    return made
                connection, left_s = made, deadline - self._loop.time()
            answer = await connection.send(
                head, body, timeout_s=left_s, max_answer_bytes=self._max_answer_bytes
            )
        except TimeIsUp:
            return timed_out(target, timeout_s)
        except ConnectionBroken as broken:
            return connection_lost(target, words_of(broken.problem), answering=broken.answering)
        except AnswerTooLarge:
            problem = f"answer is larger than {self._max_answer_bytes} bytes"
            return Failure(bad_answer(target, problem))
        except MalformedHttp as problem:
            return Failure(bad_answer(target, f"what it answered can't be read: {problem}"))
        except asyncio.CancelledError:
            if connection is not None:
                connection.abort()
            raise
        if connection.usable:
            self._keep(place, connection)
        pieces = answer.pieces
        content = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return HttpAnswer(answer.status, answer.headers, content)

    async def close(self) -> None:
        """Closes every connection, idle or not; returns when they are gone. Idempotent."""
        for place in self._places.values():
            if place.sweep is not None:
                place.sweep.cancel()
                place.sweep = None
        self._keepalive_s = 0.0
        for connection in tuple(self._open):
            connection.abort()
        if self._open:
            await self._all_gone.wait()

    def _know(self, url: URL) -> tuple[_Place, str]:
        if len(self._known) >= MAX_PLACES:
            self._known.clear()
        made = _Place(url)
        place = self._places.setdefault((url.scheme, made.host, made.port), made)
        port = "" if url.is_default_port() else f":{url.port}"
        known = (place, f"POST {url.raw_path_qs} HTTP/1.1\r\nhost: {url.host_subcomponent}{port}")
        self._known[url] = known
        return known

    async def _connect(
        self, place: _Place, target: str, timeout_s: float
    ) -> HttpConnection | Failure:
        # When the caller's time ends before a connection must stand, running out of it says nothing
        # about the target.
        patient = self._connect_timeout_s < timeout_s
        try:
            async with asyncio.timeout(self._connect_timeout_s if patient else timeout_s):
                return await self._open_connection(place)
        except TimeoutError:
            if patient:
                return no_connection(target, f"not connected within {self._connect_timeout_s:g} s")
            return timed_out(target, timeout_s)
        except OSError as exc:
            return no_connection(target, words_of(exc))

    async def _open_connection(self, place: _Place) -> HttpConnection:
        # Looked up for every connection: addresses of AWS' services change, their names don't.
        found = await self._loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        sock = await aiohappyeyeballs.start_connection(
            found, happy_eyeballs_delay=_NEXT_ADDRESS_S, interleave=1
        )
        try:
            _, connection = await self._loop.create_connection(
                lambda: HttpConnection(self._loop, self._lost),
                sock=sock,
                ssl=self._tls if place.tls else None,
                server_hostname=place.host if place.tls else None,
            )
        except BaseException:
            sock.close()
            raise
        self._open[connection] = place
        self._all_gone.clear()
        return connection

    def _keep(self, place: _Place, connection: HttpConnection) -> None:
        connection.idle_since = self._loop.time()
        place.idle[connection] = None
        if self._keepalive_s <= 0:
            connection.abort()
        elif place.sweep is None:
            place.sweep = self._loop.call_later(self._keepalive_s, self._sweep, place)

    def _sweep(self, place: _Place) -> None:
        """Closes what has been idle for too long; comes again while there is any."""
        place.sweep = None
        now = self._loop.time()
        # The longest idle is the first: connections are taken and put back at the other end.
        for connection in tuple(place.idle):
            left_s = connection.idle_since + self._keepalive_s - now
            if left_s > 0:
                place.sweep = self._loop.call_later(left_s, self._sweep, place)
                break
            del place.idle[connection]
            connection.abort()

    def _lost(self, connection: HttpConnection) -> None:
        place = self._open.pop(connection, None)
        if place is not None:
            place.idle.pop(connection, None)
        if not self._open:
            self._all_gone.set()


@asynccontextmanager
async def open_pool(
    *,
    connect_timeout_s: float,
    keepalive_s: float,
    max_answer_bytes: int,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[HttpPool]:
    """The process's pool, closed on exit.

    Args:
        connect_timeout_s: seconds for name resolution, TCP and TLS.
        keepalive_s: seconds an idle connection is kept; below the other side's own limit, else
            requests meet closed connections.
        max_answer_bytes: largest answer read.
        tls: how https is spoken; None: the system's authorities, names checked.
    """
    if tls is None:
        # Reads the authorities from disk: 20 ms, once.
        tls = await asyncio.to_thread(ssl.create_default_context)
    pool = HttpPool(
        connect_timeout_s=connect_timeout_s,
        keepalive_s=keepalive_s,
        max_answer_bytes=max_answer_bytes,
        tls=tls,
    )
    try:
        yield pool
    finally:
        await pool.close()


def _idle(place: _Place) -> HttpConnection | None:
    idle = place.idle
    while idle:
        connection, _ = idle.popitem()
        if connection.usable:
            return connection
    return None


def _head(request_line: str, headers: Mapping[str, str], length: int) -> bytes:
    if "host" in headers:
        request_line = request_line[: request_line.index("\r\n")]
    lines = [f"\r\n{name}: {value}" for name, value in headers.items()]
    head = f"{request_line}{''.join(lines)}\r\ncontent-length: {length}\r\n\r\n"
    # As many line ends as lines: a value with one of its own would be a header of its own.
    breaks = request_line.count("\r\n") + len(lines) + 3
    if head.count("\n") != breaks or head.count("\r") != breaks:
        raise ValueError("a header of a request to a target has a line break in it")
    return head.encode()
