"""A real HTTP server on loopback that answers invocations as a test tells it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from support.http_site import http_site


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer."""

    status: int = 200
    body: bytes = b'{"detections":[]}'
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": "application/json"})
    hold: asyncio.Event | None = None
    """Answered only once this is set."""
    hang_up: bool = False
    """Close the connection in place of an answer."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """One request as it came."""

    path: str
    headers: Mapping[str, str]
    body: bytes


def error(status: int, code: str, message: str = "", **headers: str) -> Reply:
    """An error as the SageMaker runtime sends it."""
    sent = {"content-type": "application/json", **headers}
    if code:
        sent["x-amzn-ErrorType"] = code
    return Reply(status, f'{{"Message": "{message}"}}'.encode(), sent)


class ScriptedEndpoint:
    """Answers with ``replies`` in turn, then with ``default`` for ever; remembers what came."""

    def __init__(self) -> None:
        self.replies: deque[Reply] = deque()
        self.default = Reply()
        self.respond: Callable[[Invocation], Reply] | None = None
        """Makes the answer from the request, in place of ``replies`` and ``default``."""
        self.hold: asyncio.Event | None = None
        """Holds every answer back until it is set."""
        self.seen: list[Invocation] = []
        self.in_flight = 0
        self.peak = 0
        self.disconnected = 0
        """Requests whose client went away before the answer."""
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The handler."""
        body = await request.read()
        invocation = Invocation(request.raw_path, dict(request.headers), body)
        self.seen.append(invocation)
        reply = self._reply(invocation)
        hold = reply.hold or self.hold
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)
        try:
            if hold is not None:
                await hold.wait()
        except asyncio.CancelledError:
            self.disconnected += 1
            raise
        finally:
            self.in_flight -= 1
        if reply.hang_up:
            assert request.transport is not None
            request.transport.close()
        return web.Response(status=reply.status, body=reply.body, headers=reply.headers)

    def _reply(self, invocation: Invocation) -> Reply:
        if self.respond is not None:
            return self.respond(invocation)
        return self.replies.popleft() if self.replies else self.default


@asynccontextmanager
async def scripted_endpoint() -> AsyncIterator[ScriptedEndpoint]:
    """An endpoint that listens within the block."""
    endpoint = ScriptedEndpoint()
    async with http_site(endpoint.answer) as endpoint.url:
        yield endpoint
