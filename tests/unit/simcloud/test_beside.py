"""Work beside who takes what it gives: its errors, its end, and who waits for it."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from simcloud.concurrency import ReceiveEnd, SendEnd, open_channel
from simcloud.concurrency.beside import run_beside


class Counting:
    """Work that counts, then ends as it was told."""

    def __init__(self, numbers: int, *, error: Exception | None = None) -> None:
        ends: tuple[SendEnd[int], ReceiveEnd[int]] = open_channel(1)
        self.send, self.receive = ends
        self.numbers = numbers
        self.error = error
        self.task: asyncio.Task[None] | None = None
        self.leaving = asyncio.Event()
        self.may_leave = asyncio.Event()
        self.may_leave.set()
        self.left = False

    async def work(self) -> None:
        self.task = asyncio.current_task()
        try:
            with self.send:
                for number in range(self.numbers):
                    await self.send.send(number)
                if self.error is not None:
                    raise self.error
        finally:
            self.leaving.set()
            await self.may_leave.wait()
            self.left = True


async def test_items_come_in_order_and_the_error_after_the_last() -> None:
    counting = Counting(4, error=ValueError("after four"))
    seen: list[int] = []

    async def take() -> None:
        async with aclosing(run_beside(counting.work, counting.receive)) as numbers:
            async for number in numbers:
                seen.append(number)

    with pytest.raises(ValueError, match="after four"):
        await take()
    assert seen == [0, 1, 2, 3]


async def test_work_that_was_cancelled_has_merely_ended() -> None:
    counting = Counting(9)
    seen: list[int] = []
    async with aclosing(run_beside(counting.work, counting.receive)) as numbers:
        async for number in numbers:
            seen.append(number)
            assert counting.task is not None
            counting.task.cancel()
    assert seen[0] == 0
    assert len(seen) < 9
    assert counting.left


async def test_leaving_waits_for_the_work_s_end_whatever_strikes_who_waits() -> None:
    counting = Counting(9)
    counting.may_leave.clear()
    numbers = run_beside(counting.work, counting.receive)

    async def leave() -> None:
        assert await anext(numbers) == 0
        await numbers.aclose()

    leaver = asyncio.create_task(leave())
    await counting.leaving.wait()
    leaver.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not leaver.done()
    counting.may_leave.set()
    with pytest.raises(asyncio.CancelledError):
        await leaver
    assert counting.left


async def test_an_error_of_the_work_that_a_cancel_hides_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    begun, leaving, may_leave = asyncio.Event(), asyncio.Event(), asyncio.Event()
    ends: tuple[SendEnd[int], ReceiveEnd[int]] = open_channel(0)

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            leaving.set()
            await may_leave.wait()
            raise ValueError("of its end")

    async def take() -> None:
        async with aclosing(run_beside(work, ends[1])) as numbers:
            await anext(numbers)

    taker = asyncio.create_task(take())
    await begun.wait()
    taker.cancel()
    await leaving.wait()
    taker.cancel()
    await asyncio.sleep(0)
    may_leave.set()
    with pytest.raises(asyncio.CancelledError):
        await taker
    (line,) = caplog.records
    assert line.message == "a cancel hides what failed"
    assert line.exc_info is not None
    assert str(line.exc_info[1]) == "of its end"


async def test_what_is_not_begun_is_left_without_a_trace() -> None:
    counting = Counting(9)
    await run_beside(counting.work, counting.receive).aclose()
    assert counting.task is None
