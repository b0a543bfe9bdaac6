"""HTTP to endpoints that answer in parts: one POST whose body is read as it comes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TypeAlias

import aiohttp
from yarl import URL

from simcloud_inference_router.targets.base import Failure, TargetAnswer
from simcloud_inference_router.targets.errors import (
    Lost,
    connection_lost,
    no_connection,
    timed_out,
)

MAX_ADDRESSES = 1024
"""Servers of which it is known when they were asked last; a catalogue has a few."""

ERROR_BYTES = 64 * 1024
"""Of an error's body at most these are read."""

ReadResponse: TypeAlias = Callable[[aiohttp.ClientResponse], Awaitable[TargetAnswer | Failure]]


@dataclass(slots=True)
class _Kept:
    """The connection of one request, when that is none of its own."""

    server: URL
    ended_at: Mapping[URL, float]
    """When the last request to each server ended. aiohttp doesn't say which connection is taken
    again; that each has been idle since then is certain."""
    taken_at: float = 0.0
    idle_s: float | None = None
    """Seconds that it had been idle, or less; None: it is a new one."""

    def take(self) -> None:
        """A connection that was kept alive is taken."""
        self.taken_at = time.monotonic()
        self.idle_s = self.taken_at - self.ended_at.get(self.server, float("inf"))


class StreamPool:
    """Connections of streams; each carries one at a time. Made by ``open_stream_pool``."""

    def __init__(self, session: aiohttp.ClientSession, *, connect_timeout_s: float) -> None:
        self._session = session
        self._connect_timeout_s = connect_timeout_s
        self._ended_at: dict[URL, float] = {}

    async def post(
        self,
        *,
        target: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float,
        read: ReadResponse,
    ) -> TargetAnswer | Failure:
        """Sends one request, exactly once, and has its answer read.

        A cancel, a timeout or an answer that ``read`` leaves before its end closes the connection.

        Args:
            target: name for messages.
            url: where to; must be encoded already.
            headers: all headers but Content-Length.
            body: what to send.
            timeout_s: from now until ``read`` returns.
            read: reads the answer; while it does not, no more is received than a small buffer.
        """
        connect_s = self._connect_timeout_s if self._connect_timeout_s < timeout_s else None
        answering = False
        kept = _Kept(url.origin(), self._ended_at)
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._session.post(
                    url,
                    data=body,
                    headers=headers,
                    timeout=aiohttp.ClientTimeout(total=None, connect=connect_s),
                    allow_redirects=False,
                    trace_request_ctx=kept,
                ) as response,
            ):
                answering = True
                try:
                    return await read(response)
                finally:
                    if not response.content.is_eof():
                        response.close()
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as exc:
            return no_connection(target, type(exc).__name__)
        except TimeoutError:
            return timed_out(target, timeout_s)
        except (aiohttp.ClientError, OSError) as exc:
            lost = Lost(
                answering=answering,
                idle_s=kept.idle_s,
                after_s=time.monotonic() - kept.taken_at,
            )
            return connection_lost(target, type(exc).__name__, lost)
        finally:
            if len(self._ended_at) >= MAX_ADDRESSES:
                self._ended_at.clear()
            self._ended_at[kept.server] = time.monotonic()


async def read_up_to(response: aiohttp.ClientResponse, limit: int) -> bytes:
    """The answer's first ``limit`` bytes."""
    data = bytearray()
    async for piece in response.content.iter_any():
        data += piece
        if len(data) >= limit:
            break
    return bytes(data[:limit])


@asynccontextmanager
async def open_stream_pool(
    *, connect_timeout_s: float, keepalive_s: float
) -> AsyncIterator[StreamPool]:
    """The process's pool, closed on exit.

    Args:
        connect_timeout_s: seconds for TCP and TLS.
        keepalive_s: seconds an idle connection is kept.
    """
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=keepalive_s)
    # The one way to hear whether a request has got a connection of its own.
    tracing = aiohttp.TraceConfig()
    tracing.on_connection_reuseconn.append(_reused)
    async with aiohttp.ClientSession(
        connector=connector,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        trace_configs=[tracing],
    ) as session:
        yield StreamPool(session, connect_timeout_s=connect_timeout_s)
        # aiohttp closes TLS transports in the next turns of the loop.
        await asyncio.sleep(0)


async def _reused(
    _session: aiohttp.ClientSession,
    context: SimpleNamespace,
    _: aiohttp.TraceConnectionReuseconnParams,
) -> None:
    kept = context.trace_request_ctx
    assert isinstance(kept, _Kept)
    kept.take()
