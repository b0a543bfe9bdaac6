"""Log lines of what may happen thousands of times a second."""

from __future__ import annotations

from simcloud.concurrency import TokenBucket


class LineLimit:
    """Lets so many like lines through, and counts the others for the next one to tell.

    Args:
        per_s: lines a second, over time.
        at_once: lines that may come at once after a pause.
    """

    __slots__ = ("_at_once", "_bucket", "_left_out", "_per_s")

    def __init__(self, *, per_s: float, at_once: int) -> None:
        self._per_s = per_s
        self._at_once = at_once
        self._bucket = TokenBucket()
        self._left_out = 0

    def passes(self, now: float) -> bool:
        """Whether there is to be a line, ``now`` in seconds of a clock that never goes back."""
        if self._bucket.take(now, per_s=self._per_s, at_once=self._at_once):
            self._left_out += 1
            return False
        return True

    def left_out(self) -> int:
        """How many had none since this was asked last."""
        left_out, self._left_out = self._left_out, 0
        return left_out
