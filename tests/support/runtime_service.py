"""A service of bytes on the server runtime, with methods that wait, count and say what is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2

from simcloud.rpc.channel import connect
from simcloud.rpc.deadline import remaining_s, timeout_from
from simcloud.rpc.server import RunningServer, ServerSettings, Service, running_server

RUNTIME = "test.Runtime"

Unary = grpc.aio.UnaryUnaryMultiCallable[Any, Any]
Stream = grpc.aio.UnaryStreamMultiCallable[Any, Any]


def _nothing() -> None:
    pass


class Runtime:
    """The service."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.waiting = 0
        self.cancelled = 0
        self.draining = asyncio.Event()
        self.on_checkpoint: Callable[[], None] = _nothing
        """Called when a stream's last message was taken."""

    @property
    def service(self) -> Service:
        """As a server takes it."""
        return Service(RUNTIME, self._add)

    async def _echo(self, request: bytes, context: Any) -> bytes:
        return request

    async def _wait(self, request: bytes, context: Any) -> bytes:
        self.waiting += 1
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1
        return request

    async def _deadline(self, request: bytes, context: Any) -> bytes:
        return f"{remaining_s(context)} {timeout_from(context, at_most_s=60)}".encode()

    async def _count(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """Counts until it is told to drain, then says so as its last message."""
        yield b"0"
        await self.draining.wait()
        yield b"checkpoint"
        self.on_checkpoint()

    def _add(self, server: grpc.aio.Server) -> None:
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            name: grpc.unary_unary_rpc_method_handler(behavior)
            for name, behavior in (
                ("Echo", self._echo),
                ("Wait", self._wait),
                ("Deadline", self._deadline),
            )
        }
        handlers["Count"] = grpc.unary_stream_rpc_method_handler(self._count)
        server.add_registered_method_handlers(RUNTIME, handlers)


async def call_unary(
    channel: grpc.aio.Channel,
    method: str,
    request: bytes = b"",
    *,
    timeout_s: float | None = None,
) -> bytes:
    """Calls one of the service's unary methods."""
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        f"/{RUNTIME}/{method}"
    )
    return await call(request, timeout=timeout_s)


@asynccontextmanager
async def serving_runtime(
    settings: ServerSettings | None = None, **options: Any
) -> AsyncIterator[tuple[Runtime, RunningServer, grpc.aio.Channel]]:
    """The service, its server and a channel to it."""
    runtime = Runtime()
    async with (
        running_server(
            settings or ServerSettings(), services=[runtime.service], **options
        ) as server,
        connect(server.address) as channel,
    ):
        yield runtime, server, channel


class Channels:
    """Channels that stay open beyond their server's life."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    def to(self, address: str) -> grpc.aio.Channel:
        """One more."""
        channel = connect(address)
        self._stack.push_async_callback(channel.close)
        return channel


@asynccontextmanager
async def lasting_channels() -> AsyncIterator[Channels]:
    """Makes channels, and closes them at the end."""
    async with AsyncExitStack() as stack:
        yield Channels(stack)


def health_check(channel: grpc.aio.Channel) -> Unary:
    """Health's Check."""
    return channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )


def health_watch(channel: grpc.aio.Channel) -> Stream:
    """Health's Watch."""
    return channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )
