"""Who is chosen: counts over thousands of requests to real servers on loopback."""

from __future__ import annotations

import asyncio

import pytest

from support.clock import VirtualTime
from support.eventually import eventually
from support.fleet import BUSY, MANY, OK, Step, fleet, within_4_sigma

SEED = 20260


async def test_equal_targets_share_the_traffic_more_evenly_than_draws_would() -> None:
    # In a time of their own: a busy machine's stalls would be the targets' peaks.
    async with fleet(["a", "b", "c"], seed=SEED, settings=BUSY, virtual=VirtualTime()) as running:
        for member in running.members.values():
            member.step = Step(delay_s=0.005)
        outcomes = await running.ask_many_in_virtual_time(MANY, at_once=48)
        assert outcomes.answered == MANY
        assert sum(member.seen for member in running.members.values()) == MANY
        for member in running.members.values():
            assert within_4_sigma(member.seen, 1 / 3, MANY), outcomes.targets
            # Of 48 under way 16 are here. One draw each would have them spread by 3.3, so that more
            # than 21 are here in one moment out of twenty, of which there are hundreds.
            assert member.peak <= 21, outcomes.targets
        running.assert_idle()


@pytest.mark.parametrize("by", ["latency", "weight"])
async def test_the_cheaper_of_two_draws_is_asked(by: str) -> None:
    """One request at a time: of n targets, the one that r are cheaper than wins (n - 1 - r) of the
    n (n - 1) / 2 pairs. Draws of one, turns, and the cheapest of all have other shares.
    """
    ranks = {f"rank-{rank}": rank for rank in range(5)}
    weights = {
        name: {"weight": 5.0 - rank} if by == "weight" else {} for name, rank in ranks.items()
    }
    async with fleet(weights, seed=SEED, settings=BUSY, virtual=VirtualTime()) as running:
        for name, rank in ranks.items():
            # So short that no peak is forgotten meanwhile: that takes ten seconds.
            running[name].step = Step(delay_s=1e-5 * (1 if by == "weight" else rank + 1))
        # Until something is known of each.
        await running.ask_many_in_virtual_time(100, at_once=1)
        outcomes = await running.ask_many_in_virtual_time(MANY, at_once=1)
        for name, rank in ranks.items():
            share = (4 - rank) / 10
            assert within_4_sigma(outcomes.targets.get(name, 0), share, MANY), outcomes.targets


async def test_one_slow_target_of_ten_is_left_alone_and_the_rest_share_evenly() -> None:
    names = [f"target-{number}" for number in range(10)]
    slow = "target-3"
    async with fleet(names, seed=SEED, settings=BUSY, virtual=VirtualTime()) as running:
        for name in names:
            running[name].step = Step(delay_s=0.2 if name == slow else 0.01)
        outcomes = await running.ask_many_in_virtual_time(MANY, at_once=32)
        # Draws and turns would give it a tenth. It has what went there before it was known.
        assert outcomes.targets[slow] < MANY / 100
        fast = MANY - outcomes.targets[slow]
        for name in set(names) - {slow}:
            assert within_4_sigma(outcomes.targets[name], 1 / 9, fast), outcomes.targets


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
