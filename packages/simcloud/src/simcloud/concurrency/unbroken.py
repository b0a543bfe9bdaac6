"""Work that goes on when whoever waits for it stops waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

ResultT = TypeVar("ResultT")


class Unbroken(Generic[ResultT]):
    """Begins work that a cancel of its waiter does not break off.

    For a request to another system that may be carried out although nobody waits for its answer any
    more: it can be taken back only once it has ended. Whoever begins one awaits ``ended`` in the
    end, in a clean-up (``run_cleanup``).

    Args:
        work: begun at once.
    """

    def __init__(self, work: Coroutine[Any, Any, ResultT]) -> None:
        self._task = asyncio.ensure_future(work)

    async def result(self) -> ResultT:
        """What the work gives or raises; a cancel ends the waiting alone."""
        return await asyncio.shield(self._task)

    async def ended(self, *, within_s: float) -> BaseException | None:
        """Waits for its end, and breaks it off after ``within_s`` seconds.

        Returns:
            What it raised; ``CancelledError`` when it was broken off. None: it succeeded.
        """
        await asyncio.wait([self._task], timeout=within_s)
        self._task.cancel()
        await asyncio.wait([self._task])
        return asyncio.CancelledError() if self._task.cancelled() else self._task.exception()
