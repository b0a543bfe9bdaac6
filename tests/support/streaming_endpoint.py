"""A real HTTP server on loopback that answers in parts, as a test tells it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

from aiohttp import web

from simcloud_inference_router.targets.event_stream import Event, encode_event
from support.http_site import http_site
from support.scripted_endpoint import Invocation

Body: TypeAlias = Callable[[Invocation], AsyncIterator[bytes]]


def part(payload: bytes) -> bytes:
    """A PayloadPart as the SageMaker runtime frames it."""
    headers = {
        ":message-type": "event",
        ":event-type": "PayloadPart",
        ":content-type": "application/octet-stream",
    }
    return encode_event(Event(payload, headers))


def exception(kind: str, message: str, error_code: str = "") -> bytes:
    """An exception within a stream."""
    fields = {"Message": message, **({"ErrorCode": error_code} if error_code else {})}
    headers = {
        ":message-type": "exception",
        ":exception-type": kind,
        ":content-type": "application/json",
    }
    return encode_event(Event(json.dumps(fields).encode(), headers))


class StreamingEndpoint:
    """Answers with what ``body`` yields for a request; remembers what came."""

    def __init__(self) -> None:
        self.body: Body | None = None
        self.content_type = "application/json"
        self.seen: list[Invocation] = []
        self.sent_bytes = 0
        self.disconnected = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The handler."""
        invocation = Invocation(request.raw_path, dict(request.headers), await request.read())
        self.seen.append(invocation)
        assert self.body is not None, "the test says what is answered"
        response = web.StreamResponse(
            headers={
                "content-type": "application/vnd.amazon.eventstream",
                "x-amzn-sagemaker-content-type": self.content_type,
                "x-amzn-invoked-production-variant": "blue",
            }
        )
        await response.prepare(request)
        try:
            async for piece in self.body(invocation):
                await response.write(piece)
                self.sent_bytes += len(piece)
        except (ConnectionError, asyncio.CancelledError):
            self.disconnected += 1
            raise
        return response


@asynccontextmanager
async def streaming_endpoint() -> AsyncIterator[StreamingEndpoint]:
    """An endpoint that listens within the block."""
    endpoint = StreamingEndpoint()
    async with http_site(endpoint.answer) as endpoint.url:
        yield endpoint
