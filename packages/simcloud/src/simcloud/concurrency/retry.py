"""When to try again: jittered back-off and a budget for retries. Pure, no clock of its own."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from random import Random

from simcloud.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Full-jitter exponential back-off.

    ``delay_s`` draws uniformly from [0, min(cap, base * multiplier^attempt)]: clients that failed
    together don't come back together (AWS Architecture Blog, "Exponential Backoff And Jitter").
    """

    base_s: float = 0.05
    """Upper end of the first delay, seconds."""
    cap_s: float = 20.0
    """Largest upper end, seconds."""
    multiplier: float = 2.0
    """Growth of the upper end with each attempt."""

    def __post_init__(self) -> None:
        if not (0 < self.base_s <= self.cap_s and self.multiplier >= 1):
            raise ValueError(f"need 0 < base_s <= cap_s and multiplier >= 1, found {self}")

    def ceiling_s(self, attempt: int) -> float:
        """Largest delay before retry number ``attempt``, counted from 0, seconds."""
        # The power of a late attempt would overflow a float; it is above any cap long before.
        return min(self.cap_s, self.base_s * self.multiplier ** min(attempt, 64))

    def delay_s(self, attempt: int, random: Random, *, retry_after_s: float | None = None) -> float:
        """Delay before retry number ``attempt``, counted from 0, seconds.

        Args:
            attempt: retries made before this one.
            random: where the jitter is drawn from.
            retry_after_s: what the other side asked for; the delay is never shorter.
        """
        delay = random.uniform(0, self.ceiling_s(attempt))
        return delay if retry_after_s is None else retry_after_s + delay


class RetryBudget:
    """Retries as a share of requests, so that an outage is not multiplied by those who retry.

    At most ``ratio`` of the requests of the last ``window_s`` seconds, plus ``floor_per_s`` for
    processes that ask seldom (Finagle's defaults: 20 %, 10 a second, 10 s).
    """

    _SLOTS = 10

    def __init__(
        self,
        clock: Clock,
        *,
        ratio: float = 0.2,
        floor_per_s: float = 10.0,
        window_s: float = 10.0,
    ) -> None:
        if ratio < 0 or floor_per_s < 0 or window_s <= 0:
            raise ValueError("ratio and floor_per_s must be 0 or more, window_s more than 0")
        self._clock = clock
        self._ratio = ratio
        self._floor = floor_per_s * window_s
        self._slot_s = window_s / self._SLOTS
        # (slot number, requests, retries) of the window, oldest first.
        self._slots: deque[list[int]] = deque()
        self._slot_ends = float("-inf")
        self._requests = 0
        self._retries = 0

    def record_request(self) -> None:
        """Counts a first attempt."""
        self._slot()[1] += 1
        self._requests += 1

    def try_spend(self) -> bool:
        """Takes one retry out of the budget; False means: give the error to the caller."""
        slot = self._slot()
        if self._retries + 1 > self._ratio * self._requests + self._floor:
            return False
        slot[2] += 1
        self._retries += 1
        return True

    @property
    def balance(self) -> float:
        """Retries that may still be spent now."""
        self._slot()
        return self._ratio * self._requests + self._floor - self._retries

    def _slot(self) -> list[int]:
        now = self._clock.monotonic()
        if now < self._slot_ends:
            return self._slots[-1]
        number = int(now / self._slot_s)
        self._slot_ends = (number + 1) * self._slot_s
        while self._slots and self._slots[0][0] <= number - self._SLOTS:
            _, requests, retries = self._slots.popleft()
            self._requests -= requests
            self._retries -= retries
        if not self._slots or self._slots[-1][0] != number:
            self._slots.append([number, 0, 0])
        return self._slots[-1]
