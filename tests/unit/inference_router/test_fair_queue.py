from __future__ import annotations

from collections import Counter, deque

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from simcloud_inference_router.routing.fair_queue import (
    FIRST,
    ORDINARY,
    FairQueue,
    Ticket,
    level_of,
)

ALL = 0b11


def ticket(
    caller: str = "a", *, level: int = ORDINARY, mask: int = ALL, patient: bool = False
) -> Ticket:
    return Ticket(caller=caller, level=level, mask=mask, patient=patient)


@pytest.mark.parametrize(
    ("priority", "level"), [(0, ORDINARY), (1, FIRST), (2, ORDINARY), (2**40, ORDINARY)]
)
def test_only_priority_1_goes_first(priority: int, level: int) -> None:
    assert level_of(priority) == level


def test_callers_are_served_in_turn_whatever_they_have_waiting() -> None:
    queue = FairQueue()
    for _ in range(100):
        queue.push(ticket("greedy"))
    for caller in ("b", "c", "b", "c"):
        queue.push(ticket(caller))
    served = [popped.caller for _ in range(7) if (popped := queue.pop(1)) is not None]
    assert served == ["greedy", "b", "c", "greedy", "b", "c", "greedy"]


def test_the_first_priority_goes_first_but_not_for_ever() -> None:
    queue = FairQueue()
    for _ in range(20):
        queue.push(ticket(level=ORDINARY))
        queue.push(ticket(level=FIRST))
    served = [popped.level for _ in range(16) if (popped := queue.pop(1)) is not None]
    assert served == ([FIRST] * 7 + [ORDINARY]) * 2


def test_a_target_serves_only_those_who_may_go_there() -> None:
    queue = FairQueue()
    only_second, anywhere = ticket(mask=0b10), ticket(mask=ALL)
    queue.push(only_second)
    queue.push(anywhere)
    assert queue.pop(0b01) is anywhere
    assert queue.pop(0b01) is None
    assert queue.pop(0b10) is only_second


def test_those_who_may_go_to_few_targets_take_turns_with_the_others() -> None:
    queue = FairQueue()
    for _ in range(4):
        queue.push(ticket("greedy", mask=0b01))
        queue.push(ticket("b", mask=ALL))
    served = Counter(popped.caller for _ in range(4) if (popped := queue.pop(0b01)) is not None)
    assert served == {"greedy": 2, "b": 2}


def test_what_left_is_not_removed_twice() -> None:
    queue = FairQueue()
    one, other = ticket(), ticket()
    queue.push(one)
    queue.push(other)
    assert queue.pop(1) is one
    queue.remove(one)
    assert queue.waiting == 1


CALLERS = st.sampled_from(["a", "b", "c", "d"])


@given(st.lists(CALLERS, min_size=1, max_size=60))
def test_between_two_turns_of_a_caller_every_other_one_that_waits_has_one(
    callers: list[str],
) -> None:
    queue = FairQueue()
    for caller in callers:
        queue.push(ticket(caller))
    left = Counter(callers)
    since: dict[str, set[str]] = {caller: set(left) for caller in left}
    while (popped := queue.pop(1)) is not None:
        caller = popped.caller
        waiting = {other for other, count in left.items() if count and other != caller}
        assert waiting <= since[caller] | {caller}, "someone was passed over"
        left[caller] -= 1
        since[caller] = set()
        for others in since.values():
            others.add(caller)
    assert not +left


class Reference(RuleBasedStateMachine):
    """The queue beside plain lists: nothing lost, doubled or served out of its caller's order."""

    @initialize()
    def begin(self) -> None:
        self.queue = FairQueue()
        self.waiting: dict[tuple[bool, int, int, str], deque[Ticket]] = {}

    def lane(self, each: Ticket) -> deque[Ticket]:
        key = (each.patient, each.level, each.mask, each.caller)
        return self.waiting.setdefault(key, deque())

    @rule(
        caller=CALLERS,
        level=st.sampled_from([FIRST, ORDINARY]),
        mask=st.integers(1, 7),
        patient=st.booleans(),
    )
    def push(self, caller: str, level: int, mask: int, patient: bool) -> None:
        each = ticket(caller, level=level, mask=mask, patient=patient)
        self.queue.push(each)
        self.lane(each).append(each)

    @rule(bits=st.sampled_from([1, 2, 4]))
    def pop(self, bits: int) -> None:
        popped = self.queue.pop(bits)
        eligible = any(mask & bits and lane for (_, _, mask, _), lane in self.waiting.items())
        assert (popped is not None) == eligible, "a free slot and someone who could use it"
        if popped is not None:
            assert popped.mask & bits
            assert self.lane(popped).popleft() is popped

    @rule(mask=st.integers(1, 7))
    def pop_exactly(self, mask: int) -> None:
        popped = self.queue.pop(mask, exact=True)
        assert (popped is not None) == any(
            lane for (_, _, found, _), lane in self.waiting.items() if found == mask
        )
        if popped is not None:
            assert self.lane(popped).popleft() is popped

    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        there = [each for lane in self.waiting.values() for each in lane]
        if there:
            each = data.draw(st.sampled_from(there))
            self.queue.remove(each)
            self.lane(each).remove(each)

    @invariant()
    def counts_agree(self) -> None:
        there = [each for lane in self.waiting.values() for each in lane]
        assert self.queue.waiting == len(there)
        assert self.queue.unary == sum(not each.patient for each in there)
        assert self.queue.masks() == {each.mask for each in there}
        for mask in range(1, 8):
            expected = sum(each.mask == mask and not each.patient for each in there)
            assert self.queue.unary_for(mask) == expected


TestReference = Reference.TestCase
