"""How many requests a target is asked at once: additive increase, multiplicative decrease; pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Bounds of an adaptive limit."""

    start: int = 8
    """Limit before anything is known."""
    minimum: int = 1
    """Never below: the endpoint's autoscaler must see demand."""
    maximum: int = 64
    """Never above."""
    decrease: float = 0.7
    """Factor on overload, in (0, 1)."""


class AimdLimit:
    """The limit of one target.

    It grows by one per limit's worth of successes, and only while it is used: an idle target
    proves nothing. It shrinks once per overload episode: refusals of requests that were sent
    before the last decrease speak of the old limit.
    """

    def __init__(self, settings: LimitSettings) -> None:
        self._settings = settings
        self._value = float(settings.start)
        self._decreased_at = float("-inf")

    @property
    def limit(self) -> int:
        """Requests that may be in flight."""
        return int(self._value)

    def succeeded(self, in_flight: int) -> None:
        """The target answered.

        Args:
            in_flight: requests that were in flight with this one, itself included.
        """
        if in_flight * 2 >= self.limit:
            self._value = min(self._value + 1.0 / self._value, float(self._settings.maximum))

    def overloaded(self, *, sent_at: float, now: float) -> None:
        """The target said that it has too much to do, or can't be reached.

        Args:
            sent_at: when the request was sent, on the clock of ``now``.
            now: seconds.
        """
        if sent_at < self._decreased_at:
            return
        self._value = max(self._value * self._settings.decrease, float(self._settings.minimum))
        self._decreased_at = now
