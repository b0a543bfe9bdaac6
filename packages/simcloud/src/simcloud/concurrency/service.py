"""A background activity as one async context manager, and how groups of tasks fail."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self


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

    A second cancel does not interrupt ``work``; it is raised afterwards.

    Raises:
        TimeoutError: ``work`` did not end in time and was cancelled.
    """
    task = asyncio.ensure_future(_within(work, deadline_s))
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
        except BaseException:
            break
    if cancelled is not None:
        if not task.cancelled() and task.exception() is not None:
            raise cancelled from task.exception()
        raise cancelled
    task.result()


async def _within(work: Awaitable[None], deadline_s: float) -> None:
    async with asyncio.timeout(deadline_s):
        await work


def leaves(error: BaseException) -> list[BaseException]:
    """The errors in an ``ExceptionGroup`` at any depth, in order; one error is its own leaf."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for member in error.exceptions for leaf in leaves(member)]
    return [error]


@asynccontextmanager
async def single_error() -> AsyncIterator[None]:
    """Lets the first error of a TaskGroup out in place of its ``ExceptionGroup``.

    For blocks whose tasks are one operation to the caller: the failure that ended the group is the
    first; the others are its consequences and stay in ``__context__``.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        raise leaves(group)[0] from group
