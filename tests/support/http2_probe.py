"""A gRPC service that shows what a server does with its servicers, behind either of two servers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
import grpc.aio
import pytest

from simcloud.errors import InvalidRequest
from simcloud.rpc.auth import caller_of
from simcloud.rpc.server import RunningServer, Service, running_server
from simcloud.rpc.settings import ServerSettings
from simcloud.telemetry import metrics, names
from support.eventually import eventually
from support.http2_peer import ready_peer

Context = grpc.aio.ServicerContext[Any, Any]
Requests = AsyncIterator[bytes]

SERVICE: Final = "probe.Probe"
SERVERS: Final = ("grpc", "http2")
"""Whose answers are compared: gRPC's own server and ours."""

PEERS: Final = SERVERS if "SIMCLOUD_HTTP2_BOTH" in os.environ else SERVERS[1:]
"""Of tests frame by frame. ``SIMCLOUD_HTTP2_BOTH=1`` shows that they ask of ours what gRPC's own
server does too, or say where they ask for more; it takes minutes."""

only_ours: Final = pytest.mark.parametrize("site", SERVERS[1:], indirect=True, scope="module")
"""Of a test of what gRPC's own server lets pass or never answers, or that would take it long."""


@dataclass
class Probe:
    """The servicer. Messages are bytes."""

    cancelled: int = 0
    """Methods that were cancelled."""
    done: int = 0
    """RPCs of ``Wait`` whose done-callback was called."""
    sent: int = 0
    """Messages that ``Endless`` got rid of."""
    called: int = 0
    """RPCs of ``Echo``."""
    release: asyncio.Event = field(default_factory=asyncio.Event)
    """What ``Deaf`` and ``Hold`` wait for."""
    waiting: int = 0
    """Methods that wait."""

    async def Echo(self, request: bytes, context: Context) -> bytes:
        self.called += 1
        return request

    async def Count(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        """``n size``: so many messages of so many bytes."""
        number, size = map(int, request.split())
        for each in range(number):
            yield bytes([each % 251]) * size

    async def Sum(self, requests: Requests, context: Context) -> bytes:
        """How many messages, and of how many bytes."""
        number = size = 0
        async for each in requests:
            number += 1
            size += len(each)
        return b"%d %d" % (number, size)

    async def Chat(self, requests: Requests, context: Context) -> AsyncIterator[bytes]:
        async for each in requests:
            yield each

    async def ChatByHand(self, _: Requests, context: Context) -> None:
        """Chat by ``read`` and ``write``."""
        while (each := await context.read()) is not grpc.aio.EOF:
            await context.write(each)

    async def Wait(self, request: bytes, context: Context) -> bytes:
        is_done: Any = self._is_done  # The stubs have no type of it that can be met.
        context.add_done_callback(is_done)
        return await self._waits(asyncio.Event())

    async def Hold(self, request: bytes, context: Context) -> bytes:
        """Answers when it is released."""
        await self._waits(self.release)
        return request

    async def HoldStream(self, requests: Requests, context: Context) -> AsyncIterator[bytes]:
        """Answers the first request, and the rest when it is released."""
        async for each in requests:
            yield each
            await self._waits(self.release)

    async def Endless(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        """Messages of so many bytes, for ever."""
        size = int(request)
        try:
            while True:
                yield bytes(size)
                self.sent += 1
        finally:
            self.cancelled += 1

    async def Deaf(self, requests: Requests, context: Context) -> bytes:
        """``Sum`` that reads nothing before it is released."""
        await self._waits(self.release)
        return await self.Sum(requests, context)

    async def Abort(self, request: bytes, context: Context) -> bytes:
        """``code message``."""
        code, _, text = request.decode().partition(" ")
        await context.abort(
            grpc.StatusCode[code], text, (("why", "asked to"), ("why-bin", b"\x00\xff"))
        )
        raise AssertionError

    async def AbortMidway(self, request: bytes, context: Context) -> AsyncIterator[bytes]:
        for each in range(int(request)):
            yield bytes([each])
        await context.abort(grpc.StatusCode.ABORTED, "enough")

    async def Raise(self, request: bytes, context: Context) -> bytes:
        raise RuntimeError("a bug of the method's")

    async def RaiseOurs(self, request: bytes, context: Context) -> bytes:
        raise InvalidRequest("shard", request.decode())

    async def SetCode(self, request: bytes, context: Context) -> bytes:
        context.set_code(grpc.StatusCode.OUT_OF_RANGE)
        context.set_details("no further")
        return request

    async def Refuse(self, requests: Requests, context: Context) -> bytes:
        """A status before anything is read."""
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now")
        raise AssertionError

    async def Reflect(self, request: bytes, context: Context) -> bytes:
        """The caller's metadata, before and behind the answer."""
        own = [
            (key, value)
            for key, value in context.invocation_metadata() or ()
            if key.startswith("x-")
        ]
        await context.send_initial_metadata(tuple(own))
        context.set_trailing_metadata(tuple(own))
        return request

    async def Remaining(self, request: bytes, context: Context) -> bytes:
        return repr(context.time_remaining()).encode()

    async def Caller(self, request: bytes, context: Context) -> bytes:
        return f"{caller_of(context)} {context.peer()}".encode()

    async def _waits(self, until: asyncio.Event) -> bytes:
        self.waiting += 1
        try:
            await until.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1
        return b""

    def _is_done(self, context: Any) -> None:
        self.done += 1


_STREAMING: Final = {
    **dict.fromkeys(("Count", "Endless", "AbortMidway"), grpc.unary_stream_rpc_method_handler),
    **dict.fromkeys(("Sum", "Deaf", "Refuse"), grpc.stream_unary_rpc_method_handler),
    **dict.fromkeys(("Chat", "ChatByHand", "HoldStream"), grpc.stream_stream_rpc_method_handler),
}
_UNARY: Final = (
    *("Echo", "Wait", "Hold", "Abort", "Raise", "RaiseOurs", "SetCode", "Reflect"),
    *("Remaining", "Caller"),
)


def add_probe(probe: Probe, server: grpc.aio.Server) -> None:
    """Registers the servicer, as generated code would."""
    makers: dict[str, Any] = dict.fromkeys(_UNARY, grpc.unary_unary_rpc_method_handler)
    makers |= _STREAMING
    handlers = {name: make(getattr(probe, name)) for name, make in makers.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))


@dataclass(frozen=True, slots=True)
class Site:
    """A server with the probe, of one kind."""

    kind: str
    running: RunningServer
    probe: Probe
    tasks: int
    """That the loop had when nothing was asked yet."""

    @property
    def address(self) -> str:
        """Where clients connect."""
        return self.running.address

    @property
    def is_ours(self) -> bool:
        """Whether it is our server, which is stricter than gRPC's own with who breaks the rules."""
        return self.kind == "http2"

    async def is_served(self) -> bool:
        """A new connection is served.

        Raises:
            AssertionError: it was not.
        """
        async with ready_peer(self.address) as peer:
            await peer.asks()
        return True

    async def is_settled(self) -> None:
        """Waits until no RPC is served and none of the server's tasks is left over.

        Raises:
            AssertionError: they stay.
        """
        await eventually(lambda: metrics.value_of(names.RPC_IN_FLIGHT) == 0, what="no RPC is left")
        await eventually(lambda: len(asyncio.all_tasks()) <= self.tasks, what="no task is left")
        self.probe.release.clear()


@asynccontextmanager
async def probe_site(kind: str, settings: ServerSettings | None = None) -> AsyncIterator[Site]:
    """A server of one of ``SERVERS`` for the block."""
    probe = Probe()
    service = Service(SERVICE, lambda server: add_probe(probe, server))
    settings = settings or ServerSettings(drain_s=0, log_requests=False)
    settings = settings.model_copy(update={"transport": kind})
    tasks = len(asyncio.all_tasks())
    async with running_server(settings, services=[service]) as running:
        yield Site(kind, running, probe, max(tasks, len(asyncio.all_tasks())))
