"""An HTTP server of bytes on loopback: it answers well, badly, slowly or not at all, as told."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import uvloop
from yarl import URL

from simcloud.http.pool import HttpAnswer
from simcloud_inference_router.targets.base import Failure
from simcloud_inference_router.targets.target_pool import TargetPool, open_target_pool

HELLO = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"


@dataclass(slots=True)
class Server:
    """A server of bytes."""

    port: int = 0
    heads: list[bytes] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    connections: int = 0
    gone: int = 0
    """Connections that have ended."""

    async def request(self, reader: asyncio.StreamReader) -> bool:
        """Reads a whole request; False when the client has gone."""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.heads.append(head)
        self.bodies.append(await reader.readexactly(size))
        return True

    def url(self, scheme: str = "http", host: str = "127.0.0.1") -> URL:
        return URL(f"{scheme}://{host}:{self.port}/endpoints/x/invocations?a=%20b", encoded=True)


@asynccontextmanager
async def serving(
    answer: Callable[[Server, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[Server]:
    """A server whose connections ``answer`` serves."""
    server = Server()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            await answer(server, reader, writer)
        except ConnectionError:
            pass
        finally:
            server.gone += 1
            writer.close()

    listening = await asyncio.start_server(serve, host, 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


def replying(*pieces: bytes, close: bool = False) -> Callable[..., Awaitable[None]]:
    """Answers every request with these pieces, each sent by itself."""

    async def answer(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while await server.request(reader):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            if close:
                return

    return answer


async def ask(
    pool: TargetPool, url: URL, *, body: bytes = b"body", timeout_s: float = 10, **headers: str
) -> HttpAnswer | Failure:
    """One POST."""
    return await pool.post(target="det", url=url, headers=headers, body=body, timeout_s=timeout_s)


def on_uvloop(scenario: Callable[[TargetPool], Awaitable[None]]) -> None:
    """Runs a test as services run: on uvloop."""

    async def run() -> None:
        async with open_target_pool(
            connect_timeout_s=5, keepalive_s=30, max_answer_bytes=100_000
        ) as pool:
            await scenario(pool)
        assert pool.connections == 0

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())
