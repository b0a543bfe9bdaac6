"""Bare echo servers of one method and one stream: ours over HTTP/2, and grpc.aio's.

``python transport_peers.py ours|grpc``, a process each; prints one JSON line with its port. Both
have the same handlers, on uvloop, without interceptors: bytes in, the same bytes out.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any, Final

import grpc
import grpc.aio
import uvloop

from simcloud.rpc.http2 import Http2Server, Limits

SERVICE: Final = "bench.Echo"
MAX_BYTES: Final = 32 * 1024 * 1024


async def one(request: bytes, _context: Any) -> bytes:
    """The request."""
    return request


async def many(requests: Any, context: Any) -> None:
    """Each request."""
    async for request in requests:
        await context.write(request)


def handlers() -> dict[str, Any]:
    """By method; messages are bytes."""
    return {
        "One": grpc.unary_unary_rpc_method_handler(one),
        "Many": grpc.stream_stream_rpc_method_handler(many),
    }


def ours() -> tuple[Http2Server, int]:
    """Our server."""
    server = Http2Server(
        limits=Limits(
            max_message_bytes=MAX_BYTES, max_streams=1024, keepalive_s=30, keepalive_timeout_s=10
        )
    )
    server.add_registered_method_handlers(SERVICE, handlers())
    return server, server.add_port("127.0.0.1:0")


def stock() -> tuple[grpc.aio.Server, int]:
    """gRPC's, with frames as large as ours takes."""
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", MAX_BYTES),
            ("grpc.max_send_message_length", MAX_BYTES),
            ("grpc.http2.max_frame_size", 256 * 1024),
        ]
    )
    server.add_registered_method_handlers(SERVICE, handlers())
    return server, server.add_insecure_port("127.0.0.1:0")


async def serve(role: str) -> None:
    """Serves until the process ends."""
    server, port = ours() if role == "ours" else stock()
    await server.start()
    sys.stdout.write(json.dumps({"port": port}) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
