"""Limits and the queue: counts over thousands of requests to real servers on loopback."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from math import exp, sqrt

from simcloud.errors import DeadlineExceeded, NotReady, Overloaded
from support.clock import VirtualTime
from support.eventually import eventually
from support.fleet import MANY, OK, Fleet, Step, fleet, within_4_sigma

SEED = 20260
FOUR = {"limiter": {"start": 4, "maximum": 4}}
UNPAID = {"retry": {"ratio": 0.0, "floor_per_s": 0.0}}
"""Nothing is sent again."""


async def test_a_limit_finds_what_its_target_takes_and_follows_it() -> None:
    room, failing = 12, 0.0
    adaptive = {"limiter": {"start": 8, "maximum": 64}}
    async with fleet(
        ["a"],
        seed=SEED,
        settings={**UNPAID, **adaptive},
        outlier={"max_ejected": 0},
        virtual=VirtualTime(),
    ) as running:
        member, limit = running["a"], running.model.targets[0].limit
        draw = running.random.random
        limits: list[int] = []

        def step(_number: int) -> Step:
            limits.append(limit.limit)
            if member.in_flight > room:
                return Step(503)
            return Step(500 if draw() < failing else 200, delay_s=0.01)

        member.step = step
        outcomes = await running.ask_many_in_virtual_time(MANY, at_once=64)
        # One beyond its room shows it; then seven tenths, and up again.
        assert member.peak == max(limits) == room + 1
        assert min(limits[limits.index(room + 1) :]) == int(0.7 * (room + 1))
        # One answer at limit v adds 1 / v: from 0.7 v to v that takes (v^2 - (0.7 v)^2) / 2.
        answers = ((room + 1) ** 2 - (0.7 * (room + 1)) ** 2) / 2
        refused = len(outcomes.failed)
        assert 0.9 * MANY < refused * (answers + 1) < 1.1 * MANY
        assert {type(error) for error in outcomes.failed} == {NotReady}

        room, before = 4, len(limits)
        await running.ask_many_in_virtual_time(MANY // 4, at_once=64)
        # What was on its way when the room shrank is refused as well.
        assert max(limits[before + 64 :]) == room + 1

        room, before = 64, len(limits)
        failing = 0.1
        outcomes = await running.ask_many_in_virtual_time(MANY, at_once=64)
        assert within_4_sigma(len(outcomes.failed), failing, MANY)
        # What a model fails at shrinks nothing and adds nothing: (v^2 - 4^2) / 2 answers lead to v.
        assert limits[before:] == sorted(limits[before:])
        assert abs(limit.limit - sqrt(4**2 + 2 * outcomes.answered)) < 2
        running.assert_idle()


async def test_callers_are_served_in_turn_whatever_each_has_waiting() -> None:
    async with fleet(["a"], seed=SEED, settings=FOUR, virtual=VirtualTime()) as running:
        running["a"].step = Step(delay_s=0.01)
        requests = {"big": 1400, "mid": 400, "small": 200}
        order = await _order(
            running, [(caller, 0) for caller, number in requests.items() for _ in range(number)]
        )
        callers = [caller for caller, _ in order]
        # First come, first served would have been 600 of the big one's. The four that found a free
        # slot did not wait.
        first = Counter(callers[:600])
        assert all(abs(first[caller] - 200) <= 4 for caller in ("big", "mid", "small")), first
        # The small one has all its answers; the others share what is left.
        then = Counter(callers[600:1000])
        assert all(abs(then[caller] - 200) <= 4 for caller in ("big", "mid")), then
        running.assert_idle()


async def test_priority_1_goes_first_but_for_every_eighth() -> None:
    async with fleet(["a"], seed=SEED, settings=FOUR, virtual=VirtualTime()) as running:
        running["a"].step = Step(delay_s=0.01)
        order = await _order(running, [("", 0)] * (MANY // 2) + [("", 1)] * (MANY // 2))
        # While both wait; the ordinary ones came first, and four of them found a free slot.
        both = MANY // 2 // 7 * 8
        ordinary = sum(priority == 0 for _, priority in order[:both])
        assert abs(ordinary - both / 8) <= 4
        assert {priority for _, priority in order[both + 16 :]} == {0}


async def _order(running: Fleet, requests: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Callers and priorities of requests that wait together, as they are answered."""
    order: list[tuple[str, int]] = []

    async def one(caller: str, priority: int) -> None:
        await running.dispatch(caller=caller, priority=priority, within_s=None)
        order.append((caller, priority))

    async def ask() -> None:
        async with asyncio.TaskGroup() as tasks:
            for caller, priority in requests:
                tasks.create_task(one(caller, priority))

    await running.in_virtual_time(ask(), under_way=lambda: len(requests) - len(order))
    return order


async def test_whose_time_is_over_takes_nobodys_turn() -> None:
    """Four at a time, a minute each, and each request has up to 1,000 minutes, drawn and a half.

    Of those whose turn comes after t minutes the share 1 - t / 1000 still has time, which passes
    the others by at once: 2,000 are through after t = 1000 (1 - exp(-2000 / 4000)).
    """
    time, a_minute_s, minutes = VirtualTime(), 60.0, 1000
    async with fleet(["a"], seed=SEED, settings=FOUR, virtual=time) as running:
        running["a"].step = Step(delay_s=a_minute_s)
        begun, draw, ended = time.monotonic(), running.random.random, 0
        left_s: list[float] = []
        late: list[float] = []

        async def one(within_s: float) -> None:
            nonlocal ended
            try:
                await running.dispatch(within_s=within_s)
            except DeadlineExceeded:
                late.append(begun + within_s - time.monotonic())
            else:
                left_s.append(begun + within_s - (time.monotonic() - a_minute_s))
            ended += 1

        async def ask() -> None:
            async with asyncio.TaskGroup() as tasks:
                for _ in range(MANY):
                    # Half minutes: all that is sent has half a minute left, of any clock.
                    tasks.create_task(one((int(draw() * minutes) + 0.5) * a_minute_s))

        await running.in_virtual_time(ask(), under_way=lambda: MANY - ended)
        assert running["a"].seen == len(left_s) == MANY - len(late), "none was sent in vain"
        assert min(left_s) > 0
        assert max(late) < 0, "none was given up in time"
        in_time = 4 * minutes * (1 - exp(-MANY / (4 * minutes)))
        assert within_4_sigma(len(left_s), in_time / MANY, MANY)
        running.assert_idle()


async def test_who_waits_in_vain_is_told_when_its_time_is_over() -> None:
    async with fleet(["a"], seed=SEED, settings=FOUR) as running:
        running["a"].step = Step(hold=True)
        held = [asyncio.ensure_future(running.ask(within_s=None)) for _ in range(4)]
        await eventually(lambda: running["a"].in_flight == 4)
        asked = [running.ask(within_s=0.1) for _ in range(MANY)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {DeadlineExceeded}
        assert (running["a"].seen, running.model.door.waiting) == (4, 0)
        running["a"].release()
        await asyncio.gather(*held)
        running.assert_idle()


async def test_beyond_the_limit_as_many_wait_and_the_rest_is_refused_at_once() -> None:
    async with fleet(["a"], seed=SEED, settings=FOUR) as running:
        running["a"].step = Step(hold=True)
        asked = [asyncio.ensure_future(running.ask(patient=False)) for _ in range(MANY)]
        await eventually(lambda: running["a"].in_flight == 4)
        await eventually(lambda: sum(each.done() for each in asked) == MANY - 8)
        refused = [each.exception() for each in asked if each.done()]
        assert all(isinstance(error, Overloaded) and error.retry_after_s for error in refused)
        assert running.model.door.waiting == 4
        running["a"].step = OK
        running["a"].release()
        await asyncio.gather(*asked, return_exceptions=True)
        assert (running["a"].seen, running.counts.succeeded) == (8, 8)
        assert running.counts.failed == {"OVERLOADED": MANY - 8}
        running.assert_idle()


async def test_who_waits_is_served_by_all_targets_and_never_beyond_their_limits() -> None:
    settings = {"limiter": {"start": 3, "maximum": 3}}
    async with fleet(["a", "b"], seed=SEED, settings=settings) as running:
        for member in running.members.values():
            member.step = Step(delay_s=0.001)
        outcomes = await running.ask_many(MANY, at_once=50)
        assert outcomes.answered == MANY
        assert {member.peak for member in running.members.values()} == {3}
        assert min(member.seen for member in running.members.values()) > MANY / 4
        running.assert_idle()


async def test_cancelling_at_random_leaves_no_slot_taken_and_nobody_waiting() -> None:
    settings = {"limiter": {"start": 2, "maximum": 2}}
    hedge = {"percentile": 50, "max_share": 0.5, "minimum_samples": 10}
    async with fleet(["a", "b"], seed=SEED, settings=settings, hedge=hedge) as running:
        draw = running.random.random
        for member in running.members.values():
            member.step = lambda _: Step(delay_s=0.01 * draw())
        loop = asyncio.get_running_loop()
        ended = 0

        async def one() -> None:
            nonlocal ended
            task = asyncio.ensure_future(running.ask())
            loop.call_later(0.05 * draw(), task.cancel)
            await asyncio.wait([task])
            ended += 1

        async with asyncio.TaskGroup() as tasks:
            for _ in range(600):
                tasks.create_task(one())
        assert ended == 600
        counts = running.counts
        assert counts.requests == 600
        assert counts.failed.get("CANCELLED", 0) + counts.succeeded == 600
        await eventually(lambda: sum(m.in_flight for m in running.members.values()) == 0)
        running.assert_idle()
        assert (await running.ask_many(20)).answered == 20
