"""Credit of streams on one budget: never more than it holds, and nobody waits for ever."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcloud.concurrency import ByteBudget
from simcloud.errors import InvalidRequest
from simcloud_uploader.credit import StreamCredit

PART, FRAME = 100, 30
UNIT = PART + FRAME


async def admitted(budget: ByteBudget, extra: int = 2) -> StreamCredit:
    credit = StreamCredit(budget, part_size_bytes=PART, max_extra_parts=extra)
    credit.admit(await budget.acquire(UNIT))
    return credit


async def test_the_first_credit_is_a_part_and_a_frame() -> None:
    credit = await admitted(ByteBudget(1000))
    assert credit.granted == UNIT
    credit.charge(UNIT)
    with pytest.raises(InvalidRequest, match="131 payload bytes were sent and 130 granted"):
        credit.charge(1)
    credit.close()


async def test_a_stored_part_is_credit_again() -> None:
    budget = ByteBudget(UNIT)
    credit = await admitted(budget)
    credit.charge(120)
    assert credit.grow() == UNIT
    assert credit.free(110) == UNIT + 110
    credit.close()
    assert budget.in_use == 0


async def test_free_memory_is_lent_and_given_back_as_soon_as_somebody_waits() -> None:
    budget = ByteBudget(UNIT + 2 * PART)
    credit = await admitted(budget)
    assert credit.grow() == UNIT + PART
    assert credit.grow() == UNIT + 2 * PART
    assert credit.grow() == UNIT + 2 * PART
    credit.charge(UNIT + 2 * PART)
    async with asyncio.TaskGroup() as tasks:
        other = tasks.create_task(budget.acquire(UNIT))
        await asyncio.sleep(0)
        assert budget.waiting == 1
        assert credit.free(110) == UNIT + 2 * PART
        assert credit.free(110) == UNIT + 2 * PART + 20
        await other
    assert credit.leased == UNIT
    credit.close()
    other.result().release()
    assert budget.in_use == 0
    assert budget.peak <= budget.limit


async def test_parts_of_less_payload_than_their_size_give_memory_back_too() -> None:
    """Small frames: a part of 100 bytes holds 60 of payload, the rest are tar headers."""
    budget = ByteBudget(UNIT + 2 * PART)
    credit = await admitted(budget)
    credit.grow()
    credit.grow()
    async with asyncio.TaskGroup() as tasks:
        other = tasks.create_task(budget.acquire(UNIT))
        await asyncio.sleep(0)
        for _ in range(4):
            assert not other.done()
            credit.charge(60)
            credit.free(60)
            # What the base lease promises stays: a part and a frame.
            assert credit.granted - credit.received >= UNIT
        await other
    assert credit.leased == UNIT
    assert credit.grow() == credit.received + UNIT
    credit.close()
    other.result().release()
    assert budget.in_use == 0


async def test_after_a_restart_credit_counts_from_zero() -> None:
    credit = await admitted(ByteBudget(1000))
    credit.charge(100)
    credit.free(50)
    assert credit.restart() == UNIT
    assert credit.received == 0
    credit.close()


@given(steps=st.lists(st.integers(1, UNIT), max_size=60))
async def test_what_is_held_never_exceeds_what_is_leased(steps: list[int]) -> None:
    budget = ByteBudget(3 * UNIT)
    credit = await admitted(budget)
    held = 0
    for step in steps:
        room = credit.granted - credit.received
        sent = min(step, room)
        credit.charge(sent)
        held += sent
        assert held <= credit.leased <= budget.in_use
        if held >= PART:
            credit.grow()
            credit.free(PART)
            held -= PART
        # A part can always be filled: the client is never left without room for its next frame.
        assert credit.granted - credit.received >= 1 or held >= PART
    credit.close()
    assert budget.in_use == 0
