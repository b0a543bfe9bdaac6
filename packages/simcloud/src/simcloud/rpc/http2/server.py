"""A gRPC server over HTTP/2: what is used of ``grpc.aio.Server``, at a fraction of its cost."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Final

import grpc
import grpc.aio

from simcloud.concurrency.task_set import TaskSet
from simcloud.rpc.http2 import frames
from simcloud.rpc.http2.addresses import Bound, bind
from simcloud.rpc.http2.connection import Connection
from simcloud.rpc.http2.limits import Limits
from simcloud.rpc.http2.methods import Handler, Methods
from simcloud.rpc.http2.received import Received
from simcloud.rpc.http2.unsent import Unsent
from simcloud.telemetry.logging import get_logger

_log = get_logger(__name__)

# Received at once, of one connection; shared by all (see Connection). What is left over of a frame
# has to fit beside what comes: the largest is a block of headers (Heads.max_block_bytes).
_RECEIVE_BYTES: Final = 512 * 1024


class Shared:
    """What the connections of one server have in common."""

    def __init__(self, methods: Methods, limits: Limits) -> None:
        self.methods = methods
        self.limits = limits
        self.loop = asyncio.get_running_loop()
        self.buffer = bytearray(_RECEIVE_BYTES)
        self.view = memoryview(self.buffer)
        self.connections: set[Connection] = set()
        self.received = Received(self.loop, limits)
        self.unsent = Unsent(self.loop, limits)
        self.tasks = TaskSet()
        """Of calls; the server's ``stop`` sees to their end."""
        self.stopping = False
        self.emptied = asyncio.Event()
        self.emptied.set()

    def admit(self, connection: Connection) -> bool:
        """Whether a new connection is taken."""
        if self.stopping:
            return False
        if not self.connections:
            self.received.watch(self.connections)
        self.connections.add(connection)
        self.emptied.clear()
        return True

    def gone(self, connection: Connection) -> None:
        """A connection is lost."""
        self.connections.discard(connection)
        if not self.connections:
            self.received.unwatch()
            self.emptied.set()

    def refused(self, peer: str, reason: str) -> None:
        """A peer's connection was ended for what it did."""
        _log.warning("a connection was ended", peer=peer, reason=reason)


class Http2Server:
    """A server of gRPC services.

    Made within a running loop. Methods are added, then addresses, then it is started.

    Args:
        interceptors: each stands around those after it.
        limits: of its connections.
    """

    def __init__(
        self, *, interceptors: Sequence[grpc.aio.ServerInterceptor] = (), limits: Limits
    ) -> None:
        self._methods = Methods(interceptors, limits.max_message_bytes)
        self._shared = Shared(self._methods, limits)
        self._bound: list[tuple[Bound, ssl.SSLContext | None]] = []
        self._listening: list[asyncio.Server] = []

    def add_generic_rpc_handlers(
        self, generic_rpc_handlers: Sequence[grpc.GenericRpcHandler]
    ) -> None:
        """Adds handlers that are asked for each method once."""
        self._methods.add_generic(generic_rpc_handlers)

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, Handler]
    ) -> None:
        """Adds a service's methods, which come before the generic ones."""
        self._methods.add_registered(service_name, method_handlers)

    def add_port(
        self, address: str, *, reuse_port: bool = False, tls: ssl.SSLContext | None = None
    ) -> int:
        """Takes an address; calls are served from ``start`` on.

        Args:
            address: ``host:port``, ``[v6]:port`` or ``unix:/path``; port 0 takes a free one.
            reuse_port: whether other processes may take it too.
            tls: certificates; None: plain text.

        Returns:
            The port; 0 for a Unix socket.

        Raises:
            OSError: it can't be had.
        """
        bound = bind(address, reuse_port=reuse_port)
        self._bound.append((bound, tls))
        return bound.port

    async def start(self) -> None:
        """Serves."""
        for bound, tls in self._bound:
            for listener in bound.sockets:
                self._listening.append(await self._listen(bound, listener, tls))

    async def _listen(
        self, bound: Bound, listener: Any, tls: ssl.SSLContext | None
    ) -> asyncio.Server:
        loop, timeout = self._shared.loop, self._shared.limits.handshake_s if tls else None
        start = loop.create_unix_server if bound.path else loop.create_server
        return await start(
            lambda: Connection(self._shared),
            sock=listener,
            ssl=tls,
            ssl_handshake_timeout=timeout,
            backlog=bound.backlog,
        )

    async def stop(self, grace: float | None) -> None:
        """Takes no new connections and calls, gives running ones ``grace`` seconds, cuts the rest.

        Returns when all have ended, cut ones too: those that don't heed it are named in the log and
        left behind when ``Limits.cleanup_s`` is over. May be called again, with less.
        """
        shared = self._shared
        shared.stopping = True
        # Once: by the second time another server may have the address.
        bound, self._bound = self._bound, []
        for each, _ in bound:
            each.withdraw()
        for listening in self._listening:
            listening.close()
        for each, _ in bound:
            each.close()
        for connection in list(shared.connections):
            connection.lifetime.drain(grace or 0)
        try:
            async with asyncio.timeout(grace or 0):
                await shared.emptied.wait()
        except TimeoutError:
            for connection in list(shared.connections):
                connection.fail(frames.NO_ERROR, "the server stops")
        await self._all_ended()

    async def _all_ended(self) -> None:
        shared = self._shared
        try:
            async with asyncio.timeout(shared.limits.cleanup_s):
                await shared.tasks.all_ended()
                await shared.emptied.wait()
        except TimeoutError:
            _log.error(
                "calls go on although they were cancelled; the server stops without them",
                tasks=shared.tasks.described(),
                connections=len(shared.connections),
                waited_s=shared.limits.cleanup_s,
            )
