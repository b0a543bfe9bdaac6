from __future__ import annotations

import asyncio

import pytest

from simcloud.concurrency.unbroken import Unbroken


async def test_the_result_is_the_works() -> None:
    async def work() -> int:
        return 7

    begun = Unbroken(work())
    assert await begun.result() == 7
    assert await begun.ended(within_s=0) is None


async def test_a_waiter_that_is_cancelled_breaks_nothing_off() -> None:
    gate, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await gate.wait()
        done.set()

    begun = Unbroken(work())
    waiter = asyncio.create_task(begun.result())
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    gate.set()
    assert await begun.ended(within_s=60) is None
    assert done.is_set()


async def test_what_it_raised_is_told_though_nobody_waited() -> None:
    async def work() -> None:
        raise ValueError("no")

    begun = Unbroken(work())
    assert isinstance(await begun.ended(within_s=60), ValueError)
    with pytest.raises(ValueError, match="no"):
        await begun.result()


async def test_work_that_does_not_end_in_time_is_broken_off() -> None:
    broken: list[bool] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            broken.append(True)
            raise

    begun = Unbroken(work())
    await asyncio.sleep(0)
    assert isinstance(await begun.ended(within_s=0), asyncio.CancelledError)
    assert broken == [True]
