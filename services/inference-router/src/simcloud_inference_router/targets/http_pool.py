"""Pooled HTTP to targets: one POST, no retries, the errors of aiohttp translated once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from simcloud_inference_router.targets.base import Failure
from simcloud_inference_router.targets.errors import (
    bad_answer,
    connection_lost,
    no_connection,
    timed_out,
)

_UNWANTED = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
"""Headers that aiohttp would add by itself; some would have to be signed."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Status, headers (case-insensitive) and whole body."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


class HttpPool:
    """Kept-alive connections to all targets of the process.

    Made by ``open_pool``, which also closes it. How many requests run at once is the limiters'
    business; the pool itself never queues.
    """

    def __init__(
        self, session: aiohttp.ClientSession, *, connect_timeout_s: float, max_answer_bytes: int
    ) -> None:
        self._session = session
        self._connect_timeout_s = connect_timeout_s
        self._max_answer_bytes = max_answer_bytes

    async def post(
        self,
        *,
        target: str,
        url: URL,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float,
    ) -> HttpAnswer | Failure:
        """Sends one request, exactly once.

        A cancel or a timeout closes the connection. An answer above ``max_answer_bytes`` is a
        failure of the target.

        Args:
            target: name for messages.
            url: where to; must be encoded already.
            headers: all headers but Content-Length.
            body: what to send.
            timeout_s: from now to the last byte of the answer.
        """
        # When the caller's time ends before a connection must stand, running out of it says nothing
        # about the target. `connect` and not `sock_connect`: name resolution is part of it.
        connect_s = self._connect_timeout_s if self._connect_timeout_s < timeout_s else None
        timeout = aiohttp.ClientTimeout(total=timeout_s, connect=connect_s)
        answering = False
        try:
            async with self._session.post(
                url, data=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as response:
                answering = True
                content = await self._read(response)
                if content is None:
                    problem = f"answer is larger than {self._max_answer_bytes} bytes"
                    response.close()
                    return Failure(bad_answer(target, problem))
                return HttpAnswer(response.status, response.headers, content)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as exc:
            return no_connection(target, _words(exc))
        except TimeoutError:
            return timed_out(target, timeout_s)
        except (aiohttp.ClientError, OSError) as exc:
            return connection_lost(target, _words(exc), answering=answering)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes | None:
        """The body, or None when it is too large."""
        limit = self._max_answer_bytes
        length = response.content_length
        if length is not None:
            return await response.read() if length <= limit else None
        pieces: list[bytes] = []
        size = 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if size > limit:
                return None
            pieces.append(piece)
        return b"".join(pieces)


@asynccontextmanager
async def open_pool(
    *, connect_timeout_s: float, keepalive_s: float, max_answer_bytes: int
) -> AsyncIterator[HttpPool]:
    """The process's pool, closed on exit.

    Args:
        connect_timeout_s: seconds for TCP and TLS.
        keepalive_s: seconds an idle connection is kept; below the other side's own limit, else
            requests meet closed connections.
        max_answer_bytes: largest answer read.
    """
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=keepalive_s)
    async with aiohttp.ClientSession(
        connector=connector,
        skip_auto_headers=_UNWANTED,
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
    ) as session:
        yield HttpPool(
            session, connect_timeout_s=connect_timeout_s, max_answer_bytes=max_answer_bytes
        )
        # aiohttp closes TLS transports in the next turns of the loop.
        await asyncio.sleep(0)


def _words(exc: BaseException) -> str:
    # Without the address, which is nothing that our callers need to know.
    cause = exc.os_error if isinstance(exc, aiohttp.ClientConnectorError) else exc
    if isinstance(cause, OSError) and cause.errno and cause.errno > 0:
        return os.strerror(cause.errno)
    return type(cause).__name__
