"""Taking what some work gives, while it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, TypeVar

from simcloud.concurrency.channel import ReceiveEnd
from simcloud.concurrency.service import log_hidden, until_ended

ItemT = TypeVar("ItemT")


async def run_beside(
    work: Callable[[], Coroutine[Any, Any, None]], items: ReceiveEnd[ItemT]
) -> AsyncGenerator[ItemT, None]:
    """Items of a channel, while ``work`` puts them in; the work closes its end of the channel.

    The work's error is raised after the last item, or when the iteration is left before; work that
    someone else cancelled has merely ended. Leaving the iteration (``aclose``) closes the channel,
    cancels the work and waits for its end, however often the wait is cancelled: a cancel is then
    raised in place of the work's error, which is logged. A task group can't do this: its scope
    would be open across every ``yield``, so that an error of the work would cancel whoever
    iterates, and leaving would be an error of the group.

    Args:
        work: begun with the iteration, in a task of its own.
        items: what the work sends; closed with the iteration.
    """
    task = asyncio.ensure_future(work())
    try:
        async for item in items:
            yield item
        await asyncio.wait([task])
    finally:
        items.close()
        task.cancel()
        try:
            await until_ended(task)
        except asyncio.CancelledError as cancelled:
            if cancelled.__cause__ is not None:
                log_hidden(cancelled.__cause__)
            raise
        if not task.cancelled():
            task.result()
