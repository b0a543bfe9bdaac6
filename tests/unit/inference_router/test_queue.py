from __future__ import annotations

import asyncio

import pytest

from simcloud.clock import SYSTEM_CLOCK
from simcloud.errors import DeadlineExceeded, NotReady, Overloaded
from simcloud_inference_router.routing.limiter import AimdLimit, LimitSettings
from simcloud_inference_router.routing.queue import Gate
from simcloud_inference_router.targets.base import Failure, TargetAnswer

ANSWER = TargetAnswer(b"", "")


def gate(limit: int) -> Gate:
    settings = LimitSettings(start=limit, maximum=limit, decrease=0.5)
    return Gate(target="det", limit=AimdLimit(settings), clock=SYSTEM_CLOCK)


class Holder:
    """Takes a slot and keeps it until told."""

    def __init__(self, door: Gate, name: str, order: list[str], *, patient: bool = False) -> None:
        self.release = asyncio.Event()
        self._door, self._name, self._order, self._patient = door, name, order, patient

    async def run(self) -> None:
        async with self._door.slot(deadline=None, patient=self._patient) as slot:
            self._order.append(self._name)
            await self.release.wait()
            slot.outcome = ANSWER


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_beyond_limit_and_queue_a_request_is_refused_with_a_pause() -> None:
    door = gate(2)
    order: list[str] = []
    holders = [Holder(door, str(number), order) for number in range(4)]
    async with asyncio.TaskGroup() as tasks:
        for holder in holders:
            tasks.create_task(holder.run())
        await settle()
        assert (door.in_flight, door.waiting) == (2, 2)
        with pytest.raises(Overloaded) as caught:
            async with door.slot(deadline=None, patient=False):
                raise AssertionError
        assert caught.value.retry_after_s
        for holder in holders:
            holder.release.set()
    assert order == ["0", "1", "2", "3"]
    assert (door.in_flight, door.waiting) == (0, 0)


async def test_frames_of_streams_wait_and_take_turns_with_unary_requests() -> None:
    door = gate(1)
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


async def test_a_deadline_that_passed_never_gets_a_slot() -> None:
    door = gate(1)
    with pytest.raises(DeadlineExceeded):
        async with door.slot(deadline=SYSTEM_CLOCK.monotonic(), patient=False):
            raise AssertionError
    assert door.in_flight == 0


@pytest.mark.parametrize("patient", [False, True])
async def test_a_waiter_leaves_at_its_deadline_and_leaves_nothing_behind(patient: bool) -> None:
    door = gate(1)
    order: list[str] = []
    holder = Holder(door, "holder", order)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(holder.run())
        await settle()
        with pytest.raises(DeadlineExceeded):
            async with door.slot(deadline=SYSTEM_CLOCK.monotonic() + 0.01, patient=patient):
                raise AssertionError
        assert (door.in_flight, door.waiting) == (1, 0)
        holder.release.set()
    assert door.in_flight == 0


async def test_a_cancel_at_any_moment_gives_the_slot_back() -> None:
    for turns in range(6):
        door = gate(1)
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


async def test_only_what_says_so_shrinks_the_limit() -> None:
    error = NotReady("x")
    for failure, expected in [
        (Failure(error), 8),
        (Failure(error, retry=True), 8),
        (Failure(error, retry=True, shrink=True), 4),
    ]:
        door = gate(8)
        async with door.slot(deadline=None, patient=False) as slot:
            slot.outcome = failure
        assert door.limit == expected


async def test_a_shrunk_limit_admits_no_more_than_it_says() -> None:
    door = gate(4)
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
        door._limit.overloaded(sent_at=SYSTEM_CLOCK.monotonic(), now=SYSTEM_CLOCK.monotonic())
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


async def test_whoever_waits_in_vain_has_waited_all_the_same() -> None:
    clock = SYSTEM_CLOCK
    door = gate(1)
    async with door.slot(deadline=None, patient=False):
        second = door.slot(deadline=clock.monotonic() + 0.01, patient=False)
        with pytest.raises(DeadlineExceeded):
            async with second:
                pass
    assert second.waited_s >= 0.01
    assert (door.in_flight, door.waiting) == (0, 0)
