"""How long a target takes: a peak-sensitive average for choosing, a quantile for hedging; pure."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from math import exp

TAU_S = 10.0
"""Time in which a peak is forgotten to 1/e (Finagle's and Envoy's peak EWMA)."""

MEAN_OF = 32
"""Answers that a plain average is of, the latest counting most."""

WINDOW = 256
"""Latest answers that a quantile is taken from."""


class PeakEwma:
    """Average time of one target that rises at once and falls slowly.

    It falls while nothing is asked, too: a target that was slow once is tried again.
    """

    __slots__ = ("_at", "_tau_s", "_value", "mean_s")

    def __init__(self, *, tau_s: float = TAU_S) -> None:
        self._tau_s = tau_s
        self._value = 0.0
        self._at = 0.0
        self.mean_s = 0.0
        """Plain average of the latest answers, which one slow one does not decide; 0: unknown."""

    def observe(self, seconds: float, now: float) -> None:
        """One more answer.

        Args:
            seconds: how long it took.
            now: seconds on any clock that never goes back.
        """
        self.mean_s += (seconds - self.mean_s) / MEAN_OF if self.mean_s else seconds
        weight = exp((self._at - now) / self._tau_s) if self._value else 0.0
        if seconds >= self._value:
            self._value = seconds
        else:
            self._value = self._value * weight + seconds * (1.0 - weight)
        self._at = now

    def value(self, now: float) -> float:
        """The average now, seconds; 0: nothing is known."""
        return self._value * exp((self._at - now) / self._tau_s)


class RunningQuantile:
    """An exact quantile of the latest ``WINDOW`` times; O(log n) and one small move of memory.

    Args:
        fraction: for example 0.95.
        minimum_samples: below it there is none.
    """

    __slots__ = ("_fraction", "_minimum", "_order", "_sorted")

    def __init__(self, fraction: float, *, minimum_samples: int) -> None:
        self._fraction = fraction
        self._minimum = minimum_samples
        self._order: deque[float] = deque()
        self._sorted: list[float] = []

    def observe(self, seconds: float) -> None:
        """One more time; the oldest goes when the window is full."""
        if len(self._order) == WINDOW:
            del self._sorted[bisect_left(self._sorted, self._order.popleft())]
        self._order.append(seconds)
        insort(self._sorted, seconds)

    @property
    def value(self) -> float | None:
        """The quantile, seconds: the smallest time that ``fraction`` of all don't exceed."""
        if len(self._sorted) < self._minimum:
            return None
        return self._sorted[int(self._fraction * (len(self._sorted) - 1))]
