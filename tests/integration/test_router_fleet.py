"""Choosing among several targets: counts over thousands of requests to real servers on loopback."""

from __future__ import annotations

import asyncio
from math import sqrt

import pytest

from simcloud.errors import DeadlineExceeded, NotReady, PreconditionFailed, TargetError
from simcloud_inference_router.routing.routed_target import State
from simcloud_inference_router.targets.base import NEW_SESSION
from support.clock import VirtualTime
from support.eventually import eventually
from support.fleet import OK, Fleet, Step, fleet

SEED = 20260
MANY = 2000
BUSY = {"limiter": {"start": 64, "maximum": 64}}
"""Limits that no test here reaches."""


def within_4_sigma(found: int, share: float, of: int) -> bool:
    """Whether a count is what independent draws give, but for once in 16,000 times."""
    return abs(found - share * of) <= 4 * sqrt(of * share * (1 - share))


async def test_equal_targets_share_the_traffic() -> None:
    # In a time of their own: a busy machine's stalls would be the targets' peaks.
    async with fleet(["a", "b", "c"], seed=SEED, settings=BUSY, virtual=VirtualTime()) as running:
        for member in running.members.values():
            member.step = Step(delay_s=0.005)
        outcomes = await running.ask_many_in_virtual_time(MANY, at_once=48)
        assert outcomes.answered == MANY
        assert sum(member.seen for member in running.members.values()) == MANY
        # Not independent draws: the choice evens out what they would leave.
        for member in running.members.values():
            assert MANY / 6 < member.seen < MANY / 2, outcomes.targets
        running.assert_idle()


async def test_a_slow_target_gets_little_and_a_heavy_one_much() -> None:
    targets = {"fast": {}, "slow": {}, "heavy": {"weight": 8.0}}
    async with fleet(targets, seed=SEED, settings=BUSY, virtual=VirtualTime()) as running:
        for name, delay_s in (("fast", 0.01), ("slow", 0.1), ("heavy", 0.01)):
            running[name].step = Step(delay_s=delay_s)
        outcomes = await running.ask_many_in_virtual_time(MANY, at_once=32)
        assert outcomes.answered == MANY
        assert running["slow"].seen < MANY / 10
        # Of the pairs that are drawn, two in three have the heavy one in them: that much it gets by
        # winning all of these, the fast one by winning the rest. 4 sigma of 2,000 draws are 84.
        assert running["heavy"].seen > 1.5 * running["fast"].seen


async def test_a_higher_tier_is_asked_only_for_what_the_lower_has_no_room_for() -> None:
    targets = {"near": {}, "far": {"tier": 1}}
    settings = {"limiter": {"start": 4, "maximum": 4}}
    async with fleet(targets, seed=SEED, settings=settings) as running:
        outcomes = await running.ask_many(MANY, at_once=4)
        assert outcomes.targets == {"near": MANY}
        running["near"].step = Step(hold=True)
        held = [asyncio.ensure_future(running.ask()) for _ in range(4)]
        await eventually(lambda: running["near"].in_flight == 4)
        assert (await running.ask_many(20, at_once=4)).targets == {"far": 20}
        running["near"].release()
        await asyncio.gather(*held)
        running["near"].step = OK
        assert (await running.ask_many(20, at_once=4)).targets == {"near": 20}
        assert running["near"].peak == 4


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
    async with fleet(["here", "gone"], seed=SEED, settings=BUSY) as running:
        for member in running.members.values():
            member.step = Step(delay_s=0.001)
        running["gone"].step = Step(hang_up=True)
        outcomes = await running.ask_many(MANY)
        assert outcomes.targets == {"here": MANY}
        (_, gone) = running.model.targets
        assert gone.state is State.EJECTED
        # Five in a row, and what was under way by then.
        assert 5 <= running["gone"].seen <= 5 + 16
        assert gone.counts.ejections == 1


async def test_an_ejected_target_comes_back_by_one_probe() -> None:
    outlier = {"base_ejection_s": 0.05}
    async with fleet(["a", "b"], seed=SEED, settings=BUSY, outlier=outlier) as running:
        running["b"].step = Step(503)
        (a, b) = running.model.targets
        while b.state is State.OPEN:
            await running.ask_many(32, at_once=16)
        asked = running["b"].seen
        # Its time may have been over, and a first probe gone, while others were still asked.
        probes, ejections = b.counts.probes, b.counts.ejections

        async def probed() -> bool:
            await running.ask()
            return b.counts.probes > probes

        await eventually(probed)
        assert running["b"].seen == asked + 1, "one went through"
        assert (b.state, b.counts.ejections) == (State.EJECTED, ejections + 1)
        running["b"].step = OK

        async def back() -> bool:
            await running.ask()
            return b.state is State.OPEN

        await eventually(back)
        before = running["b"].seen
        assert (await running.ask_many(200)).answered == 200
        assert running["b"].seen > before
        assert a.counts.ejections == 0


async def test_an_only_target_is_never_ejected_and_not_even_the_last_of_several() -> None:
    async with fleet(["a", "b"], seed=SEED, settings=BUSY) as running:
        for member in running.members.values():
            member.step = Step(500)
        outcomes = await running.ask_many(200)
        assert len(outcomes.failed) == 200
        states = [target.state for target in running.model.targets]
        assert sorted(states) == [State.EJECTED, State.OPEN]
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
    async with fleet(["a", "b"], seed=SEED, settings=settings) as running:
        for member in running.members.values():
            member.step = Step(503)
        # Few enough to end within the budget's ten seconds on the busiest machine.
        outcomes = await running.ask_many(100, at_once=1)
        assert len(outcomes.failed) == 100
        assert (running.counts.retries, running.counts.budget_exhausted) == (20, 80)
        assert running["a"].seen + running["b"].seen == 120


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


async def test_a_canary_gets_its_share_and_its_failures_are_nobodys() -> None:
    canary = {"target": "new", "percent": 5}
    outlier = {"base_ejection_s": 0.2}
    async with fleet(
        ["old", "new"], seed=SEED, settings=BUSY, canary=canary, outlier=outlier
    ) as running:
        outcomes = await running.ask_many(MANY)
        assert within_4_sigma(running["new"].seen, 0.05, MANY)
        assert running.model.canary is not None
        assert running.model.canary.requests == running["new"].seen
        assert outcomes.answered == MANY
        running["new"].step = Step(503)
        outcomes = await running.ask_many(500)
        assert outcomes.targets == {"old": 500}
        (_, new) = running.model.targets
        assert new.state is State.EJECTED
        running["new"].step = OK

        async def back() -> bool:
            await running.ask_many(20)
            return new.state is State.OPEN

        await eventually(back)


async def test_a_key_always_goes_the_same_way() -> None:
    canary = {"target": "new", "percent": 25, "by": "parameter", "parameter": "camera"}
    async with fleet(["old", "new"], seed=SEED, settings=BUSY, canary=canary) as running:

        def parameters(number: int) -> dict[str, str]:
            return {"camera": str(number % 500)}

        outcomes = await running.ask_many(MANY, parameters=parameters)
        # Every key came four times.
        assert outcomes.targets["new"] % 4 == 0
        assert within_4_sigma(outcomes.targets["new"] // 4, 0.25, 500)
        assert (await running.ask_many(40)).targets == {"old": 40}, "no key, no canary"


async def test_a_shadow_is_asked_for_a_sample_and_changes_nothing_for_callers() -> None:
    boxes = (
        b'{"detections":[{"label":"cat","score":0.9,"box_xyxy_px":[0,0,10,%d]},'
        b'{"label":"dog","score":0.8,"box_xyxy_px":[50,50,60,60]}]}'
    )
    shadow = {
        "target": "next",
        "sample": 0.1,
        "compare": "detections",
        "max_in_flight": 256,
    }
    async with fleet(["now", "next"], seed=SEED, settings=BUSY, shadow=shadow) as running:
        running["now"].step = Step(body=boxes % 10)
        # Every fourth: half as high, which overlaps by .4 only.
        running["next"].step = lambda number: Step(body=boxes % (4 if number % 4 == 3 else 9))
        outcomes = await running.ask_many(MANY)
        assert outcomes.failed == []
        assert outcomes.targets == {"now": MANY}
        found = running.model.shadow
        assert found is not None
        await eventually(lambda: found.under_way == 0)
        counts = found.counts
        assert counts.sent == running["next"].seen
        assert within_4_sigma(counts.sent, 0.1, MANY)
        assert counts.differed == counts.sent // 4
        assert counts.agreed == counts.sent - counts.differed
        assert (counts.missing, counts.extra) == (counts.differed, counts.differed)
        assert counts.matched == 2 * counts.agreed + counts.differed
        assert (running.counts.requests, running.counts.succeeded) == (MANY, MANY)
        assert running.counts.request_bytes == MANY * len(b"picture")


async def test_a_shadow_that_hangs_or_fails_delays_and_fails_nobody() -> None:
    shadow = {"target": "next", "sample": 1.0, "compare": "detections", "max_in_flight": 3}
    async with fleet(["now", "next"], seed=SEED, settings=BUSY, shadow=shadow) as running:
        running["next"].step = Step(hold=True)
        assert (await running.ask_many(200)).answered == 200
        found = running.model.shadow
        assert found is not None
        assert (found.under_way, found.counts.dropped) == (3, 197)
        running["next"].step = Step(500)
        running["next"].release()
        await eventually(lambda: found.under_way == 0)
        await running.ask()
        await eventually(lambda: found.counts.failed == 1)
        assert running.counts.failed == {}
        assert running.model.retries.balance > 0
    assert running["next"].in_flight == 0


async def test_a_copy_under_way_ends_with_the_router() -> None:
    shadow = {"target": "next", "sample": 1.0, "compare": "detections"}
    async with fleet(["now", "next"], seed=SEED, shadow=shadow) as running:
        running["next"].step = Step(hold=True)
        await running.ask()
        await eventually(lambda: running["next"].in_flight == 1)
    await eventually(lambda: running["next"].disconnected == 1)


NO_CAPACITY = Step(400, b'{"__type": "ValidationError", "Message": "It has no capacity now"}')


async def test_while_a_target_is_scaled_to_zero_one_probe_at_a_time_goes_through() -> None:
    endpoint = {"kind": "sagemaker", "endpoint": "det"}
    cold_start = {"max_wait_s": 30, "probe_every_s": 0.02}
    async with fleet({"det": endpoint}, seed=SEED, cold_start=cold_start) as running:
        member = running["det"]
        member.step = lambda number: NO_CAPACITY if number < 12 else OK
        outcomes = await running.ask_many(30, at_once=30)
        assert outcomes.answered == 30, outcomes.failed[:2]
        assert member.seen == 30 + 12
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
