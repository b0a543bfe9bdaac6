"""How many parts may be on their way to S3 at once: additive increase, multiplicative decrease."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from simcloud.clock import Clock
from simcloud.telemetry import metrics
from simcloud_uploader.metrics import UPLOAD_LIMIT

_DECREASE_EVERY_S = 1.0
"""One SlowDown seldom comes alone: those of one burst count once."""


class AdaptiveSlots:
    """A semaphore whose size follows S3: 1 to ``largest``, halved by SlowDown.

    Waiting is in order. A cancel while waiting takes nothing.
    """

    def __init__(self, largest: int, clock: Clock) -> None:
        self._largest = largest
        self._limit = float(largest)
        self._clock = clock
        self._last_decrease = -_DECREASE_EVERY_S
        self._taken = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._gauge = metrics.gauge(UPLOAD_LIMIT)
        self._gauge.set(largest)

    @property
    def limit(self) -> int:
        """Slots there are now."""
        return max(1, int(self._limit))

    @property
    def taken(self) -> int:
        """Slots in use now."""
        return self._taken

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Holds a slot during the block."""
        await self._acquire()
        try:
            yield
        finally:
            self._taken -= 1
            self._wake()

    def succeeded(self) -> None:
        """S3 took a part: one slot more for a full round of them."""
        self._limit = min(self._largest, self._limit + 1.0 / self._limit)
        self._gauge.set(self.limit)
        self._wake()

    def slow_down(self) -> None:
        """S3 asked for less."""
        now = self._clock.monotonic()
        if now - self._last_decrease >= _DECREASE_EVERY_S:
            self._last_decrease = now
            self._limit = max(1.0, self._limit / 2)
            self._gauge.set(self.limit)

    async def _acquire(self) -> None:
        if not self._waiting and self._taken < self.limit:
            self._taken += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._taken -= 1
            else:
                with contextlib.suppress(ValueError):
                    self._waiting.remove(turn)
            self._wake()
            raise

    def _wake(self) -> None:
        while self._waiting and self._taken < self.limit:
            turn = self._waiting.popleft()
            if not turn.done():
                self._taken += 1
                turn.set_result(None)
