"""A background activity as one async context manager, and how groups of tasks fail."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self

from simcloud.concurrency.channel import ChannelError

# The standard library's, as asyncio's own: structlog takes longer to import than all of this, and
# prints to standard output where nobody has configured it. Services write both alike.
_log = logging.getLogger(__name__)


class BackgroundService(ABC):
    """Something that runs beside the requests: a sweeper, a poller, a pool.

    ``async with service:`` means: entered = ``run`` called ``started``; left normally = drained,
    then stopped; left by an error or a cancel = stopped. When ``run`` fails, the task that entered
    the block is cancelled and the block raises the failure in an ``ExceptionGroup``: a service that
    has died never goes unnoticed. ``stop`` is idempotent and may be called before the start.
    """

    def __init__(self) -> None:
        self._group: asyncio.TaskGroup | None = None
        self._task: asyncio.Task[None] | None = None
        self._started = asyncio.Event()
        self._stopping = False

    @abstractmethod
    async def run(self) -> None:
        """Does the work until it is cancelled, or until there is no more.

        Calls ``started`` once as soon as others may rely on it.
        """

    async def drain(self) -> None:  # noqa: B027 - most services have nothing to finish
        """Finishes what has begun; called once before ``stop`` when the block is left normally."""

    def started(self) -> None:
        """Called by ``run`` when the service is ready; lets ``async with`` go on."""
        self._started.set()

    def stop(self) -> None:
        """Cancels ``run``. Idempotent; before the start it makes the start do nothing."""
        self._stopping = True
        if self._task is not None:
            self._task.cancel()

    async def __aenter__(self) -> Self:
        if self._group is not None:
            raise RuntimeError(f"{type(self).__name__} is started once; make another one")
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        if self._stopping:
            return self
        self._task = self._group.create_task(self._run(), name=type(self).__name__)
        try:
            await self._started.wait()
        except BaseException as error:
            # The group raises what ``run`` failed with in place of our cancel.
            await self._group.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._group is not None
        try:
            if exc is None and not self._stopping:
                await self.drain()
        finally:
            self.stop()
            await self._group.__aexit__(exc_type, exc, traceback)

    async def _run(self) -> None:
        try:
            await self.run()
        except Exception:
            # The group cancels whoever waits for the start, and raises this in its place.
            raise
        except BaseException:
            self._started.set()
            raise
        # Whoever waits for a service that has ended before it started must not wait for ever.
        self._started.set()


async def run_cleanup(work: Awaitable[None], *, deadline_s: float) -> None:
    """Awaits ``work`` in a ``finally``, at most ``deadline_s`` seconds, whatever becomes of us.

    A second cancel does not interrupt ``work``; it is raised afterwards, from what ``work`` failed
    with if it did.

    Raises:
        TimeoutError: ``work`` did not end in time and was cancelled.
    """
    task = asyncio.ensure_future(_within(work, deadline_s))
    await until_ended(task)
    task.result()


async def until_ended(future: asyncio.Future[Any]) -> None:
    """Waits for a future's end, however often the wait is cancelled.

    A cancel is raised afterwards, from what the future failed with if it did.
    """
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled from None if future.cancelled() else future.exception()


async def _within(work: Awaitable[None], deadline_s: float) -> None:
    async with asyncio.timeout(deadline_s):
        await work


def leaves(error: BaseException) -> list[BaseException]:
    """The errors in an ``ExceptionGroup`` at any depth, in order; one error is its own leaf."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for member in error.exceptions for leaf in leaves(member)]
    return [error]


def log_hidden(error: BaseException) -> None:
    """Logs what failed where a cancel goes on in its place, for the one who lets the cancel go on.

    Nothing where it is only a channel whose other end has gone: that is how a cancel looks there.
    """
    if not all(isinstance(leaf, ChannelError) for leaf in leaves(error)):
        _log.warning("a cancel hides what failed", exc_info=error)


class OneOperation(asyncio.TaskGroup):
    """A TaskGroup whose tasks are one operation to the caller, who may go on after its failure.

    The failure that ended it is raised as it is, from the ``ExceptionGroup`` with its consequences.
    A cancel of the caller is never lost: where one came before all tasks had ended,
    ``CancelledError`` is raised, from what else failed, which is logged: who cancels doesn't look
    at it. CPython's group raises its tasks' errors in
    place of a cancel that comes while it ends, and until 3.13 forgets to take back its own cancel
    of the caller when a task fails after the body's end (``TaskGroup.__aexit__``): its caller can't
    tell the one from the other by ``Task.cancelling()``. Here it can, and all versions do alike.
    A plain group within the body has to be one of these too: until 3.13 its own cancel, which it
    forgot, is taken for one of the caller's.
    """

    async def __aenter__(self) -> Self:
        self._cancels = _cancels()
        return await super().__aenter__()

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc is None:
            exc = await self._ended()
        try:
            await super().__aexit__(type(exc) if exc is not None else None, exc, traceback)
        except BaseExceptionGroup as group:
            if _cancels():
                # Since 3.13 such a cancel, be it one of long before, comes again at the next await:
                # at this one, and not at one of the caller's clean-up.
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(0)
            if _cancels() > self._cancels:
                log_hidden(group)
                raise asyncio.CancelledError from group
            raise leaves(group)[0] from group

    async def _ended(self) -> asyncio.CancelledError | None:
        """Waits for the tasks as a part of the body; what cancelled that, the group or another."""
        try:
            while self._tasks:
                await asyncio.wait(self._tasks)
        except asyncio.CancelledError as cancelled:
            return cancelled
        return None


def _cancels() -> int:
    """How often the running task was asked to end."""
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()


@asynccontextmanager
async def single_error() -> AsyncIterator[None]:
    """Lets the first error of an ``ExceptionGroup`` out in its place.

    For where groups of others end in a process or a test. A cancel that came with the error is lost
    where the group lost it: who goes on after the error makes the group a ``OneOperation``.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        raise leaves(group)[0] from group
