"""A clock that moves when the test says so."""

from __future__ import annotations


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
