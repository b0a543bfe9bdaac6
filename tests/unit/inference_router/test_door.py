from __future__ import annotations

import asyncio

import pytest

from simcloud.clock import SYSTEM_CLOCK
from simcloud.errors import DeadlineExceeded, InvalidRequest, NotFound, NotReady, Overloaded
from simcloud_inference_router.model_options import (
    ColdStartOptions,
    OutlierOptions,
    TrafficOptions,
)
from simcloud_inference_router.routing.door import Door
from simcloud_inference_router.routing.roster import Grant
from simcloud_inference_router.routing.routed_target import State
from simcloud_inference_router.targets.base import Failure
from support.roster import ANSWER, door_of, routed, settle


def now() -> float:
    return SYSTEM_CLOCK.monotonic()


async def pass_through(
    door: Door,
    *,
    mask: int | None = None,
    caller: str = "",
    patient: bool = False,
    priority: int = 0,
    deadline: float | None = None,
) -> Grant:
    """As the dispatcher does: at once, or after a wait."""
    wanted = door.roster.ordinary if mask is None else mask
    return door.enter(wanted, now()) or await door.wait(
        wanted,
        caller=caller,
        priority=priority,
        patient=patient,
        deadline=deadline,
        held_since=now(),
    )


class Holder:
    """Takes a slot and keeps it until told."""

    def __init__(
        self, door: Door, name: str, order: list[str], *, patient: bool = False, caller: str = ""
    ) -> None:
        self.release = asyncio.Event()
        self.target = ""
        self._door, self._name, self._order = door, name, order
        self._patient, self._caller = patient, caller

    async def run(self) -> None:
        grant = await pass_through(self._door, patient=self._patient, caller=self._caller)
        outcome = None
        try:
            self.target = grant.target.name
            self._order.append(self._name)
            await self.release.wait()
            outcome = ANSWER
        finally:
            self._door.leave(grant, outcome, now())


async def test_beyond_limits_and_queue_a_request_is_refused_with_a_pause() -> None:
    door = door_of([routed("a", limit=1), routed("b", limit=1)])
    order: list[str] = []
    holders = [Holder(door, str(number), order) for number in range(4)]
    async with asyncio.TaskGroup() as tasks:
        for holder in holders:
            tasks.create_task(holder.run())
        await settle()
        assert (door.in_flight, door.waiting) == (2, 2)
        with pytest.raises(
            Overloaded, match=r"no slot of a, b is free \(they have 2\), and as many wait"
        ) as caught:
            await pass_through(door)
        assert caught.value.retry_after_s
        with pytest.raises(Overloaded) as early:
            door.refuse_if_full()
        assert early.value.parts() == caught.value.parts()
        for holder in holders:
            holder.release.set()
    assert order == ["0", "1", "2", "3"]
    assert (door.in_flight, door.waiting) == (0, 0)


@pytest.mark.parametrize("why", ["drained", "ejected"])
async def test_nobody_is_refused_early_who_is_let_through_to_a_target_that_takes_no_others(
    why: str,
) -> None:
    door = door_of([routed("a", limit=1), routed("b", limit=1)])
    a, b = door.roster.targets
    if why == "drained":
        door.drain("a")
        mask = a.session_bit
    else:
        a.state, a.shut_until = State.EJECTED, now() + 1000
        door.roster.shut += 1
        mask = a.bit
    order: list[str] = []
    holders = [Holder(door, str(number), order) for number in range(3)]
    async with asyncio.TaskGroup() as tasks:
        for holder in holders[:2]:
            tasks.create_task(holder.run())
        await settle()
        assert (b.in_flight, door.waiting) == (1, 1)
        with pytest.raises(Overloaded):
            await pass_through(door, mask=b.bit)
        door.refuse_if_full()
        grant = await pass_through(door, mask=mask)
        assert grant.target is a
        with pytest.raises(Overloaded):
            door.refuse_if_full()
        door.leave(grant, ANSWER, now())
        for holder in holders:
            holder.release.set()


async def test_for_a_fast_target_as_many_may_wait_as_it_answers_in_a_tenth_of_a_second() -> None:
    fast = routed("a", limit=2)
    door = door_of([fast])
    assert door.roster.room(door.roster.everyone) == 2
    for _ in range(100):
        fast.latency.observe(0.005, now())
    assert door.roster.room(door.roster.everyone) == 40
    # One slow answer changes little, many do; a limit's worth may always wait.
    fast.latency.observe(0.05, now())
    assert door.roster.room(door.roster.everyone) > 25
    for _ in range(200):
        fast.latency.observe(0.2, now())
    assert door.roster.room(door.roster.everyone) == 2


async def test_who_waits_gets_whichever_target_is_free_first() -> None:
    for first_free in (0, 1):
        door = door_of([routed("a", limit=1), routed("b", limit=1)])
        order: list[str] = []
        holders = [Holder(door, str(number), order) for number in range(3)]
        async with asyncio.TaskGroup() as tasks:
            for holder in holders:
                tasks.create_task(holder.run())
            await settle()
            assert {holders[0].target, holders[1].target} == {"a", "b"}
            holders[first_free].release.set()
            await settle()
            assert holders[2].target == holders[first_free].target
            for holder in holders:
                holder.release.set()


async def test_frames_of_streams_wait_and_take_turns_with_unary_requests() -> None:
    door = door_of([routed("a", limit=1)])
    order: list[str] = []
    first = Holder(door, "first", order)
    frames = [Holder(door, f"frame{number}", order, patient=True) for number in range(3)]
    unary = Holder(door, "unary", order)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(first.run())
        await settle()
        for frame in frames:
            tasks.create_task(frame.run())
        await settle()
        tasks.create_task(unary.run())
        await settle()
        assert door.waiting == 4
        for holder in (first, unary, *frames):
            holder.release.set()
    assert order == ["first", "unary", "frame0", "frame1", "frame2"]


async def test_a_greedy_caller_does_not_keep_others_waiting() -> None:
    door = door_of([routed("a", limit=9)])
    order: list[str] = []
    first = [Holder(door, "first", order) for _ in range(9)]
    greedy = [Holder(door, "greedy", order, caller="greedy") for _ in range(7)]
    modest = [Holder(door, "modest", order, caller="modest") for _ in range(2)]
    async with asyncio.TaskGroup() as tasks:
        for holder in (*first, *greedy, *modest):
            tasks.create_task(holder.run())
            await settle()
        for holder in (*first, *greedy, *modest):
            holder.release.set()
            await settle()
    assert order[9:] == ["greedy", "modest", "greedy", "modest"] + ["greedy"] * 5


@pytest.mark.parametrize("patient", [False, True])
async def test_a_waiter_leaves_at_its_deadline_and_leaves_nothing_behind(patient: bool) -> None:
    door = door_of([routed("a", limit=1)])
    holder = Holder(door, "holder", [])
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(holder.run())
        await settle()
        with pytest.raises(DeadlineExceeded, match="nothing was sent"):
            await pass_through(door, patient=patient, deadline=now() + 0.01)
        assert (door.in_flight, door.waiting) == (1, 0)
        holder.release.set()
    assert door.in_flight == 0


async def test_a_cancel_at_any_moment_gives_the_slot_back() -> None:
    for turns in range(6):
        door = door_of([routed("a", limit=1)])
        order: list[str] = []
        holder = Holder(door, "holder", order)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(holder.run())
            await settle()
            waiter = tasks.create_task(Holder(door, "waiter", order).run())
            await settle()
            holder.release.set()
            for _ in range(turns):
                await asyncio.sleep(0)
            waiter.cancel()
        assert (door.in_flight, door.waiting) == (0, 0), turns


async def test_a_slot_granted_to_a_waiter_that_is_cancelled_goes_to_the_next() -> None:
    door = door_of([routed("a", limit=1)])
    order: list[str] = []
    holders = [Holder(door, str(number), order, patient=True) for number in range(2)]
    grant = await pass_through(door)
    async with asyncio.TaskGroup() as tasks:
        first, _ = [tasks.create_task(holder.run()) for holder in holders]
        await settle()
        # Granted and cancelled before the waiter's task has run again.
        door.leave(grant, ANSWER, now())
        first.cancel()
        await settle()
        assert order == ["1"]
        holders[1].release.set()
    assert (door.in_flight, door.waiting) == (0, 0)


async def test_a_shrunk_limit_admits_no_more_than_it_says() -> None:
    target = routed("a", limit=4)
    door = door_of([target])
    order: list[str] = []
    holders = [Holder(door, str(number), order) for number in range(4)]
    waiter = Holder(door, "waiter", order)
    async with asyncio.TaskGroup() as tasks:
        for holder in holders:
            tasks.create_task(holder.run())
        await settle()
        tasks.create_task(waiter.run())
        await settle()
        # Another request's refusal is learnt while these are in flight.
        target.limit.overloaded(sent_at=now(), now=now())
        assert door.limit == 2
        holders[0].release.set()
        holders[1].release.set()
        await settle()
        assert "waiter" not in order
        holders[2].release.set()
        await settle()
        assert "waiter" in order
        for holder in (*holders, waiter):
            holder.release.set()


async def test_those_who_wait_for_few_targets_do_not_fill_the_queue_for_others() -> None:
    door = door_of([routed("a", limit=1), routed("b", limit=2)])
    small, large = door.roster.targets
    order: list[str] = []
    holders = [Holder(door, str(number), order) for number in range(3)]
    async with asyncio.TaskGroup() as tasks:
        for holder in holders:
            tasks.create_task(holder.run())
        await settle()
        only_a = tasks.create_task(pass_through(door, mask=small.bit))
        await settle()
        with pytest.raises(Overloaded, match=r"no slot of a is free \(they have 1\)"):
            await pass_through(door, mask=small.bit)
        anywhere = tasks.create_task(pass_through(door))
        await settle()
        assert door.waiting == 2
        holders[[each.target for each in holders].index("b")].release.set()
        assert (await anywhere).target is large
        for holder in holders:
            holder.release.set()
        assert (await only_a).target is small
    assert door.waiting == 0


async def test_a_drained_target_takes_nothing_new_and_finishes_what_it_has() -> None:
    door = door_of([routed("a"), routed("b")])
    grants = [await pass_through(door) for _ in range(4)]
    door.drain("a")
    assert {(await pass_through(door)).target.name for _ in range(4)} == {"b"}
    held = sum(grant.target.name == "a" for grant in grants)
    assert door.snapshot()[0].in_flight == held
    assert (door.snapshot()[0].weight, door.snapshot()[0].drained) == (0.0, True)
    door.undrain("a")
    assert "a" in {(await pass_through(door)).target.name for _ in range(8)}


async def test_a_new_weight_counts_at_once_also_for_those_who_wait() -> None:
    door = door_of([routed("a", limit=1), routed("b", limit=1, weight=0)])
    grant = await pass_through(door)
    assert grant.target.name == "a"
    waiting = asyncio.ensure_future(pass_through(door))
    await settle()
    assert door.waiting == 1
    door.set_weight("b", 2.0)
    assert (await waiting).target.name == "b"
    assert door.snapshot()[1].weight == 2.0


async def test_where_every_target_is_drained_nobody_waits() -> None:
    door = door_of([routed("a", limit=1)])
    await pass_through(door)
    waiting = asyncio.ensure_future(pass_through(door))
    await settle()
    door.drain("a")
    with pytest.raises(NotReady, match="drained"):
        await waiting
    with pytest.raises(NotReady, match="drained"):
        await pass_through(door)
    assert door.waiting == 0


def test_operations_name_targets_and_weights_that_make_sense() -> None:
    door = door_of([routed("a")])
    with pytest.raises(NotFound, match="no target 'x'; the model has: a"):
        door.drain("x")
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidRequest, match="weight"):
            door.set_weight("a", wrong)


async def test_one_probe_wakes_a_cold_target_and_the_others_wait_for_it() -> None:
    cold = Failure(NotReady("no capacity"), no_capacity=True)
    door = door_of([routed("a")], cold_start=ColdStartOptions(max_wait_s=5, probe_every_s=0.02))
    first = await pass_through(door)
    door.leave(first, cold, now())
    waiting = [asyncio.ensure_future(pass_through(door)) for _ in range(3)]
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    (probe,) = done
    await settle()
    assert (door.in_flight, door.waiting) == (1, 2)
    door.leave(probe.result(), ANSWER, now())
    await asyncio.wait(waiting)
    assert (door.in_flight, door.waiting) == (2, 0)
    (target,) = door.roster.targets
    assert (target.counts.cold_starts, target.counts.probes) == (1, 1)


async def test_who_waited_long_enough_for_a_cold_target_is_told_when_to_come_back() -> None:
    cold = Failure(NotReady("no capacity"), no_capacity=True)
    options = ColdStartOptions(max_wait_s=0.02, probe_every_s=60)
    door = door_of([routed("a")], cold_start=options)
    door.leave(await pass_through(door), cold, now())
    with pytest.raises(NotReady, match="scaled to zero") as caught:
        await pass_through(door)
    assert caught.value.retry_after_s == 60
    assert (door.in_flight, door.waiting) == (0, 0)


async def test_who_waits_for_a_busy_target_is_not_told_that_it_is_cold() -> None:
    options = ColdStartOptions(max_wait_s=0.02, probe_every_s=60)
    door = door_of([routed("a", limit=1)], cold_start=options)
    grant = await pass_through(door)
    waiting = asyncio.ensure_future(pass_through(door))
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    door.leave(grant, ANSWER, now())
    assert (await waiting).target.name == "a"


async def test_who_can_go_nowhere_else_is_let_through_to_a_target_that_is_ejected() -> None:
    down = Failure(NotReady("down"))
    outlier = OutlierOptions(consecutive_failures=1)
    options = TrafficOptions(outlier=outlier)
    targets = [routed(name, limit=1, options=options) for name in "ab"]
    door = door_of(targets, outlier=outlier)
    only_a = door.roster.target("a").bit
    grant = await pass_through(door, mask=only_a)
    waiting = asyncio.ensure_future(pass_through(door, mask=only_a))
    await settle()
    assert door.waiting == 1
    door.leave(grant, down, now())
    assert (await waiting).target.state is State.EJECTED


async def test_an_ejected_target_is_probed_when_its_time_comes_and_someone_waits() -> None:
    outlier = OutlierOptions(consecutive_failures=1, base_ejection_s=1.0)
    options = TrafficOptions(outlier=outlier)
    targets = [routed(name, limit=1, options=options) for name in "ab"]
    door = door_of(targets, outlier=outlier)
    door.leave(await pass_through(door, mask=targets[0].bit), Failure(NotReady("down")), now())
    assert targets[0].state is State.EJECTED
    assert (await pass_through(door)).target is targets[1]
    # No slot comes free; only time passes.
    grant = await pass_through(door)
    assert (grant.target, grant.probe) == (targets[0], True)
