"""The one door of a model: who goes to which target when, and a bounded wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from simcloud.clock import Clock
from simcloud.errors import DeadlineExceeded, InvalidRequest, NotReady, Overloaded
from simcloud_inference_router.model_options import ColdStartOptions
from simcloud_inference_router.routing.fair_queue import FairQueue, Ticket, level_of
from simcloud_inference_router.routing.roster import Grant, Roster
from simcloud_inference_router.routing.routed_target import RoutedTarget, TargetSnapshot
from simcloud_inference_router.target_entry import TargetEntry
from simcloud_inference_router.targets.base import Failure, TargetAnswer

QUEUE_FULL_RETRY_S = 0.5
"""Pause that refused callers are told."""

DRAINED_RETRY_S = 5.0
"""Pause that they are told while every target is drained: until an operator gives one back."""


class _Waiter(Ticket):
    __slots__ = ("begun", "deadline", "future", "held_since", "timer")

    def __init__(
        self,
        *,
        caller: str,
        priority: int,
        mask: int,
        patient: bool,
        deadline: float | None,
        begun: float,
        held_since: float,
        future: asyncio.Future[Grant],
    ) -> None:
        super().__init__(caller=caller, level=level_of(priority), mask=mask, patient=patient)
        self.deadline = deadline
        self.begun = begun
        self.held_since = held_since
        self.future = future
        self.timer: asyncio.TimerHandle | None = None


class Door:
    """Admits requests to the targets of one model.

    Whoever finds no free slot waits in one bounded queue (``FairQueue``) and is given a target only
    when one has a slot. A waiter whose deadline passes leaves with ``DeadlineExceeded``, a
    cancelled one leaves nothing behind. No await stands between reading and writing the state, no
    waiter has a task, and no one waits while a target that it may go to has room.

    Args:
        model: name for messages.
        roster: its targets.
        cold_start: whether targets that are scaled to zero are waited for.
        clock: for waits and deadlines.
    """

    def __init__(
        self, *, model: str, roster: Roster, cold_start: ColdStartOptions | None, clock: Clock
    ) -> None:
        self.roster = roster
        self._model = model
        self._cold_start = cold_start
        self._clock = clock
        self._queue = FairQueue()
        self._wake: asyncio.TimerHandle | None = None

    @property
    def in_flight(self) -> int:
        """Requests at all targets."""
        return sum(each.in_flight for each in self.roster.targets)

    @property
    def limit(self) -> int:
        """Sum of the limits in force."""
        return sum(each.limit.limit for each in self.roster.targets)

    @property
    def waiting(self) -> int:
        """Requests and frames that wait for a slot."""
        return self._queue.waiting

    def snapshot(self) -> tuple[TargetSnapshot, ...]:
        """The targets as they are now."""
        now = self._clock.monotonic()
        return tuple(each.snapshot(now) for each in self.roster.targets)

    @property
    def out_of_service(self) -> str:
        """Why no request is taken; empty: some are, though they may have to wait."""
        return "" if self.roster.takes(self.roster.ordinary) else "every target is drained"

    def enter(self, mask: int, now: float) -> Grant | None:
        """A slot at once, or None."""
        target = self.roster.choose(mask, now)
        return None if target is None else self.roster.grant(target, now)

    def has_room(self, mask: int) -> bool:
        """Whether one more unary request may wait: the limits' worth may, or a tenth of a second's.

        Of those that wait for just these targets, and of all.
        """
        queue, roster = self._queue, self.roster
        return queue.unary_for(mask) < roster.room(mask) and (
            queue.unary < roster.room(roster.everyone)
        )

    def refuse_if_full(self) -> None:
        """Refuses a unary request that ``wait`` would refuse too, before work is spent on it.

        Whatever it is, and wherever it has to go: no target has a slot, drained and ejected ones
        among them, which some requests are let through to.

        Raises:
            Overloaded: no target has a slot, and as many wait as may.
        """
        queue, roster = self._queue, self.roster
        if not queue.unary or queue.unary < roster.room(roster.everyone):
            return
        if roster.takes(roster.everyone) and not any(each.has_slot for each in roster.targets):
            raise self._busy(roster.everyone)

    async def wait(
        self,
        mask: int,
        *,
        caller: str,
        priority: int,
        patient: bool,
        deadline: float | None,
        held_since: float,
    ) -> Grant:
        """Waits for a slot, after ``enter`` gave none.

        Cancelling leaves nothing behind.

        Args:
            mask: of the targets that it may go to.
            caller: callers are served in turn.
            priority: OIP's; 1 goes first.
            patient: whether this is a stream's frame, which waits however many others do.
            deadline: latest moment on the clock; None waits as long as it takes.
            held_since: since when it has waited for a cold target, earlier waits included.

        Raises:
            Overloaded: the queue is full.
            DeadlineExceeded: no slot came free in time.
            NotReady: every target is drained, or a cold one did not come up in time.
        """
        if not self.roster.takes(mask):
            raise self._all_drained()
        if not patient and not self.has_room(mask):
            raise self._busy(mask)
        waiter = _Waiter(
            caller=caller,
            priority=priority,
            mask=mask,
            patient=patient,
            deadline=deadline,
            begun=self._clock.monotonic(),
            held_since=held_since,
            future=asyncio.get_running_loop().create_future(),
        )
        self._queue.push(waiter)
        self._set_timer(waiter, held_since)
        self._set_wake()
        try:
            return await waiter.future
        except BaseException:
            self._give_up(waiter)
            raise
        finally:
            if waiter.timer is not None:
                waiter.timer.cancel()

    def leave(self, grant: Grant, outcome: TargetAnswer | Failure | None, now: float) -> None:
        """Takes a slot back, learns from what became of it, and gives it to who is next.

        Args:
            grant: from ``enter`` or ``wait``; used once.
            outcome: None when it was given up.
            now: seconds.
        """
        changed = self.roster.learn(grant, outcome, now)
        if self._queue.waiting:
            if changed:
                self._admit_all(now)
            else:
                self._admit(grant.target, now)

    def set_weight(self, name: str, weight: float) -> None:
        """Changes a target's share at once, also for those who wait; 0 drains it.

        Raises:
            NotFound: the model has no such target.
            InvalidRequest: the weight is negative or not a number.
        """
        if not 0 <= weight < float("inf"):
            raise InvalidRequest("weight", f"must be 0 or more, found {weight}")
        target = self.roster.target(name)
        target.weight = weight
        self._changed(target)

    def drain(self, name: str) -> None:
        """Lets nothing new go to a target; what is there, and sessions that live there, go on.

        Raises:
            NotFound: the model has no such target.
        """
        target = self.roster.target(name)
        target.drained = True
        self._changed(target)

    def undrain(self, name: str) -> None:
        """Ends a drain; the target has the weight that it had.

        Raises:
            NotFound: the model has no such target.
        """
        target = self.roster.target(name)
        target.drained = False
        self._changed(target)

    def adopt(self, entries: Sequence[TargetEntry]) -> None:
        """Takes over a new catalogue's entries of the targets: their weights and their prices.

        What was set by hand for a target holds as long as its entry's weight stays the same.

        Args:
            entries: those of all the targets, and others.
        """
        new = {each.name: each for each in entries}
        now = self._clock.monotonic()
        changed = [each for each in self.roster.targets if each.adopt(new[each.name], now)]
        if changed:
            self._changed(*changed)

    def _changed(self, *targets: RoutedTarget) -> None:
        # All before anyone is looked at: traffic that goes from one to another is never nowhere.
        for target in targets:
            target.refresh()
        for mask in self._queue.masks():
            if not self.roster.takes(mask):
                while (waiter := self._pop(mask)) is not None:
                    if not waiter.future.done():
                        waiter.future.set_exception(self._all_drained())
        self._admit_all(self._clock.monotonic())

    def _admit(self, target: RoutedTarget, now: float) -> None:
        """After a slot of a target came free."""
        while target.has_room(now):
            waiter = self._queue.pop(target.accepts)
            if waiter is None:
                return
            assert isinstance(waiter, _Waiter)
            self._hand_over(waiter, target, now)

    def _admit_all(self, now: float) -> None:
        """After a change that may concern any target."""
        for mask in self._queue.masks():
            while (target := self.roster.choose(mask, now)) is not None:
                waiter = self._pop(mask)
                if waiter is None:
                    break
                self._hand_over(waiter, target, now)
        self._set_wake()

    def _pop(self, mask: int) -> _Waiter | None:
        waiter = self._queue.pop(mask, exact=True)
        assert waiter is None or isinstance(waiter, _Waiter)
        return waiter

    def _hand_over(self, waiter: _Waiter, target: RoutedTarget, now: float) -> None:
        # One that was cancelled in this very turn of the loop takes nothing.
        if not waiter.future.done():
            waiter.future.set_result(self.roster.grant(target, now))

    def _give_up(self, waiter: _Waiter) -> None:
        self._queue.remove(waiter)
        future = waiter.future
        if future.done() and not future.cancelled() and future.exception() is None:
            # Granted in the same turn of the loop in which the waiter gave up.
            self.leave(future.result(), None, self._clock.monotonic())

    def _busy(self, mask: int) -> Overloaded:
        takers = [each for each in self.roster.targets if each.accepts & mask]
        names = ", ".join(each.name for each in takers)
        # No number that changes with each request: who says the same again says it cheaply.
        return Overloaded(
            f"model {self._model} is busy: no slot of {names} is free (they have "
            f"{sum(each.limit.limit for each in takers)}), and as many wait as may; "
            "try again later",
            retry_after_s=QUEUE_FULL_RETRY_S,
            model=self._model,
        )

    def _set_timer(self, waiter: _Waiter, held_since: float) -> None:
        until = waiter.deadline
        if self._cold_start is not None:
            held_until = held_since + self._cold_start.max_wait_s
            until = held_until if until is None else min(until, held_until)
        if until is not None:
            delay_s = max(until - self._clock.monotonic(), 0.0)
            waiter.timer = asyncio.get_running_loop().call_later(delay_s, self._expire, waiter)

    def _expire(self, waiter: _Waiter) -> None:
        if waiter.future.done():
            return
        now = self._clock.monotonic()
        if waiter.deadline is not None and now >= waiter.deadline:
            error: Exception = self.too_late(now - waiter.begun)
        elif not self.roster.is_open(waiter.mask) and self._held_out(waiter, now):
            error = self._still_cold(now - waiter.held_since)
        else:
            # The loop's clock was early, or the targets are busy and no longer cold.
            early = self._cold_start is None or not self._held_out(waiter, now)
            self._set_timer(waiter, waiter.held_since if early else now)
            return
        self._queue.remove(waiter)
        waiter.future.set_exception(error)

    def _held_out(self, waiter: _Waiter, now: float) -> bool:
        return (
            self._cold_start is not None and now >= waiter.held_since + self._cold_start.max_wait_s
        )

    def _set_wake(self) -> None:
        """Sees to it that a target that is shut is probed when its time comes, if someone waits."""
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None
        if self.roster.shut and self._queue.waiting:
            now = self._clock.monotonic()
            at = self.roster.next_probe_at(now)
            if at is not None:
                self._wake = asyncio.get_running_loop().call_later(at - now, self._woken)

    def _woken(self) -> None:
        self._wake = None
        self._admit_all(self._clock.monotonic())

    def too_late(self, waited_s: float) -> DeadlineExceeded:
        """What a caller is told whose time ended before a slot was free."""
        message = (
            f"the deadline passed before a target of model {self._model} was free "
            f"({waited_s:.3f} s in its queue); nothing was sent"
        )
        return DeadlineExceeded(message, model=self._model)

    def _all_drained(self) -> NotReady:
        message = (
            f"every target of model {self._model} that takes this request is drained; give one a "
            "weight"
        )
        return NotReady(message, retry_after_s=DRAINED_RETRY_S, model=self._model)

    def _still_cold(self, waited_s: float) -> NotReady:
        assert self._cold_start is not None
        message = (
            f"model {self._model} is scaled to zero and did not come up within {waited_s:.0f} s; "
            "it is being started: try again later"
        )
        pause_s = self._cold_start.probe_every_s
        return NotReady(message, retry_after_s=pause_s, model=self._model)
