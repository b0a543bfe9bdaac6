"""A server with little memory for what its callers leave half sent, or don't take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc

from simcloud.concurrency import budget_statistics
from simcloud.rpc.http2 import Http2Server, Limits
from support.eventually import eventually
from support.http2_frames import PREFACE, Setting, data, message, opens, settings
from support.http2_peer import Peer, ready_peer

KIB: Final = 1024
MIB: Final = 1024 * KIB
ECHO, COUNT, DEAF, ONCE = b"/a.A/Echo", b"/a.A/Count", b"/a.A/Deaf", b"/a.A/Once"
LIMITS: Final = Limits(
    max_message_bytes=MIB,
    max_streams=64,
    keepalive_s=30,
    keepalive_timeout_s=10,
    stream_window_bytes=64 * KIB,
    memory_bytes=4 * MIB,
    patience_s=0.5,
    min_ping_interval_s=0,
)
DEFAULT_WINDOW_BYTES: Final = Limits(
    max_message_bytes=1, max_streams=1, keepalive_s=1, keepalive_timeout_s=1
).stream_window_bytes
# What comes in one turn of the loop is counted before anyone can be ended for it.
BOUND: Final = LIMITS.memory_bytes + MIB
CLOSED: Final = PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: 0})
LARGE: Final = bytes(MIB - KIB)
STEP: Final = 100 * KIB
DEADLINE, EXHAUSTED = 4, 8


class Served:
    """A server, and what its calls hold."""

    def __init__(self) -> None:
        self.address = ""
        self.release = asyncio.Event()
        self.deaf = 0

    def held(self, name: str) -> int:
        found = [each for each in budget_statistics() if each.name == f"http2_{name}"]
        return sum(each.in_use for each in found)

    def waiting(self) -> int:
        found = [each for each in budget_statistics() if each.name == "http2_received"]
        return sum(each.waiting for each in found)

    async def is_free(self) -> None:
        await eventually(lambda: self.held("received") == 0, what="requests are given back")
        await eventually(lambda: self.held("unsent") == 0, what="answers are given back")

    async def echo(self, request: bytes, _: Any) -> bytes:
        return request

    async def count(self, requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        """Answers each message with its size."""
        async for each in requests:
            yield b"%d" % len(each)

    async def once(self, requests: AsyncIterator[bytes], _: Any) -> bytes:
        """Answers the first message, and needs no other."""
        await anext(requests)
        return LARGE

    async def is_deaf(self, requests: AsyncIterator[bytes], _: Any) -> AsyncIterator[bytes]:
        """Reads nothing before it is released."""
        self.deaf += 1
        await self.release.wait()
        async for each in requests:
            yield each


@asynccontextmanager
async def serving(limits: Limits = LIMITS) -> AsyncIterator[Served]:
    server = Http2Server(limits=limits)
    served = Served()
    chat: Any = grpc.stream_stream_rpc_method_handler
    unary: Any = grpc.unary_unary_rpc_method_handler
    upload: Any = grpc.stream_unary_rpc_method_handler
    handlers = {
        "Echo": unary(served.echo),
        "Count": chat(served.count),
        "Deaf": chat(served.is_deaf),
        "Once": upload(served.once),
    }
    server.add_registered_method_handlers("a.A", handlers)
    served.address = f"127.0.0.1:{server.add_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with ready_peer(served.address) as peer:
            await asks(peer)
        yield served
        await served.is_free()
    finally:
        served.release.set()
        await server.stop(0)


async def asks(peer: Peer, payload: bytes = b"well?") -> None:
    """Has a request of any size answered."""
    stream = peer.next_stream()
    await peer.send(opens(stream, ECHO))
    await peer.pours(stream, message(payload))
    await peer.send(data(stream, end=True))
    answer = await peer.answer(stream)
    assert (answer.grpc_status, answer.messages) == (0, [payload])


async def stops_short(peer: Peer, payload: bytes, path: bytes = ECHO) -> int:
    """Sends a call's message as far as it may, and never the last of it; returns its stream."""
    stream = peer.next_stream()
    await peer.send(opens(stream, path))
    await peer.pours(stream, message(payload)[:-100], until_full=True)
    return stream
