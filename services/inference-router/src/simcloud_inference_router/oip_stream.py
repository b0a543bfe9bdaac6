"""One ModelStreamInfer stream without its transport."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

from google.protobuf.message import DecodeError

from simcloud.concurrency.budget import ByteLease
from simcloud.concurrency.service import OneOperation
from simcloud.errors import Cancelled, InvalidRequest, SimcloudError
from simcloud.oip.pool import OipMessage
from simcloud.oip.service import METHODS, STREAM_METHOD
from simcloud.oip.tensors import new
from simcloud.rpc.status import shortened
from simcloud_inference_router.oip_answers import Answers, FillResponse, StreamModels
from simcloud_inference_router.pipeline import Pipeline
from simcloud_inference_router.router import Call, Router
from simcloud_inference_router.sequences import StreamSequences

_REQUEST = METHODS[STREAM_METHOD].request

Taken: TypeAlias = tuple[OipMessage, ByteLease]
"""A request, and its share of the memory for payloads."""

StreamAnswer: TypeAlias = bytes | SimcloudError | None
"""What goes out in a request's turn: a message, the stream's end, or nothing any more."""


class InferStream:
    """Answers the requests of one stream.

    Messages are bytes here: their size is known before anything is made of them. Each holds its
    share of the router's payload budget until it is answered; while that is full, no more are read.

    Args:
        router: its limits.
        answers: answers requests.
        call: who asks.
        as_status: whether a request's error ends the stream in place of being an answer.
        send: sends a message.
    """

    def __init__(
        self,
        router: Router,
        answers: Answers,
        *,
        call: Call,
        as_status: bool,
        send: Callable[[bytes], Awaitable[None]],
    ) -> None:
        self._router = router
        self._answers = answers
        self._call = call
        self._as_status = as_status
        self._send = send
        self._leases: set[ByteLease] = set()
        self._models: StreamModels = {}
        self._sequences = StreamSequences()
        # A model that answers several times writes beside the answers that wait for their turn,
        # and gRPC takes one message at a time.
        self._writing = asyncio.Lock()
        self._parts = OneOperation()

    async def run(self, requests: AsyncIterator[bytes]) -> None:
        """Returns when every request is answered. Nothing is held afterwards.

        Raises:
            NotReady: the process drains; what was taken is answered.
            InvalidRequest: a message is no request.
            SimcloudError: a request's error, when errors are the stream's status.
        """
        pipeline: Pipeline[Taken, StreamAnswer] = Pipeline(
            answer=self._answer,
            write=self._write,
            window=self._router.stream_window,
            ordered=True,
            drain=self._router.drain,
        )
        try:
            async with self._parts:
                await pipeline.run(self._admitted(requests))
        finally:
            for lease in tuple(self._leases):
                lease.release()

    async def _admitted(self, requests: AsyncIterator[bytes]) -> AsyncIterator[Taken]:
        async for data in requests:
            payloads = self._router.payloads
            size = min(len(data), payloads.limit)
            lease = payloads.try_acquire(size) or await payloads.acquire(size)
            self._leases.add(lease)
            yield _parsed(data), lease

    async def _answer(self, taken: Taken) -> StreamAnswer:
        request, lease = taken
        response = new("ModelStreamInferResponse")
        try:
            wanted = await self._answers.streamed(
                request,
                self._call,
                response.infer_response,
                models=self._models,
                sequences=self._sequences,
                write=self._write_filled,
            )
        except Cancelled:
            raise
        except SimcloudError as exc:
            if self._as_status:
                return exc
            wanted = True
            response = _in_band(request, exc)
        finally:
            lease.release()
            self._leases.discard(lease)
        return bytes(response.SerializeToString()) if wanted else None

    async def _write(self, answer: StreamAnswer) -> None:
        if isinstance(answer, SimcloudError):
            raise answer
        if answer is not None:
            await self._one_at_a_time(answer)

    async def _write_filled(self, fill: FillResponse) -> None:
        response = new("ModelStreamInferResponse")
        fill(response.infer_response)
        sending = self._one_at_a_time(bytes(response.SerializeToString()))
        # Left in the middle when the target's time is up, gRPC would still be at the message,
        # and refuse the next one, by which the caller is told.
        await asyncio.shield(self._parts.create_task(sending))

    async def _one_at_a_time(self, data: bytes) -> None:
        async with self._writing:
            await self._send(data)


def _parsed(data: bytes) -> OipMessage:
    try:
        return _REQUEST.FromString(data)
    except DecodeError as exc:
        raise InvalidRequest("", "the message is no ModelInferRequest") from exc


def _in_band(request: OipMessage, error: SimcloudError) -> OipMessage:
    response = new("ModelStreamInferResponse")
    response.error_message = shortened(error.message)
    response.infer_response.id = request.id
    response.infer_response.model_name = request.model_name
    return response
