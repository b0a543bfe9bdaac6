"""Requests to targets: one POST, no retries, what goes wrong said in the router's words."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TypeAlias

from yarl import URL

from simcloud.http.errors import (
    AnswerTooLarge,
    ConnectionBroken,
    HttpFailure,
    NotConnected,
    TimeIsUp,
)
from simcloud.http.pool import HttpAnswer, HttpPool, Place, open_pool
from simcloud_inference_router.targets.base import Failure
from simcloud_inference_router.targets.errors import (
    Lost,
    bad_answer,
    connection_lost,
    no_connection,
    oversized_answer,
    timed_out,
)

Address: TypeAlias = tuple[Place, str]
"""Server, and path with query."""

MAX_ADDRESSES = 1024
"""Addresses that are remembered; a catalogue has a few."""


class TargetPool:
    """The connections of all targets of the process; from ``open_target_pool``."""

    def __init__(self, pool: HttpPool) -> None:
        self._pool = pool
        # By address: what a target sends every time.
        self._known: dict[URL, Address] = {}

    @property
    def connections(self) -> int:
        """Connections that are open, idle or not."""
        return self._pool.connections

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

        A cancel or a timeout closes the connection. An answer above the pool's limit, or one that
        is no HTTP/1.1, is a failure of the target.

        Args:
            target: name for messages.
            url: where to; must be encoded already.
            headers: all headers but Content-Length and, unless it is to be another one, Host.
            body: what to send.
            timeout_s: from now to the last byte of the answer.

        Raises:
            ValueError: a header has a line break in it.
        """
        return await self.send(
            self._known.get(url) or self._know(url),
            target=target,
            headers=headers,
            body=body,
            timeout_s=timeout_s,
        )

    async def send(
        self,
        address: Address,
        *,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        timeout_s: float,
    ) -> HttpAnswer | Failure:
        """As ``post``, to an address from ``address``."""
        place, path = address
        try:
            return await self._pool.request(
                place, method="POST", target=path, headers=headers, body=body, timeout_s=timeout_s
            )
        except HttpFailure as failure:
            return self._said(failure, target, timeout_s)

    def address(self, url: URL) -> Address:
        """Where requests go, for whoever sends many to the same URL, which is encoded already.

        Raises:
            ValueError: it is no http or https address.
        """
        return self._pool.place(url), url.raw_path_qs

    def _said(self, failure: HttpFailure, target: str, timeout_s: float) -> Failure:
        match failure:
            case NotConnected():
                return no_connection(target, str(failure))
            case TimeIsUp():
                return timed_out(target, timeout_s)
            case ConnectionBroken(answering=answering, idle_s=idle_s, after_s=after_s):
                lost = Lost(answering=answering, idle_s=idle_s, after_s=after_s)
                return connection_lost(target, str(failure), lost)
            case AnswerTooLarge():
                return Failure(oversized_answer(target, self._pool.max_answer_bytes))
            case _:
                return Failure(bad_answer(target, f"what it answered can't be read: {failure}"))

    def _know(self, url: URL) -> Address:
        if len(self._known) >= MAX_ADDRESSES:
            self._known.clear()
        known = self._known[url] = self.address(url)
        return known


@asynccontextmanager
async def open_target_pool(
    *,
    connect_timeout_s: float,
    keepalive_s: float,
    max_answer_bytes: int,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[TargetPool]:
    """The process's pool, closed on exit.

    Args:
        connect_timeout_s: seconds for name resolution, TCP and TLS.
        keepalive_s: seconds an idle connection is kept; below the other side's own limit, else
            requests meet closed connections.
        max_answer_bytes: largest answer read.
        tls: how https is spoken; None: the system's authorities, names checked.
    """
    async with open_pool(
        connect_timeout_s=connect_timeout_s,
        keepalive_s=keepalive_s,
        max_answer_bytes=max_answer_bytes,
        tls=tls,
    ) as pool:
        yield TargetPool(pool)
