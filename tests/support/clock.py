"""A clock that moves when the test says so."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush


class ManualClock:
    """A ``simcloud.clock.Clock`` that stands still until ``advance``."""

    def __init__(self, *, monotonic: float = 1_000.0, time: float = 1_750_000_000.0) -> None:
        self._monotonic = monotonic
        self._time = time

    def monotonic(self) -> float:
        """Seconds since an unspecified origin."""
        return self._monotonic

    def time(self) -> float:
        """Seconds since the Unix epoch."""
        return self._time

    def advance(self, seconds: float) -> None:
        """Lets time pass.

        Raises:
            ValueError: ``seconds`` is negative: a monotonic clock never goes back.
        """
        if seconds < 0:
            raise ValueError(f"a monotonic clock never goes back, found {seconds}")
        self._monotonic += seconds
        self._time += seconds


class VirtualTime(ManualClock):
    """A clock on which things come due; it stands still until ``step``.

    What is measured on it is what was asked for, however slow the machine is.
    """

    def __init__(self) -> None:
        super().__init__()
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self.called = 0
        """Callbacks that were called."""

    @property
    def waiting(self) -> int:
        """Callbacks that are not due yet."""
        return len(self._due)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Has ``callback`` called when so much of this clock's time has passed."""
        number = self.called + len(self._due)
        heappush(self._due, (self.monotonic() + delay_s, number, callback))

    def step(self) -> None:
        """Goes on to when the next one is due, and calls it."""
        due, _, callback = heappop(self._due)
        self.advance(max(0.0, due - self.monotonic()))
        self.called += 1
        callback()
