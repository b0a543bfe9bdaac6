"""Telling what goes on in a process that it stops."""

from __future__ import annotations

import asyncio


class Drain:
    """Ends work that would go on for as long as there is more, once for the whole process."""

    def __init__(self) -> None:
        self._begun = False
        self._watched: set[asyncio.Task[None]] = set()

    @property
    def begun(self) -> bool:
        """Whether nothing new is to be begun."""
        return self._begun

    async def begin(self) -> None:
        """Cancels every watched task; what each has taken on, it says itself. Idempotent."""
        self._begun = True
        for task in tuple(self._watched):
            task.cancel()

    def watch(self, task: asyncio.Task[None]) -> None:
        """Puts a task under this drain; one that has begun cancels it at once."""
        self._watched.add(task)
        task.add_done_callback(self._watched.discard)
        if self._begun:
            task.cancel()
