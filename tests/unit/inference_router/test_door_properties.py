"""Any order of arrivals, ends, failures, cancels and operations: no slot leaks, nobody is lost."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from simcloud.errors import NotReady, Overloaded
from simcloud_inference_router.model_options import OutlierOptions, TrafficOptions
from simcloud_inference_router.routing.door import Door
from simcloud_inference_router.routing.roster import Grant, Roster
from simcloud_inference_router.routing.routed_target import State
from simcloud_inference_router.targets.base import Failure
from support.clock import ManualClock
from support.roster import ANSWER, roster_of, routed, settle

OPTIONS = TrafficOptions(outlier=OutlierOptions(consecutive_failures=2))
DOWN = Failure(NotReady("down"), retry=True)
BUSY = Failure(Overloaded("busy"), retry=True, shrink=True)
OUTCOMES = (ANSWER, DOWN, BUSY, None)
NAMES = ("a", "b", "c")

Step = tuple[str, int]
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.integers(0, 47)),
        st.tuples(st.just("arrive"), st.integers(0, 47)),
        st.tuples(st.just("end"), st.integers(0, 39)),
        st.tuples(st.just("cancel"), st.integers(0, 9)),
        st.tuples(st.just("drain"), st.integers(0, 2)),
        st.tuples(st.just("undrain"), st.integers(0, 2)),
        st.tuples(st.just("pass"), st.integers(0, 40)),
    ),
    max_size=60,
)


@dataclass
class World:
    """A door with three targets, and all that stand before or behind it."""

    clock: ManualClock = field(default_factory=ManualClock)
    held: list[Grant] = field(default_factory=list)
    waiting: list[asyncio.Task[Grant]] = field(default_factory=list)
    expected: list[tuple[asyncio.Task[Grant], bool, bool]] = field(default_factory=list)
    """Unary requests of this step that found no slot, whether the door said that it was full, and
    whether it would have been right to: any target would do, and no slot is for others alone."""
    refused: int = 0
    arrived: int = 0
    cancelled: int = 0
    ended: int = 0

    def __post_init__(self) -> None:
        targets = [
            routed("a", limit=2, options=OPTIONS),
            routed("b", limit=1, options=OPTIONS),
            routed("c", limit=2, tier=1, options=OPTIONS),
        ]
        self.roster: Roster = roster_of(targets, options=OPTIONS)
        self.door = Door(model="det", roster=self.roster, cold_start=None, clock=self.clock)

    async def step(self, what: str, number: int) -> None:
        match what:
            case "arrive":
                self._arrive(number)
            case "end" if self.held:
                grant = self.held.pop(number // 4 % len(self.held))
                grant.sent = True
                self.door.leave(grant, OUTCOMES[number % 4], self.clock.monotonic())
                self.ended += 1
            case "cancel" if self.waiting:
                self.waiting[number % len(self.waiting)].cancel()
            case "drain":
                self.door.drain(NAMES[number])
            case "undrain":
                self.door.undrain(NAMES[number])
            case "pass":
                # The timer of the loop stands for the clock's, which is the test's.
                self.clock.advance(float(number))
                self.door._woken()
        await settle()
        self._check_refused()
        self._collect()
        self._check()

    def _arrive(self, number: int) -> None:
        self.arrived += 1
        bits = [target.bit for target in self.roster.targets]
        session = self.roster.targets[0].session_bit
        masks = (sum(bits), sum(bits), bits[0], bits[1] | bits[2], session)
        mask, caller, patient = masks[number % 5], str(number // 5 % 3), number // 15 % 2 == 1
        full = self._is_full()
        grant = self.door.enter(mask, self.clock.monotonic())
        if grant is not None:
            assert not full, "who would have been refused has a slot"
            self.held.append(grant)
            return
        self.waiting.append(
            asyncio.ensure_future(
                self.door.wait(
                    mask,
                    caller=caller,
                    priority=number // 30,
                    patient=patient,
                    deadline=None,
                    held_since=self.clock.monotonic(),
                )
            )
        )
        if not patient:
            # A slot that is for others alone: of a drained target, or one that is not to be asked.
            now = self.clock.monotonic()
            kept = any(each.has_slot and not each.has_room(now) for each in self.roster.targets)
            kept = kept or any(
                each.has_slot and not each.accepts & each.bit for each in self.roster.targets
            )
            self.expected.append((self.waiting[-1], full, mask == sum(bits) and not kept))

    def _is_full(self) -> bool:
        try:
            self.door.refuse_if_full()
        except Overloaded:
            return True
        return False

    def _check_refused(self) -> None:
        """Whom ``refuse_if_full`` refuses ``wait`` refuses, and most of the others not."""
        for task, full, anywhere in self.expected:
            error = task.exception() if task.done() and not task.cancelled() else None
            if full:
                assert isinstance(error, Overloaded | NotReady), "it would have been let in"
            elif anywhere:
                assert not isinstance(error, Overloaded), "it was refused late"
        self.expected.clear()

    def _collect(self) -> None:
        for task in [each for each in self.waiting if each.done()]:
            self.waiting.remove(task)
            if task.cancelled():
                self.cancelled += 1
            elif task.exception() is not None:
                assert isinstance(task.exception(), Overloaded | NotReady)
                self.refused += 1
            else:
                self.held.append(task.result())

    def _check(self) -> None:
        assert self.door.waiting == len(self.waiting)
        for target in self.roster.targets:
            held = sum(grant.target is target for grant in self.held)
            assert target.in_flight == held
            assert target.in_flight <= 2
        assert self.roster.shut == sum(
            target.state is not State.OPEN for target in self.roster.targets
        )
        now = self.clock.monotonic()
        for mask in self.door._queue.masks():
            assert self.roster.choose(mask, now) is None, "someone waits and there is room"
        gone = self.ended + self.refused + self.cancelled
        assert self.arrived == gone + len(self.held) + len(self.waiting)


@settings(max_examples=80, deadline=None)
@given(STEPS)
def test_no_slot_leaks_and_nobody_is_lost_or_waits_in_vain(steps: list[Step]) -> None:
    async def run() -> None:
        world = World()
        for what, number in steps:
            await world.step(what, number)
        for name in NAMES:
            await world.step("undrain", NAMES.index(name))
        while world.held:
            await world.step("end", 0)
        assert not world.waiting
        assert (world.door.in_flight, world.door.waiting) == (0, 0)

    asyncio.run(run())
