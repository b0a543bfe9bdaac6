"""``/metrics`` and ``/healthz`` over HTTP/1.1: the few lines of it that probes and Prometheus need.

On the service's own event loop, so that a loop that hangs is a probe that fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final

from simcloud.telemetry import metrics

_TEXT: Final = "text/plain; charset=utf-8"
# A request of ours is one line and a few headers; whoever sends more, or slowly, is cut off.
_MAX_REQUEST_BYTES: Final = 16 * 1024
_REQUEST_TIMEOUT_S: Final = 5.0
_MAX_CONNECTIONS: Final = 32


class _Responder:
    def __init__(self, is_healthy: Callable[[], bool]) -> None:
        self._is_healthy = is_healthy
        self._connections = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        try:
            async with asyncio.timeout(_REQUEST_TIMEOUT_S):
                if self._connections <= _MAX_CONNECTIONS:
                    writer.write(self._answer(await reader.readuntil(b"\r\n\r\n")))
                    await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # Nothing was asked in time, or nobody is there to hear the answer.
            pass
        finally:
            self._connections -= 1
            writer.close()

    def _answer(self, request: bytes) -> bytes:
        method, _, rest = request.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in {b"GET", b"HEAD"}:
            status, kind, body = HTTPStatus.METHOD_NOT_ALLOWED, _TEXT, b"GET or HEAD only\n"
        elif path == b"/metrics":
            status, kind, body = HTTPStatus.OK, metrics.CONTENT_TYPE, metrics.exposition()
        elif path == b"/healthz" and self._is_healthy():
            status, kind, body = HTTPStatus.OK, _TEXT, b"ok\n"
        elif path == b"/healthz":
            status, kind, body = HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, b"not serving\n"
        else:
            status, kind, body = HTTPStatus.NOT_FOUND, _TEXT, b"/metrics and /healthz are here\n"
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {kind}\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        return head.encode() + (b"" if method == b"HEAD" else body)


@asynccontextmanager
async def metrics_server(
    host: str, port: int, *, is_healthy: Callable[[], bool]
) -> AsyncIterator[int]:
    """Serves ``/metrics`` and ``/healthz`` during the block.

    Args:
        host: address to listen on.
        port: port to listen on; 0 takes a free one.
        is_healthy: asked at each ``/healthz``: 200 or 503.

    Yields:
        The port.

    Raises:
        OSError: the address is taken or not ours.
    """
    server = await asyncio.start_server(
        _Responder(is_healthy).serve, host, port, limit=_MAX_REQUEST_BYTES
    )
    try:
        bound: int = server.sockets[0].getsockname()[1]
        yield bound
    finally:
        server.close()
        await server.wait_closed()
