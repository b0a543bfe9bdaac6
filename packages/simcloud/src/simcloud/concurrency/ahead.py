"""Doing work ahead of who takes its results, in order, within two limits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


async def run_ahead(
    items: Sequence[ItemT],
    call: Callable[[ItemT], Awaitable[ResultT]],
    *,
    cost: Callable[[ItemT], int],
    budget: int,
    limit: int,
) -> AsyncGenerator[ResultT, None]:
    """Results in the order of the items, while later ones are being worked on.

    An error is raised in its item's turn. Leaving the iteration (``aclose``) cancels what is in
    flight and waits for its end. A task group can't do this: its scope would be open across every
    ``yield``, and a cancel of one would strike whoever iterates.

    Args:
        items: work, in order.
        call: does one.
        cost: what an item takes of the budget until its result has been taken.
        budget: an item starts only when the sum stays within it; one alone always starts.
        limit: items in flight or waiting to be taken, 1 or more.
    """
    pending: deque[tuple[int, asyncio.Future[ResultT]]] = deque()
    held = following = 0
    try:
        while pending or following < len(items):
            while following < len(items) and (
                not pending or (len(pending) < limit and held + cost(items[following]) <= budget)
            ):
                item = items[following]
                following += 1
                held += cost(item)
                pending.append((cost(item), asyncio.ensure_future(call(item))))
            size, task = pending[0]
            result = await task
            yield result
            pending.popleft()
            held -= size
    finally:
        for _, task in pending:
            task.cancel()
        if pending:
            await asyncio.wait([task for _, task in pending])
            for _, task in pending:
                if not task.cancelled():
                    task.exception()  # looked at, so that it is not reported as lost
