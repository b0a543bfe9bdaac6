"""An event loop in a thread of its own, for callers that block."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Coroutine,
    Generator,
    Iterable,
)
from concurrent.futures import CancelledError, Future
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Generic, TypeVar

from simcloud.concurrency.channel import ChannelError, open_channel

T = TypeVar("T")
Item = TypeVar("Item")
Answer = TypeVar("Answer")


class LoopStopped(Exception):
    """The loop was stopped, before or during the work."""


@dataclass(frozen=True, slots=True)
class _Running(Generic[T]):
    """What the thread tells when it is ready."""

    loop: asyncio.AbstractEventLoop
    stop: asyncio.Event
    value: T


class LoopThread(Generic[T]):
    """A thread with an event loop, in which one async context manager is open.

    Made = the context manager was entered; ``stop`` leaves it, cancels what still works and ends
    the thread. Any number of threads may use it, also ones in which another loop runs: they block
    for as long as their own work takes. The thread is a daemon's: a program that forgets ``stop``
    still ends.

    Args:
        opened: entered in the thread; ``value`` is what it gives.
        name: of the thread.

    Raises:
        Exception: what entering raised.
    """

    def __init__(self, opened: AbstractAsyncContextManager[T], *, name: str) -> None:
        ready: Future[_Running[T]] = Future()
        self._thread = threading.Thread(target=_serve, args=(opened, ready), name=name, daemon=True)
        self._thread.start()
        self._running = ready.result()
        # Held between "may still be used" and the use: what was handed to the loop before it was
        # told to stop is cancelled by it, so that nobody waits for ever. Re-entrant, since the
        # garbage collector may close a forgotten exchange, or the owner, while we hold it.
        self._lock = threading.RLock()
        self._stopped = False

    @property
    def value(self) -> T:
        """What the context manager gave; to be used in the loop alone."""
        return self._running.value

    def run(self, work: Coroutine[object, object, Answer]) -> Answer:
        """Does ``work`` in the loop and waits for it; a Ctrl-C while waiting cancels it.

        Raises:
            LoopStopped: the loop was stopped, before or meanwhile.
            Exception: what the work raised.
        """
        future = self._submit(work)
        try:
            return _result(future)
        finally:
            future.cancel()

    def exchange(
        self,
        items: Iterable[Item],
        work: Callable[[AsyncIterator[Item]], AsyncGenerator[Answer, None]],
        *,
        in_flight: int,
    ) -> Generator[Answer, None, None]:
        """Streams items through ``work`` and gives its answers: one an item, in its order.

        ``items`` is read in the calling thread, so it may block, and only while fewer than
        ``in_flight`` items wait for their answers. An answer that is there is given before the next
        item but one is read. Closing the generator cancels the work.

        Raises:
            LoopStopped: the loop was stopped, before or meanwhile.
            Exception: what ``items`` or the work raised.
        """
        send, receive = open_channel[Item](in_flight)
        # Room for every answer that may come, and the end.
        answers: queue.Queue[Answer | _End] = queue.Queue(in_flight + 1)

        async def pump() -> None:
            with receive:
                async with aclosing(work(receive)) as stream:
                    async for answer in stream:
                        answers.put_nowait(answer)

        def offer(item: Item) -> None:
            # A stream that has failed takes no more; its error comes in place of an answer.
            with contextlib.suppress(ChannelError):
                send.send_nowait(item)

        future = self._submit(pump())
        future.add_done_callback(lambda _: answers.put_nowait(_END))
        waiting = 0
        try:
            for item in items:
                self._call(offer, item)
                waiting += 1
                while waiting == in_flight or (waiting and not answers.empty()):
                    yield _answer(answers, future)
                    waiting -= 1
            self._call(send.close)
            while waiting:
                yield _answer(answers, future)
                waiting -= 1
            _result(future)
        finally:
            future.cancel()
            with contextlib.suppress(LoopStopped):
                self._call(send.close)

    def stop(self) -> None:
        """Ends the loop and its thread and waits for that. Idempotent, from any thread."""
        with self._lock:
            if not self._stopped:
                self._stopped = True
                self._running.loop.call_soon_threadsafe(self._running.stop.set)
        # A finalizer may run in the loop's own thread, which can't wait for itself.
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def _submit(self, work: Coroutine[object, object, Answer]) -> Future[Answer]:
        with self._lock:
            if not self._stopped:
                return asyncio.run_coroutine_threadsafe(work, self._running.loop)
        work.close()
        raise LoopStopped

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        with self._lock:
            if self._stopped:
                raise LoopStopped
            self._running.loop.call_soon_threadsafe(function, *arguments)


class _End:
    """No more answers come."""


_END = _End()


def _answer(answers: queue.Queue[Answer | _End], future: Future[None]) -> Answer:
    answer = answers.get()
    if not isinstance(answer, _End):
        return answer
    _result(future)
    raise RuntimeError("the stream ended before every item was answered")


def _result(future: Future[Answer]) -> Answer:
    try:
        return future.result()
    except CancelledError:
        raise LoopStopped from None


def _serve(opened: AbstractAsyncContextManager[T], ready: Future[_Running[T]]) -> None:
    async def serve() -> None:
        stop = asyncio.Event()
        async with opened as value:
            ready.set_result(_Running(asyncio.get_running_loop(), stop, value))
            await stop.wait()

    try:
        # Leaving cancels every task that is left and waits for them.
        asyncio.run(serve())
    except BaseException as error:
        if ready.done():
            raise
        ready.set_exception(error)
