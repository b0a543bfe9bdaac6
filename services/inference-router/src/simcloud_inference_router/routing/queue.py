"""The door of a target: slots under the adaptive limit, and a bounded wait for them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from simcloud.clock import Clock
from simcloud.errors import DeadlineExceeded, Overloaded
from simcloud_inference_router.routing.limiter import AimdLimit
from simcloud_inference_router.targets.base import Failure, TargetAnswer

QUEUE_FULL_RETRY_S = 0.5
"""Pause that refused callers are told."""


class Slot:
    """A right to ask the target once; given back when its context ends."""

    def __init__(self, *, waited_s: float, entered_at: float, in_flight: int) -> None:
        self.waited_s = waited_s
        self.entered_at = entered_at
        self.in_flight = in_flight
        self.outcome: TargetAnswer | Failure | None = None
        """What became of it; the limit learns from it. None: given up."""


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

    @asynccontextmanager
    async def slot(self, *, deadline: float | None, patient: bool) -> AsyncIterator[Slot]:
        """Waits for a slot; on exit gives it back and learns from ``Slot.outcome``.

        Args:
            deadline: latest moment on the clock; None waits as long as it takes.
            patient: whether this is a stream's frame.

        Raises:
            Overloaded: the queue is full.
            DeadlineExceeded: no slot came free in time.
        """
        begun = self._clock.monotonic()
        await self._enter(begun, deadline, patient=patient)
        now = self._clock.monotonic()
        slot = Slot(waited_s=now - begun, entered_at=now, in_flight=self._in_flight)
        try:
            yield slot
        finally:
            self._leave(slot)

    async def _enter(self, now: float, deadline: float | None, *, patient: bool) -> None:
        if deadline is not None and now >= deadline:
            raise self._too_late(0.0)
        queue = self._frames if patient else self._unary
        if self._in_flight < self.limit and not self.waiting:
            self._in_flight += 1
            return
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

    def _leave(self, slot: Slot) -> None:
        match slot.outcome:
            case TargetAnswer():
                self._limit.succeeded(slot.in_flight)
            case Failure(shrink=True):
                now = self._clock.monotonic()
                self._limit.overloaded(sent_at=slot.entered_at, now=now)
            case _:
                pass
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
