"""The door of a target: slots under the adaptive limit, and a bounded wait for them."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Self

import grpc

from simcloud.clock import Clock
from simcloud.errors import DeadlineExceeded, Overloaded
from simcloud_inference_router.routing.limiter import AimdLimit
from simcloud_inference_router.targets.base import Failure, TargetAnswer

QUEUE_FULL_RETRY_S = 0.5
"""Pause that refused callers are told."""


UNAVAILABLE_AFTER = 3
"""Attempts in a row that found the target unavailable, after which it is shown as not ready."""


class Slot:
    """A right to ask the target once, within its ``async with``; given back at the end.

    A class and not ``@asynccontextmanager``, whose generator costs every request.
    """

    __slots__ = ("_deadline", "_gate", "_patient", "entered_at", "in_flight", "outcome", "waited_s")

    def __init__(self, gate: Gate, *, deadline: float | None, patient: bool) -> None:
        self._gate = gate
        self._deadline = deadline
        self._patient = patient
        self.waited_s = 0.0
        """Seconds in the queue, whether or not it led to a slot."""
        self.entered_at = 0.0
        self.in_flight = 0
        self.outcome: TargetAnswer | Failure | None = None
        """What became of it; the limit learns from it. None: given up."""

    async def __aenter__(self) -> Self:
        """Waits for the slot."""
        await self._gate.enter(self, deadline=self._deadline, patient=self._patient)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Gives it back."""
        self._gate.leave(self)


class Gate:
    """Admits requests to one target.

    Two queues, both first in, first out, served in turn while both hold someone:

    * unary requests: at most one limit's worth, beyond it ``Overloaded`` at once;
    * frames of streams, which their stream's credit bounds already: they wait.

    A waiter whose deadline passes leaves with ``DeadlineExceeded``; a cancelled one leaves nothing
    behind. No await stands between reading and writing the state.

    Args:
        target: name for messages.
        limit: how many at once.
        clock: for waits and deadlines.
    """

    def __init__(self, *, target: str, limit: AimdLimit, clock: Clock) -> None:
        self._target = target
        self._limit = limit
        self._clock = clock
        self._in_flight = 0
        self._unavailable = 0
        self._unary: deque[asyncio.Future[None]] = deque()
        self._frames: deque[asyncio.Future[None]] = deque()
        self._frames_are_next = False

    @property
    def limit(self) -> int:
        """Limit in force."""
        return self._limit.limit

    @property
    def in_flight(self) -> int:
        """Requests at the target."""
        return self._in_flight

    @property
    def waiting(self) -> int:
        """Requests and frames that wait for a slot."""
        return len(self._unary) + len(self._frames)

    @property
    def available(self) -> bool:
        """Whether the target answered lately: False after three attempts in a row without.

        No connection, 503 and "no capacity" count; a refusal or a failed model is an answer.
        """
        return self._unavailable < UNAVAILABLE_AFTER

    def slot(self, *, deadline: float | None, patient: bool) -> Slot:
        """A slot: entering it waits, leaving it gives it back and learns from ``Slot.outcome``.

        Args:
            deadline: latest moment on the clock; None waits as long as it takes.
            patient: whether this is a stream's frame.

        Raises:
            Overloaded: on entering: the queue is full.
            DeadlineExceeded: on entering: no slot came free in time.
        """
        return Slot(self, deadline=deadline, patient=patient)

    async def enter(self, slot: Slot, *, deadline: float | None, patient: bool) -> None:
        """Waits for a slot; for ``Slot`` alone."""
        begun = self._clock.monotonic()
        now = begun
        if self._in_flight < self.limit and not self.waiting:
            if deadline is not None and now >= deadline:
                raise self._too_late(0.0)
            self._in_flight += 1
        else:
            try:
                await self._wait(begun, deadline, patient=patient)
            finally:
                now = self._clock.monotonic()
                slot.waited_s = now - begun
        slot.entered_at = now
        slot.in_flight = self._in_flight

    async def _wait(self, now: float, deadline: float | None, *, patient: bool) -> None:
        if deadline is not None and now >= deadline:
            raise self._too_late(0.0)
        queue = self._frames if patient else self._unary
        if not patient and len(queue) >= self.limit:
            message = (
                f"target {self._target} is busy: {self._in_flight} requests in flight and "
                f"{len(queue)} waiting, limit {self.limit}; try again later"
            )
            raise Overloaded(message, retry_after_s=QUEUE_FULL_RETRY_S, target=self._target)
        waiter = asyncio.get_running_loop().create_future()
        queue.append(waiter)
        try:
            async with asyncio.timeout(None if deadline is None else deadline - now):
                await waiter
        except BaseException as exc:
            self._withdraw(waiter, queue)
            if isinstance(exc, TimeoutError):
                raise self._too_late(self._clock.monotonic() - now) from None
            raise

    def _withdraw(self, waiter: asyncio.Future[None], queue: deque[asyncio.Future[None]]) -> None:
        if waiter.done() and not waiter.cancelled():
            # Granted in the same turn of the loop in which the waiter gave up.
            self._in_flight -= 1
            self._admit()
        elif waiter in queue:
            queue.remove(waiter)

    def leave(self, slot: Slot) -> None:
        """Takes a slot back; for ``Slot`` alone."""
        outcome = slot.outcome
        if isinstance(outcome, TargetAnswer):
            self._limit.succeeded(slot.in_flight)
            self._unavailable = 0
        elif outcome is not None:
            unavailable = outcome.error.code is grpc.StatusCode.UNAVAILABLE
            self._unavailable = self._unavailable + 1 if unavailable else 0
            if outcome.shrink:
                self._limit.overloaded(sent_at=slot.entered_at, now=self._clock.monotonic())
        self._in_flight -= 1
        self._admit()

    def _admit(self) -> None:
        while self._in_flight < self.limit and (waiter := self._next()) is not None:
            if not waiter.done():
                waiter.set_result(None)
                self._in_flight += 1

    def _next(self) -> asyncio.Future[None] | None:
        first, second = (
            (self._frames, self._unary) if self._frames_are_next else (self._unary, self._frames)
        )
        queue = first or second
        if not queue:
            return None
        self._frames_are_next = queue is self._unary
        return queue.popleft()

    def _too_late(self, waited_s: float) -> DeadlineExceeded:
        message = (
            f"the deadline passed before target {self._target} was free "
            f"({waited_s:.3f} s in its queue); nothing was sent"
        )
        return DeadlineExceeded(message, target=self._target)
