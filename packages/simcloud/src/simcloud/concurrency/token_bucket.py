"""How much may happen at once, and how often over time; pure."""

from __future__ import annotations

# Sums of the same steps differ by a rounding.
_ROUNDING_S = 1e-9


class TokenBucket:
    """A bucket that is full at first, as the generic cell rate algorithm keeps it.

    Source: ITU-T I.371, annex A, virtual scheduling: the time at which it will be full again is all
    that a bucket has to remember.
    """

    __slots__ = ("_full_at",)

    def __init__(self) -> None:
        self._full_at = float("-inf")

    def take(self, now: float, *, per_s: float, at_once: int) -> float:
        """Takes one token, if there is one.

        Args:
            now: seconds of a clock that never goes back.
            per_s: tokens that come back a second.
            at_once: tokens of a full bucket, at least one.

        Returns:
            0.0 when it was taken, else how long until there will be one, seconds.
        """
        full_at = max(self._full_at, now)
        wait_s = full_at - now - (at_once - 1) / per_s
        if wait_s > _ROUNDING_S:
            return wait_s
        self._full_at = full_at + 1.0 / per_s
        return 0.0
