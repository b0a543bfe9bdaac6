"""A real HTTP server that takes asynchronous invocations and writes their answers to S3."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiohttp import web

from simcloud.s3.errors import NoSuchKey
from simcloud.s3.objects import ObjectStore
from support.http_site import http_site
from support.scripted_endpoint import Invocation


@dataclass(frozen=True, slots=True)
class Written:
    """What the model wrote."""

    body: bytes
    content_type: str = "application/octet-stream"
    failed: bool = False


class AsyncEndpoint:
    """Answers each request with what ``model`` makes of its body, once ``hold`` is set."""

    def __init__(self, store: ObjectStore, bucket: str) -> None:
        self._store = store
        self._bucket = bucket
        self.model: Callable[[bytes, Invocation], Written] | None = None
        self.hold = asyncio.Event()
        self.hold.set()
        self.output_bucket = bucket
        self.seen: list[Invocation] = []
        self.inputs: list[str] = []
        self.without_input = 0
        """Requests whose input was gone when their turn came."""
        self.refusal: web.Response | None = None
        self.url = ""
        self._tasks: asyncio.TaskGroup | None = None

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """The handler."""
        invocation = Invocation(request.raw_path, dict(request.headers), await request.read())
        self.seen.append(invocation)
        if self.refusal is not None:
            refusal, self.refusal = self.refusal, None
            return refusal
        number = len(self.seen)
        assert self._tasks is not None
        self._tasks.create_task(self._work(number, invocation))
        return web.json_response(
            {"InferenceId": str(number)},
            status=202,
            headers={
                "x-amzn-sagemaker-outputlocation": f"s3://{self.output_bucket}/out/{number}.out",
                "x-amzn-sagemaker-failurelocation": f"s3://{self._bucket}/failed/{number}.out",
            },
        )

    async def _work(self, number: int, invocation: Invocation) -> None:
        await self.hold.wait()
        headers = {name.lower(): value for name, value in invocation.headers.items()}
        body = invocation.body
        if uri := headers.get("x-amzn-sagemaker-inputlocation"):
            bucket, _, key = uri.removeprefix("s3://").partition("/")
            self.inputs.append(key)
            try:
                body = (await self._store.get(bucket, key)).data
            except NoSuchKey:
                self.without_input += 1
                return
        assert self.model is not None, "the test says what is answered"
        written = self.model(body, invocation)
        folder = "failed" if written.failed else "out"
        await self._store.put(
            self._bucket, f"{folder}/{number}.out", written.body, content_type=written.content_type
        )

    def failure(self, message: str, **more: object) -> Written:
        """A failed invocation's object."""
        return Written(json.dumps({"Message": message, **more}).encode(), failed=True)


@asynccontextmanager
async def async_endpoint(store: ObjectStore, bucket: str) -> AsyncIterator[AsyncEndpoint]:
    """An endpoint that listens within the block."""
    endpoint = AsyncEndpoint(store, bucket)
    async with http_site(endpoint.answer) as endpoint.url, asyncio.TaskGroup() as tasks:
        endpoint._tasks = tasks
        yield endpoint
        endpoint.hold.set()
