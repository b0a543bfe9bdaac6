"""Tasks beside the requests: second attempts, copies for shadows. They end with the router."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import Context

from simcloud.concurrency.service import OneOperation
from simcloud.telemetry.logging import get_logger

_log = get_logger(__name__)


class Background:
    """Runs tasks that no request waits for. Made by ``open_background``.

    How many there are is their makers' business: each has a limit. One that fails is logged and
    fails nothing else.
    """

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """Tasks that run."""
        return len(self._tasks)

    def start(
        self, work: Callable[[], Awaitable[None]], *, name: str, context: Context | None = None
    ) -> asyncio.Task[None]:
        """Starts a task; cancelling it is fine, also before its first step.

        Args:
            work: what it does.
            name: for the log.
            context: what it runs in, for no other task; None: a copy of the caller's.
        """
        task = self._group.create_task(_guarded(work, name), name=name, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def stop(self) -> None:
        """Cancels what still runs."""
        for task in tuple(self._tasks):
            task.cancel()


async def _guarded(work: Callable[[], Awaitable[None]], name: str) -> None:
    try:
        await work()
    except Exception:
        _log.exception("a task beside the requests failed", task=name)


@asynccontextmanager
async def open_background() -> AsyncIterator[Background]:
    """A place for such tasks; on exit they are cancelled and have ended."""
    async with OneOperation() as group:
        background = Background(group)
        try:
            yield background
        finally:
            background.stop()
