"""A run read from threads that have no event loop: one runs in a thread of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine
from concurrent.futures import Future
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.reader import Dataset
from simcloud.dataset.selection import Key
from simcloud.dataset.source import Source
from simcloud.s3.objects import open_store

ResultT = TypeVar("ResultT")

_CLOSE_S = 10.0


class RunReader:
    """An event loop in a thread, with the run opened in it; one a process."""

    def __init__(self, source: Source) -> None:
        self.pid = os.getpid()
        self._source = source
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="simcloud dataset", daemon=True
        )
        self._thread.start()
        self._stack = AsyncExitStack()
        self._iterations: dict[AsyncGenerator[EncodedFrame, None], Future[EncodedFrame | None]] = {}
        try:
            self.dataset, self.keys = self.run(self._open())
        except BaseException:
            self.close()
            raise

    def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """What a coroutine returns, from any thread."""
        return self.start(work).result()

    def start(self, work: Coroutine[Any, Any, ResultT]) -> Future[ResultT]:
        """Starts a coroutine."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def next(self, frames: AsyncGenerator[EncodedFrame, None]) -> Future[EncodedFrame | None]:
        """Begins to read an iteration's next frame; None when there is none."""
        waiting = self._iterations[frames] = self.start(_following(frames))
        return waiting

    def end(self, frames: AsyncGenerator[EncodedFrame, None]) -> None:
        """Ends an iteration; nothing when it was ended, or in a process that doesn't have it."""
        if self.open and (waiting := self._iterations.pop(frames, None)) is not None:
            self.start(_ended(frames, waiting)).result(_CLOSE_S)

    @property
    def open(self) -> bool:
        """Whether it reads, here in this process."""
        return self.pid == os.getpid() and self._thread.is_alive()

    def close(self) -> None:
        """Ends iterations that were left in the middle, closes S3 and ends the thread."""
        if self.open:
            for frames in list(self._iterations):
                self.end(frames)
            self.start(self._stack.aclose()).result(_CLOSE_S)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_CLOSE_S)
            self._loop.close()

    async def _open(self) -> tuple[Dataset, list[Key]]:
        source = self._source
        store = await self._stack.enter_async_context(open_store(source.s3))
        dataset = await Dataset.open(store, source.location, generation=source.generation)
        return dataset, await dataset.keys(source.filter)


async def _following(frames: AsyncGenerator[EncodedFrame, None]) -> EncodedFrame | None:
    return await anext(frames, None)


async def _ended(
    frames: AsyncGenerator[EncodedFrame, None], waiting: Future[EncodedFrame | None]
) -> None:
    """Ends an iteration that may be in the middle of a frame."""
    waiting.cancel()
    while True:
        try:
            await frames.aclose()
        except RuntimeError:  # the frame that was being read has not noticed its cancel yet
            await asyncio.sleep(0)
        else:
            return
