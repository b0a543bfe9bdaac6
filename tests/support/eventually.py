"""Waiting on conditions, in place of sleeping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, overload

T = TypeVar("T")

_STEP_S = 0.01


@overload
async def eventually(
    condition: Callable[[], Awaitable[T]], *, within_s: float = 30.0, what: str = ""
) -> T: ...


@overload
async def eventually(
    condition: Callable[[], T], *, within_s: float = 30.0, what: str = ""
) -> T: ...


async def eventually(
    condition: Callable[[], object], *, within_s: float = 30.0, what: str = ""
) -> object:
    """Asks again and again until the answer is true; returns it.

    Args:
        condition: asked every 10 ms; an ``AssertionError`` counts as no.
        within_s: how long to ask, seconds.
        what: the condition in words, for the failure.

    Raises:
        AssertionError: it did not become true in time; says what the last answer was.
    """
    deadline = time.monotonic() + within_s
    while True:
        last: object = None
        try:
            answer = condition()
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                return answer
            last = answer
        except AssertionError as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or 'condition'} not met in {within_s:g} s: {last!r}")
        await asyncio.sleep(_STEP_S)


def eventually_sync(condition: Callable[[], T], *, within_s: float = 30.0, what: str = "") -> T:
    """``eventually`` for tests without an event loop."""
    return asyncio.run(eventually(condition, within_s=within_s, what=what))
