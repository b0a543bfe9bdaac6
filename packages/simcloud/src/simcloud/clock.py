"""Clocks as arguments: code that decides by time is given one, so that tests own the time."""

from __future__ import annotations

import time
from typing import Final, Protocol


class Clock(Protocol):
    """What tells the time."""

    def monotonic(self) -> float:
        """Seconds since an unspecified origin; never goes back. For intervals and deadlines."""
        ...

    def time(self) -> float:
        """Seconds since the Unix epoch, UTC; may jump. For what people and other hosts read."""
        ...


class SystemClock:
    """The clock of this machine."""

    __slots__ = ()

    # The functions themselves: a method around them would cost three times as much, and a request
    # asks a dozen times.
    monotonic = staticmethod(time.monotonic)
    time = staticmethod(time.time)


SYSTEM_CLOCK: Final[Clock] = SystemClock()
