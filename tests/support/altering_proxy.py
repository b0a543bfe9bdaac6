"""A gRPC proxy that changes what servers answer: for clients that must notice."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial

import grpc
import grpc.aio

Alter = Callable[[str, bytes], Iterable[bytes]]
"""From a method's path and one message of the server to what the client gets in its place."""

_Context = grpc.aio.ServicerContext[bytes, bytes]


class _Forwarded(grpc.GenericRpcHandler):
    """Every method there may be, its messages unread; on the wire a unary one is a short stream."""

    def __init__(self, channel: grpc.aio.Channel, alter: Alter) -> None:
        self._channel = channel
        self._alter = alter

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        forward = partial(self._forward, handler_call_details.method)
        return grpc.stream_stream_rpc_method_handler(forward)

    async def _forward(
        self, method: str, requests: AsyncIterator[bytes], context: _Context
    ) -> AsyncIterator[bytes]:
        forwarded: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
        forwarded = self._channel.stream_stream(method)
        call = forwarded(requests)
        try:
            async for message in call:
                for altered in self._alter(method, message):
                    yield altered
        except grpc.aio.AioRpcError as error:
            trailers = tuple(error.trailing_metadata())
            await context.abort(error.code(), error.details() or "", trailers)
        finally:
            call.cancel()


@asynccontextmanager
async def altering_proxy(address: str, alter: Alter) -> AsyncIterator[str]:
    """Stands before a server within the block.

    Args:
        address: the server's ``host:port``.
        alter: called with each message that the server sends.

    Yields:
        The ``host:port`` of the proxy.
    """
    async with grpc.aio.insecure_channel(address) as channel:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((_Forwarded(channel, alter),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            await server.stop(None)
