"""What becomes of failures: counts over thousands of requests to real servers on loopback."""

from __future__ import annotations

import asyncio
from math import sqrt

import pytest

from simcloud.errors import DeadlineExceeded, NotReady, PreconditionFailed, TargetError
from simcloud_inference_router.routing.latency import WINDOW
from simcloud_inference_router.routing.routed_target import State
from simcloud_inference_router.targets.base import NEW_SESSION
from support.clock import VirtualTime
from support.eventually import eventually
from support.fleet import BUSY, MANY, OK, Fleet, Step, fleet, four_sigma, within_4_sigma

SEED = 20260


async def test_what_one_target_fails_at_is_answered_by_another() -> None:
    async with fleet(["good", "bad"], seed=SEED, settings=BUSY) as running:
        draw = running.random.random
        running["bad"].step = lambda _: Step(503) if draw() < 0.1 else OK
        outcomes = await running.ask_many(MANY)
        assert outcomes.answered == MANY, outcomes.failed[:3]
        (good, bad) = running.model.targets
        assert bad.counts.failures == running.counts.retries == good.counts.retries
        assert running["good"].seen + running["bad"].seen == MANY + bad.counts.failures
        assert within_4_sigma(bad.counts.failures, 0.1, running["bad"].seen)


async def test_nobody_notices_a_target_that_is_gone() -> None:
    # Nobody may listen at port 1.
    targets = {"here": {}, "gone": {"url": "http://127.0.0.1:1"}}
    async with fleet(targets, seed=SEED, settings=BUSY) as running:
        running["here"].step = Step(delay_s=0.001)
        outcomes = await running.ask_many(MANY)
        assert outcomes.targets == {"here": MANY}
        (_, gone) = running.model.targets
        assert gone.state is State.EJECTED
        # Five in a row, and what was under way by then.
        assert 5 <= gone.counts.failures <= 5 + 16
        assert gone.counts.ejections == 1


async def test_an_ejected_target_comes_back_by_one_probe() -> None:
    time, out_s = VirtualTime(), 30.0
    outlier = {"base_ejection_s": out_s}
    async with fleet(
        ["a", "b"], seed=SEED, settings=BUSY, outlier=outlier, virtual=time
    ) as running:
        running["b"].step = Step(503)
        (a, b) = running.model.targets
        while b.state is State.OPEN:
            await running.ask_many(32, at_once=16)
        asked = running["b"].seen
        assert (await running.ask_many(MANY)).targets == {"a": MANY}
        # Its time is over: one request sees whether it is back, and it is not, for twice as long.
        time.advance(out_s)
        assert (await running.ask_many(32, at_once=16)).targets == {"a": 32}
        assert (b.counts.probes, running["b"].seen) == (1, asked + 1)
        assert (b.state, b.counts.ejections) == (State.EJECTED, 2)
        time.advance(2 * out_s - 1)
        running["b"].step = OK
        assert (await running.ask_many(32, at_once=16)).targets == {"a": 32}
        time.advance(1)
        assert (await running.ask_many(1)).targets == {"b": 1}
        assert (b.state, b.counts.probes) == (State.OPEN, 2)
        for member in running.members.values():
            member.step = Step(delay_s=0.005)
        outcomes = await running.ask_many_in_virtual_time(MANY, at_once=16)
        assert within_4_sigma(outcomes.targets["b"], 0.5, MANY), outcomes.targets
        assert a.counts.ejections == 0


async def test_an_only_target_is_never_ejected_and_not_even_the_last_of_several() -> None:
    # In a time that stands still, in which an ejection is never over.
    async with fleet(["a", "b"], seed=SEED, settings=BUSY, virtual=VirtualTime()) as running:
        for member in running.members.values():
            member.step = Step(500)
        outcomes = await running.ask_many(MANY)
        assert len(outcomes.failed) == MANY
        states = {target.name: target.state for target in running.model.targets}
        assert sorted(states.values()) == [State.EJECTED, State.OPEN]
        (out,) = (name for name, state in states.items() if state is State.EJECTED)
        # Five in a row, and what was under way by then.
        assert 5 <= running[out].seen <= 5 + 16
        assert running["a"].seen + running["b"].seen == MANY
        assert not any(each.ready for each in running.model.snapshot())


async def test_a_clients_wrong_requests_eject_nobody() -> None:
    async with fleet(["a", "b"], seed=SEED, settings=BUSY) as running:
        for member in running.members.values():
            member.step = Step(400)
        outcomes = await running.ask_many(MANY)
        assert {error.reason for error in outcomes.failed} == {"INVALID_REQUEST"}
        assert running["a"].seen + running["b"].seen == MANY, "none was sent twice"
        assert all(each.state is State.OPEN and each.ready for each in running.model.snapshot())


async def test_retries_end_with_the_budget_and_that_is_counted() -> None:
    settings = {**BUSY, "retry": {"ratio": 0.2, "floor_per_s": 0.0}}
    # In a time that stands still: all of it is within the budget's ten seconds.
    async with fleet(
        ["a", "b"],
        seed=SEED,
        settings=settings,
        outlier={"max_ejected": 0},
        virtual=VirtualTime(),
    ) as running:
        for member in running.members.values():
            member.step = Step(503)
        outcomes = await running.ask_many(MANY)
        assert len(outcomes.failed) == MANY
        retries = MANY // 5
        assert (running.counts.retries, running.counts.budget_exhausted) == (
            retries,
            MANY - retries,
        )
        assert running["a"].seen + running["b"].seen == MANY + retries


async def test_a_timeout_is_not_sent_to_another_target() -> None:
    async with fleet(["a", "b"], seed=SEED) as running:
        for member in running.members.values():
            member.step = Step(hold=True)

        def seen() -> int:
            return running["a"].seen + running["b"].seen

        asked = 0
        while not seen():
            # Again when a busy machine took all of the time before anything was sent.
            asked += 1
            with pytest.raises(DeadlineExceeded):
                await running.ask(within_s=0.5)
        assert seen() <= asked
        await eventually(lambda: running["a"].disconnected + running["b"].disconnected == seen())
        assert all(each.ready for each in running.model.snapshot())


async def test_late_is_what_takes_longer_than_95_of_100() -> None:
    """Times from 100 to 1,000 seconds of the fleet's own, so that no second attempt is really sent.

    What is late is told by the latest 256 times. So of n requests 5 % are late, with the spread of
    the draws, n p q, and as much again for that of the quantile: n / 256 windows, in each of which
    256 requests are off together by p q / 256.
    """
    hedge = {"percentile": 95}
    async with fleet(
        ["a", "b"], seed=SEED, settings=BUSY, hedge=hedge, virtual=VirtualTime()
    ) as running:
        hedging, draw = running.model.hedging, running.random.random
        assert hedging is not None
        times: list[float] = []
        late: list[bool] = []

        def step(_number: int) -> Step:
            takes_s = 100 + 900 * draw()
            if len(times) >= WINDOW:
                assert hedging.delay_s is not None
                late.append(takes_s > hedging.delay_s)
            times.append(takes_s)
            return Step(delay_s=takes_s)

        for member in running.members.values():
            member.step = step
        await running.ask_many_in_virtual_time(MANY + WINDOW, at_once=1)
        assert len(late) == MANY
        assert abs(sum(late) - 0.05 * MANY) <= sqrt(2) * four_sigma(0.05, MANY)
        delay_s = hedging.delay_s
        assert delay_s is not None
        longer = sum(takes_s > delay_s for takes_s in times[-WINDOW:])
        assert 0.04 < longer / WINDOW < 0.06
        assert running.counts.hedges == 0


async def test_a_late_request_is_sent_a_second_time_within_its_share() -> None:
    hedge = {"percentile": 95, "max_share": 0.05}
    async with fleet(["a", "b"], seed=SEED, settings=BUSY, hedge=hedge) as running:
        draw = running.random.random
        late = Step(hold=True)
        quick = Step(delay_s=0.002)
        for member in running.members.values():
            member.step = quick
        await running.ask_many(200)
        for member in running.members.values():
            # Never answered: whoever gets its answer has it from the second attempt.
            member.step = lambda _: late if draw() < 0.01 else quick
        tasks = [asyncio.ensure_future(running.ask_many(MANY - 200))]
        # Those that may have no second attempt, since the share is spent, are let go at the end.
        await eventually(lambda: running.counts.requests + _held(running) >= MANY, within_s=60)
        for member in running.members.values():
            member.release()
        outcomes = await tasks[0]
        assert outcomes.answered == MANY - 200
        hedges = running.counts.hedges
        assert 0 < hedges <= 0.05 * MANY
        # One that was no longer needed before it was sent is not seen.
        assert MANY < running["a"].seen + running["b"].seen <= MANY + hedges
        won = running.counts.hedges_won
        assert won >= 1
        # The loser's connection is closed; one that had answered in the same moment is not.
        lost = running["a"].disconnected + running["b"].disconnected
        assert 1 <= lost <= hedges
        assert running.counts.retries == 0
        running.assert_idle()


def _held(running: Fleet) -> int:
    return sum(len(member._held) for member in running.members.values())


NO_CAPACITY = Step(400, b'{"__type": "ValidationError", "Message": "It has no capacity now"}')


async def test_while_a_target_is_scaled_to_zero_one_probe_at_a_time_goes_through() -> None:
    endpoint = {"kind": "sagemaker", "endpoint": "det"}
    cold_start = {"max_wait_s": 30, "probe_every_s": 0.02}
    async with fleet({"det": endpoint}, seed=SEED, cold_start=cold_start) as running:
        member = running["det"]
        member.step = lambda number: NO_CAPACITY if number < 12 else OK
        outcomes = await running.ask_many(MANY, at_once=MANY)
        assert outcomes.answered == MANY, outcomes.failed[:2]
        assert member.seen == MANY + 12
        (target,) = running.model.targets
        assert target.counts.cold_starts == 1
        # At first nobody knew, and a limit's worth went; from then on one after the other.
        assert target.counts.probes == 12 - 8 + 1
        assert running.counts.failed == {}
        assert running.counts.retries == 0


async def test_who_does_not_come_up_in_time_is_unavailable_with_a_pause() -> None:
    endpoint = {"kind": "sagemaker", "endpoint": "det"}
    cold_start = {"max_wait_s": 0.05, "probe_every_s": 20}
    async with fleet({"det": endpoint}, seed=SEED, cold_start=cold_start) as running:
        running["det"].step = NO_CAPACITY
        with pytest.raises(NotReady, match="scaled to zero") as caught:
            await running.ask()
        assert caught.value.retry_after_s == 20
        assert running["det"].seen == 1
        running.assert_idle()


async def test_a_session_stays_where_it_began_and_ends_with_its_target() -> None:
    async with fleet(["a", "b", "c"], seed=SEED, settings=BUSY) as running:
        homes: dict[str, str] = {}
        for number in range(100):
            key = f"session-{number}"
            homes[key] = await running.ask_in_session(key, session_id=NEW_SESSION)
        assert set(homes.values()) == {"a", "b", "c"}
        running.model.door.drain("b")
        for _ in range(19):
            found = [await running.ask_in_session(key) for key in homes]
            assert found == list(homes.values()), "also those on a drained target"
        running.model.door.undrain("b")
        running["b"].step = Step(500)
        there = [key for key, home in homes.items() if home == "b"]
        assert len(there) > 6
        for key in there[:5]:
            with pytest.raises(TargetError):
                await running.ask_in_session(key)
        for _ in range(2):
            with pytest.raises(PreconditionFailed, match="begin a new session") as caught:
                await running.ask_in_session(there[0])
            (violation,) = caught.value.violations
            assert (violation.kind, violation.subject) == ("SESSION_LOST", there[0])
        assert await running.ask_in_session(there[0], session_id=NEW_SESSION) in {"a", "c"}
