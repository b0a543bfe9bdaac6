"""A race between two attempts: who wins, who is cancelled, and what a cancel from outside does."""

from __future__ import annotations

import asyncio

import pytest

from simcloud.concurrency.retry import RetryBudget
from simcloud.errors import NotReady
from simcloud_inference_router.background import Background, open_background
from simcloud_inference_router.model_options import HedgeOptions
from simcloud_inference_router.routing.hedging import Hedging, Outcome, Race
from simcloud_inference_router.targets.base import Failure, TargetAnswer
from support.clock import ManualClock
from support.roster import settle

FIRST = TargetAnswer(b"first", "")
SECOND = TargetAnswer(b"second", "")
FAILED = Failure(NotReady("down"))


class Attempt:
    """One that ends when the test says so."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = False
        self.outcome: asyncio.Future[Outcome | None] = asyncio.get_running_loop().create_future()

    async def run(self) -> Outcome | None:
        self.begun.set()
        try:
            return await self.outcome
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    async def run_first(self) -> Outcome:
        found = await self.run()
        assert found is not None
        return found


class Running:
    """A race that has begun."""

    def __init__(self, background: Background, *, delay_s: float = 0.0) -> None:
        self.first, self.second = Attempt(), Attempt()
        self.race = Race(self.second.run, background=background)
        self.task = asyncio.ensure_future(self.race.run(self.first.run_first(), delay_s=delay_s))

    async def until_both_run(self) -> None:
        await self.second.begun.wait()


async def test_a_first_that_is_in_time_makes_no_second() -> None:
    async with open_background() as background:
        running = Running(background, delay_s=60)
        await settle()
        running.first.outcome.set_result(FIRST)
        assert await running.task is FIRST
        assert (len(background), running.second.begun.is_set()) == (0, False)


async def test_the_second_wins_and_the_first_is_cancelled() -> None:
    async with open_background() as background:
        running = Running(background)
        await running.until_both_run()
        running.second.outcome.set_result(SECOND)
        assert await running.task is SECOND
        assert running.first.cancelled
        assert running.race.won
        assert running.task.cancelling() == 0


async def test_the_first_wins_and_the_second_is_cancelled() -> None:
    async with open_background() as background:
        running = Running(background)
        await running.until_both_run()
        running.first.outcome.set_result(FIRST)
        assert await running.task is FIRST
        await settle()
        assert running.second.cancelled
        assert not running.race.won


@pytest.mark.parametrize("first_ends_first", [False, True])
async def test_both_in_one_turn_of_the_loop_is_one_answer_and_no_stray_cancel(
    first_ends_first: bool,
) -> None:
    async with open_background() as background:
        running = Running(background)
        await running.until_both_run()

        async def afterwards() -> Outcome:
            outcome = await running.task
            # A cancel that came too late would strike here.
            await settle()
            return outcome

        task = asyncio.ensure_future(afterwards())
        ends = [(running.first, FIRST), (running.second, SECOND)]
        for attempt, outcome in ends if first_ends_first else reversed(ends):
            attempt.outcome.set_result(outcome)
        assert await task in {FIRST, SECOND}
        assert running.task.cancelling() == 0


async def test_a_first_that_fails_waits_for_the_second() -> None:
    async with open_background() as background:
        for second, expected in ((SECOND, SECOND), (FAILED, FAILED), (None, FAILED)):
            running = Running(background)
            await running.until_both_run()
            running.first.outcome.set_result(FAILED)
            await settle()
            assert not running.task.done()
            running.second.outcome.set_result(second)
            assert await running.task is expected
            assert running.race.won is (second is SECOND)


async def test_a_second_that_fails_leaves_the_first_alone() -> None:
    async with open_background() as background:
        for second in (FAILED, None):
            running = Running(background)
            await running.until_both_run()
            running.second.outcome.set_result(second)
            await settle()
            running.first.outcome.set_result(FIRST)
            assert await running.task is FIRST


@pytest.mark.parametrize("first_failed", [False, True])
async def test_a_caller_that_goes_takes_both_along(first_failed: bool) -> None:
    async with open_background() as background:
        running = Running(background)
        await running.until_both_run()
        if first_failed:
            running.first.outcome.set_result(FAILED)
            await settle()
        running.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running.task
        await settle()
        assert running.second.cancelled
        assert running.first.cancelled is not first_failed
        assert len(background) == 0


async def test_a_cancel_from_outside_is_no_win_even_when_the_second_has_answered() -> None:
    async with open_background() as background:
        running = Running(background)
        await running.until_both_run()
        running.second.outcome.set_result(SECOND)
        running.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running.task


async def test_a_timeout_around_a_race_still_works() -> None:
    async with open_background() as background:
        second = Attempt()
        race = Race(second.run, background=background)

        async def race_until_the_second_runs() -> None:
            async with asyncio.timeout(None) as patience, asyncio.TaskGroup() as tasks:

                async def time_is_up() -> None:
                    await second.begun.wait()
                    patience.reschedule(asyncio.get_running_loop().time())

                tasks.create_task(time_is_up())
                await race.run(Attempt().run_first(), delay_s=0.0)

        with pytest.raises(TimeoutError):
            await race_until_the_second_runs()
        await settle()
        assert second.cancelled


def test_seconds_are_paid_from_the_budget_and_bounded_by_their_share() -> None:
    clock = ManualClock()
    retries = RetryBudget(clock, ratio=1.0, floor_per_s=0.0)
    options = HedgeOptions(max_share=0.05, minimum_samples=10)
    hedging = Hedging(options, retries=retries, clock=clock)
    assert hedging.delay_s is None
    for number in range(100):
        hedging.record_request()
        retries.record_request()
        hedging.observe(number / 100)
    assert hedging.delay_s == 0.94
    assert [hedging.try_spend() for _ in range(7)] == [True] * 5 + [False] * 2
    assert retries.balance == 95


def test_no_second_is_paid_for_once_the_budget_is_spent() -> None:
    clock = ManualClock()
    retries = RetryBudget(clock, ratio=0.0, floor_per_s=0.0)
    hedging = Hedging(HedgeOptions(max_share=0.5), retries=retries, clock=clock)
    for _ in range(100):
        hedging.record_request()
    assert not hedging.try_spend()
