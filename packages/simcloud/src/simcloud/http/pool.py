"""Pooled HTTP/1.1: a request sent exactly once, and its whole answer.

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

from simcloud.http.connection import Body, HttpConnection
from simcloud.http.errors import NotConnected, TimeIsUp, words_of
from simcloud.http.parse import AnswerParser
from simcloud.http.tls import client_tls

# RFC 8305, section 5: how long one address family has before the other is tried beside it.
_NEXT_ADDRESS_S = 0.25
_CLOSED = "the pool of connections is closed: this part of the process ends"

_WITH_BODY = frozenset({"POST", "PUT"})
_MAX_FORMS = 256


class HttpAnswer(NamedTuple):
    """Status, headers (names in lower case) and whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Place:
    """One scheme, host and port, with its idle connections, the last used first.

    From ``HttpPool.place``, and for that pool alone.
    """

    __slots__ = ("authority", "forms", "host", "idle", "port", "sweep", "tls")

    def __init__(self, url: URL) -> None:
        if url.scheme not in {"http", "https"} or not url.raw_host or not url.port:
            raise ValueError(f"{url} is no http or https address with a host")
        self.host, self.port, self.tls = url.raw_host, url.port, url.scheme == "https"
        port = "" if url.is_default_port() else f":{url.port}"
        self.authority = f"{url.host_subcomponent}{port}"
        """As it stands in a request's Host."""
        # By the names of a request's headers: how its head is written, and lines in the end.
        self.forms: dict[tuple[str, ...], tuple[str, int]] = {}
        # A dict for its order and its quick removal.
        self.idle: dict[HttpConnection, None] = {}
        self.sweep: asyncio.TimerHandle | None = None


class HttpPool:
    """Kept-alive connections to all servers that a part of the process talks to.

    Made by ``open_pool``, which also closes it. How many requests run at once is the callers'
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
        self._places: dict[tuple[bool, str, int], Place] = {}
        self._open: dict[HttpConnection, Place] = {}
        self._all_gone = asyncio.Event()
        self._closed = False

    @property
    def connections(self) -> int:
        """Connections that are open, idle or not."""
        return len(self._open)

    @property
    def max_answer_bytes(self) -> int:
        """Largest answer read."""
        return self._max_answer_bytes

    def place(self, url: URL) -> Place:
        """Where requests to an address go.

        Raises:
            ValueError: it is no http or https address.
        """
        made = Place(url)
        return self._places.setdefault((made.tls, made.host, made.port), made)

    async def request(
        self,
        place: Place,
        *,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Body,
        timeout_s: float,
        silence: bool = False,
    ) -> HttpAnswer:
        """Sends one request, exactly once.

        A cancel or a failure closes the connection.

        Args:
            place: where to.
            method: in upper case.
            target: path and query, encoded.
            headers: all headers, names in lower case; Host and Content-Length may be left out. With
                ``Expect: 100-continue`` a body in pieces is sent when the server wants it.
            body: what to send.
            timeout_s: from now to the last byte of the answer; with ``silence`` the longest time in
                which nothing is sent and nothing comes, once connected.
            silence: how ``timeout_s`` is counted.

        Raises:
            NotConnected: nothing was sent; as it always is once the pool is closed.
            ConnectionBroken: it broke before the answer was complete.
            TimeIsUp: so; or the time was over before anything was sent.
            AnswerTooLarge: the answer is above ``max_answer_bytes``.
            MalformedHttp: the answer is no HTTP/1.1.
            ValueError: a header has a line break in it.
        """
        head = _head(place, method, target, headers, body)
        connection: HttpConnection | None = None
        try:
            connection = _idle(place)
            left_s = timeout_s
            if connection is None:
                deadline = self._loop.time() + timeout_s
                connection = await self._connect(place, timeout_s)
                if not silence:
                    left_s = deadline - self._loop.time()
            if left_s <= 0:
                # A loop that was busy hears of both at once. Nothing was sent: the connection may
                # serve the next request.
                self._keep(place, connection)
                raise TimeIsUp
            answer = await connection.send(
                head,
                body,
                parser=AnswerParser(
                    max_body_bytes=self._max_answer_bytes, no_body=method == "HEAD"
                ),
                timeout_s=left_s,
                silence=silence,
                ask_first="expect" in headers,
            )
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
        """Closes every connection, idle or not; returns when they are gone. Idempotent.

        Requests under way end with ``PoolClosed``.
        """
        self._closed = True
        for place in self._places.values():
            if place.sweep is not None:
                place.sweep.cancel()
                place.sweep = None
        self._keepalive_s = 0.0
        for connection in tuple(self._open):
            connection.end()
        if self._open:
            await self._all_gone.wait()

    async def _connect(self, place: Place, timeout_s: float) -> HttpConnection:
        if self._closed:
            raise NotConnected(_CLOSED)
        # When the caller's time ends before a connection must stand, running out of it says nothing
        # about the server.
        patient = self._connect_timeout_s < timeout_s
        try:
            async with asyncio.timeout(self._connect_timeout_s if patient else timeout_s):
                return await self._open_connection(place)
        except TimeoutError:
            if patient:
                problem = f"not connected within {self._connect_timeout_s:g} s"
                raise NotConnected(problem) from None
            raise TimeIsUp from None
        except OSError as exc:
            raise NotConnected(words_of(exc)) from exc

    async def _open_connection(self, place: Place) -> HttpConnection:
        # Looked up for every connection: addresses of AWS' services change, their names don't.
        found = await self._loop.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
        sock = await aiohappyeyeballs.start_connection(
            found, happy_eyeballs_delay=_NEXT_ADDRESS_S, interleave=1
        )
        try:
            # A peer that has vanished without a word is noticed in the end.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            _, connection = await self._loop.create_connection(
                lambda: HttpConnection(self._loop, self._lost),
                sock=sock,
                ssl=self._tls if place.tls else None,
                server_hostname=place.host if place.tls else None,
            )
        except BaseException:
            sock.close()
            raise
        if self._closed:
            connection.abort()
            raise NotConnected(_CLOSED)
        self._open[connection] = place
        self._all_gone.clear()
        return connection

    def _keep(self, place: Place, connection: HttpConnection) -> None:
        connection.idle_since = self._loop.time()
        place.idle[connection] = None
        if self._keepalive_s <= 0:
            connection.abort()
        elif place.sweep is None:
            place.sweep = self._loop.call_later(self._keepalive_s, self._sweep, place)

    def _sweep(self, place: Place) -> None:
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
    """A pool, closed on exit.

    Args:
        connect_timeout_s: seconds for name resolution, TCP and TLS.
        keepalive_s: seconds an idle connection is kept; below the other side's own limit, else
            requests meet closed connections.
        max_answer_bytes: largest answer read.
        tls: how https is spoken; None: the system's authorities, names checked.
    """
    if tls is None:
        # Reads the authorities from disk: 20 ms, once.
        tls = await asyncio.to_thread(client_tls)
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


def _idle(place: Place) -> HttpConnection | None:
    idle = place.idle
    while idle:
        connection, _ = idle.popitem()
        if connection.usable:
            return connection
    return None


def _head(place: Place, method: str, target: str, headers: Mapping[str, str], body: Body) -> bytes:
    names = tuple(headers)
    known = place.forms.get(names)
    if known is None:
        known = _form(names, place.authority)
        # Which headers there are is a few choices; whoever makes more of them pays for it.
        if len(place.forms) < _MAX_FORMS:
            place.forms[names] = known
    form, breaks = known
    size = len(body) if isinstance(body, bytes) else sum(map(len, body))
    last = "\r\n\r\n"
    # RFC 9110, section 8.6: a method that means a body says its length, also when it has none.
    if (size or method in _WITH_BODY) and "content-length" not in headers:
        last = f"\r\ncontent-length: {size}{last}"
        breaks += 1
    head = form % (method, target, *headers.values()) + last
    # As many line ends as lines: a value with one of its own would be a header of its own.
    if head.count("\n") != breaks or head.count("\r") != breaks:
        raise ValueError("a header of a request has a line break in it")
    return head.encode()


def _form(names: tuple[str, ...], authority: str) -> tuple[str, int]:
    """Request line and headers of these names, a ``%s`` for each value; its line ends in all."""
    lines = ["%s %s HTTP/1.1"]
    if "host" not in names:
        lines.append(f"host: {authority}".replace("%", "%%"))
    lines.extend([f"{name.replace('%', '%%')}: %s" for name in names])
    return "\r\n".join(lines), len(lines) + 1
