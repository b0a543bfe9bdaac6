from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simcloud.concurrency import ByteBudget, ByteLease, budget_statistics


async def _steps(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_bytes_are_leased_and_given_back() -> None:
    budget = ByteBudget(10)
    async with budget.reserve(4) as lease:
        assert (lease.size, budget.in_use, budget.available) == (4, 4, 6)
    assert (budget.in_use, budget.peak, budget.limit) == (0, 4, 10)


async def test_releasing_twice_gives_back_once() -> None:
    budget = ByteBudget(10)
    first, _second = await budget.acquire(3), await budget.acquire(3)
    first.release()
    first.release()
    assert budget.in_use == 3


async def test_a_lease_shrinks_and_never_grows() -> None:
    budget = ByteBudget(10)
    with await budget.acquire(6) as lease:
        lease.shrink_to(2)
        assert (budget.in_use, lease.size) == (2, 2)
        with pytest.raises(ValueError, match="can't become"):
            lease.shrink_to(3)
    assert budget.in_use == 0


async def test_the_first_to_ask_is_the_first_served_even_if_it_asks_for_more() -> None:
    budget = ByteBudget(10)
    held = await budget.acquire(5)
    order: list[str] = []

    async def lease(name: str, size: int) -> None:
        async with budget.reserve(size):
            order.append(name)

    async with asyncio.TaskGroup() as group:
        group.create_task(lease("large", 8))
        await _steps()
        group.create_task(lease("small", 1))
        await _steps()
        assert order == []
        assert budget.waiting == 2
        assert budget.try_acquire(1) is None
        held.release()
    assert order == ["large", "small"]


async def test_a_large_one_that_gives_up_lets_small_ones_pass() -> None:
    budget = ByteBudget(10)
    held = await budget.acquire(5)
    large = asyncio.ensure_future(budget.acquire(8))
    await _steps()
    small = asyncio.ensure_future(budget.acquire(5))
    await _steps()
    large.cancel()
    (await small).release()
    held.release()
    assert budget.in_use == 0


async def test_a_lease_granted_to_a_cancelled_task_is_given_back() -> None:
    budget = ByteBudget(10)
    held = await budget.acquire(10)
    waiting = asyncio.ensure_future(budget.acquire(10))
    await _steps()
    held.release()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (budget.in_use, budget.waiting) == (0, 0)


@pytest.mark.parametrize("size", [-1, 11])
async def test_what_can_never_be_leased_is_refused_at_once(size: int) -> None:
    budget = ByteBudget(10, name="unit")
    with pytest.raises(ValueError, match="never be leased from the budget unit of 10 bytes"):
        await budget.acquire(size)


def test_an_empty_budget_is_refused() -> None:
    with pytest.raises(ValueError, match="1 or more"):
        ByteBudget(0)


def test_named_budgets_are_listed_while_someone_refers_to_them() -> None:
    budget = ByteBudget(10, name="listed")
    lease = budget.try_acquire(3)
    assert lease is not None
    figures = [each for each in budget_statistics() if each.name == "listed"]
    assert [(each.in_use, each.peak, each.limit) for each in figures] == [(3, 3, 10)]
    lease.release()


@settings(max_examples=300, deadline=None)
@given(
    limit=st.integers(1, 12),
    acts=st.lists(
        st.tuples(st.integers(0, 12), st.integers(0, 4), st.integers(0, 3), st.integers(-1, 8)),
        min_size=1,
        max_size=12,
    ),
)
def test_no_byte_leaks_and_the_limit_holds_whoever_is_cancelled_when(
    limit: int, acts: list[tuple[int, int, int, int]]
) -> None:
    asyncio.run(_play(limit, acts))


async def _play(limit: int, acts: list[tuple[int, int, int, int]]) -> None:
    budget = ByteBudget(limit)
    held = 0

    async def act(size: int, after: int, turns: int) -> None:
        nonlocal held
        await _steps(after)
        lease: ByteLease = await budget.acquire(min(size, limit))
        held += lease.size
        try:
            assert held <= limit
            await _steps(turns)
        finally:
            held -= lease.size
            lease.release()

    tasks = [asyncio.ensure_future(act(*each[:3])) for each in acts]
    for turn in range(10):
        for task, each in zip(tasks, acts, strict=True):
            if each[3] == turn:
                task.cancel()
        assert budget.in_use <= limit
        await asyncio.sleep(0)
    # Nobody waits for ever: without further cancels the rest comes to its end.
    _, pending = await asyncio.wait(tasks, timeout=5)
    assert not pending
    assert all(task.cancelled() or task.exception() is None for task in tasks)
    assert (budget.in_use, budget.waiting, held) == (0, 0, 0)
    assert budget.peak <= limit
