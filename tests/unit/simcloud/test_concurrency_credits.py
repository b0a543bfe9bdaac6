from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simcloud.concurrency import ChannelClosed, CreditExceeded, CreditWindow


async def _steps(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_grants_add_up_to_totals() -> None:
    window = CreditWindow()
    assert window.grant(5) == 5
    assert window.grant(0) == 5
    assert window.grant(3) == 8
    with pytest.raises(ValueError, match="never taken back"):
        window.grant(-1)


def test_more_than_granted_is_the_other_sides_error() -> None:
    window = CreditWindow()
    window.grant(5)
    window.charge(5)
    with pytest.raises(CreditExceeded, match="6 sent in total, 5 granted"):
        window.charge(1)
    assert window.available == 0


async def test_taking_waits_for_the_total_and_old_totals_change_nothing() -> None:
    window = CreditWindow()
    window.update(4)
    window.update(2)
    await window.take(3)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(window.take(3))
        await _steps()
        assert not waiting.done()
        assert window.waiting == 1
        window.update(6)
    assert (window.used, window.available) == (6, 0)


async def test_takers_are_served_in_order() -> None:
    window = CreditWindow()
    order: list[str] = []

    async def take(name: str, amount: int) -> None:
        await window.take(amount)
        order.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(take("large", 5))
        await _steps()
        group.create_task(take("small", 1))
        await _steps()
        window.update(3)
        await _steps()
        assert order == []
        window.update(6)
    assert order == ["large", "small"]


async def test_closing_wakes_those_who_wait() -> None:
    window = CreditWindow()
    waiting = asyncio.ensure_future(window.take(1))
    await _steps()
    window.close()
    with pytest.raises(ChannelClosed):
        await waiting
    with pytest.raises(ChannelClosed):
        await window.take(0)


async def test_restart_counts_from_zero_again() -> None:
    window = CreditWindow(2)
    await window.take(2)
    waiting = asyncio.ensure_future(window.take(3))
    await _steps()
    window.restart()
    assert (window.used, window.granted) == (0, 0)
    window.update(3)
    await waiting
    assert window.available == 0


@settings(max_examples=200, deadline=None)
@given(
    acts=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(-1, 6)), min_size=1, max_size=10
    ),
    grants=st.lists(st.integers(0, 6), max_size=6),
)
def test_credit_taken_is_credit_granted_whoever_is_cancelled_when(
    acts: list[tuple[int, int, int]], grants: list[int]
) -> None:
    asyncio.run(_play(acts, grants))


async def _play(acts: list[tuple[int, int, int]], grants: list[int]) -> None:
    window = CreditWindow()
    taken = 0

    async def act(amount: int, after: int) -> None:
        nonlocal taken
        await _steps(after)
        await window.take(amount)
        taken += amount

    tasks = [asyncio.ensure_future(act(amount, after)) for amount, after, _ in acts]
    total = 0
    for turn in range(8):
        if turn < len(grants):
            total += grants[turn]
            window.update(total)
        for task, (_, _, cancel_at) in zip(tasks, acts, strict=True):
            if cancel_at == turn:
                task.cancel()
        await asyncio.sleep(0)
        assert window.used <= window.granted
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert window.used == taken <= window.granted
    assert window.waiting == 0
