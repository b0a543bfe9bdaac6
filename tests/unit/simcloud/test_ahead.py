"""Work ahead of its taker: in order, within its limits, and gone when nobody takes it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simcloud.concurrency.ahead import run_ahead


@given(
    st.lists(st.integers(1, 9), max_size=30), st.integers(1, 20), st.integers(1, 5), st.randoms()
)
@settings(deadline=None)
def test_results_come_in_order_and_the_limits_hold_whatever_ends_first(
    costs: list[int], budget: int, limit: int, random: object
) -> None:
    items = list(enumerate(costs))
    running: set[int] = set()
    taken: list[int] = []

    async def call(item: tuple[int, int]) -> int:
        running.add(item[0])
        held = [costs[number] for number in running if number >= len(taken)]
        assert len(held) <= limit
        assert sum(held) <= budget or len(held) == 1
        for _ in range(item[1] % 4):
            await asyncio.sleep(0)
        return item[0]

    async def take() -> None:
        results = run_ahead(items, call, cost=lambda item: item[1], budget=budget, limit=limit)
        async with aclosing(results):
            async for number in results:
                taken.append(number)

    asyncio.run(take())
    assert taken == list(range(len(costs)))


async def test_an_error_comes_in_its_turn_and_what_was_ahead_of_it_is_cancelled() -> None:
    cancelled: list[int] = []

    async def call(item: int) -> int:
        if item == 2:
            raise ValueError("the third")
        if item > 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(item)
                raise
        return item

    seen: list[int] = []
    results = run_ahead(range(9), call, cost=lambda _: 1, budget=99, limit=4)

    async def take() -> None:
        async with aclosing(results):
            async for item in results:
                seen.append(item)

    with pytest.raises(ValueError, match="the third"):
        await take()
    assert seen == [0, 1]
    # Those that had begun; the others never do.
    assert 3 in cancelled
    assert set(cancelled) <= {3, 4, 5}


async def test_leaving_early_cancels_what_is_in_flight_and_waits_for_its_end() -> None:
    ended = 0

    async def call(item: int) -> int:
        nonlocal ended
        if item:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended += 1
        return item

    results = run_ahead(range(5), call, cost=lambda _: 1, budget=99, limit=3)
    async with aclosing(results):
        assert await anext(results) == 0
        await asyncio.sleep(0)
    assert ended == 2
