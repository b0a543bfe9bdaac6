"""Requests of one stream answered at the same time, and their answers put back in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeAlias, TypeVar

from simcloud.concurrency.drain import Drain
from simcloud.concurrency.service import OneOperation
from simcloud.errors import NotReady

Request = TypeVar("Request")
Answer = TypeVar("Answer")

Numbered: TypeAlias = tuple[int, Request]
"""A request with its place in the stream, from 0."""


class Reorder(Generic[Answer]):
    """Gives answers out in the order of their requests; pure.

    Holds at most as many answers as there are requests in flight.
    """

    def __init__(self) -> None:
        self._next = 0
        self._early: dict[int, Answer] = {}

    def add(self, sequence: int, answer: Answer) -> list[Answer]:
        """Takes the answer to request number ``sequence``, from 0; gives what may go out now."""
        if sequence == self._next and not self._early:
            self._next += 1
            return [answer]
        self._early[sequence] = answer
        ready: list[Answer] = []
        while self._next in self._early:
            ready.append(self._early.pop(self._next))
            self._next += 1
        return ready


class Pipeline(Generic[Request, Answer]):
    """Answers the requests of one stream.

    At most ``window`` requests are in flight, answers that wait for their turn included; the
    source is not read beyond. An error of ``source`` ends reading; what was taken is answered and
    written first, then the error is raised. An error of ``answer`` or ``write`` ends everything at
    once. Cancelling cancels all requests in flight.

    Args:
        answer: answers one request.
        write: sends one answer; never called twice at once.
        window: requests in flight.
        ordered: whether answers go out in the order of the requests.
        drain: ends reading when the process stops.
    """

    def __init__(
        self,
        *,
        answer: Callable[[Request], Awaitable[Answer]],
        write: Callable[[Answer], Awaitable[None]],
        window: int,
        ordered: bool,
        drain: Drain,
    ) -> None:
        self._answer = answer
        self._write = write
        self._window = window
        self._reorder: Reorder[Answer] | None = Reorder() if ordered else None
        self._drain = drain
        self._ready: deque[Answer] = deque()
        self._writing = False
        self._loop = asyncio.get_running_loop()
        # Workers without a request, the last one that had one first; each waits for its next.
        self._idle: list[asyncio.Future[Numbered[Request] | None]] = []
        # The reader's wait for room, while the window is full.
        self._room: asyncio.Future[None] | None = None
        self._taken = 0
        self._written = 0
        self._source_ended = False
        self._source_error: Exception | None = None
        self._complete: asyncio.Future[None] = self._loop.create_future()

    async def run(self, source: AsyncIterator[Request]) -> None:
        """Returns when the source has ended and every answer is written.

        Raises:
            NotReady: the process drains; what was taken has been answered.
            Exception: what the source raised.
        """
        async with OneOperation() as tasks:
            reader = tasks.create_task(self._read(source, tasks))
            reader.add_done_callback(self._reader_ended)
            self._drain.watch(reader)
            await self._complete
            for idle in self._idle:
                if not idle.done():
                    idle.set_result(None)
        if self._source_error is not None:
            raise self._source_error

    async def _read(self, source: AsyncIterator[Request], tasks: asyncio.TaskGroup) -> None:
        try:
            async for request in source:
                numbered = self._taken, request
                self._taken += 1
                if self._idle:
                    self._idle.pop().set_result(numbered)
                else:
                    tasks.create_task(self._work(numbered))
                if self._taken - self._written >= self._window:
                    self._room = self._loop.create_future()
                    await self._room
        except Exception as exc:
            # Raised by ``run``, after what was taken is answered.
            self._source_error = exc

    def _reader_ended(self, reader: asyncio.Task[None]) -> None:
        # A callback, since a reader that is cancelled before its first step runs no ``finally``.
        if reader.cancelled():
            self._source_error = NotReady(
                "the router is shutting down; every request it took has been answered, send the "
                "others again on a new stream"
            )
        self._source_ended = True
        self._end()

    async def _work(self, numbered: Numbered[Request] | None) -> None:
        # Stays for the next request: a task for each would cost more than to tell it of one.
        while numbered is not None:
            sequence, request = numbered
            answer = await self._answer(request)
            if self._reorder is None:
                self._ready.append(answer)
            else:
                self._ready.extend(self._reorder.add(sequence, answer))
            if not self._writing:
                # Whoever writes goes on with what others add meanwhile; a task for it alone would
                # have to be woken for every answer.
                await self._write_ready()
            idle: asyncio.Future[Numbered[Request] | None] = self._loop.create_future()
            self._idle.append(idle)
            numbered = await idle

    async def _write_ready(self) -> None:
        self._writing = True
        while self._ready:
            await self._write(self._ready.popleft())
            self._written += 1
            if self._room is not None and not self._room.done():
                self._room.set_result(None)
        self._writing = False
        self._end()

    def _end(self) -> None:
        if self._source_ended and self._written == self._taken and not self._complete.done():
            self._complete.set_result(None)
