"""When a shard's next stream is opened after one that ended too early, or none any more. Pure."""

from __future__ import annotations

import random

from simcloud.concurrency import Backoff
from simcloud.errors import SimcloudError, Transient


class Trouble:
    """Streams that ended too early one after another, and got nowhere.

    Args:
        patience_s: how long it is gone on with, seconds.
        rng: source of the jitter.
    """

    def __init__(self, *, patience_s: float, rng: random.Random) -> None:
        self._patience_s = patience_s
        self._rng = rng
        self._backoff = Backoff(base_s=0.1, cap_s=5.0)
        self._attempt = 0
        self._since_s: float | None = None
        self._told: SimcloudError | None = None

    def is_over(self) -> None:
        """A stream got somewhere: what comes next is a trouble of its own."""
        self._attempt, self._since_s, self._told = 0, None, None

    def delay_s(self, error: SimcloudError, *, broke: bool, now_s: float) -> float:
        """Seconds until the next stream is opened.

        Args:
            error: with which the last one ended.
            broke: nobody said it; the stream just broke.
            now_s: time of a clock that never goes back.

        Raises:
            SimcloudError: it has lasted too long.
        """
        # What the uploader said of this trouble says more than that a stream broke once again.
        self._told = self._told if broke else error
        self._since_s = self._since_s or now_s
        after = error.retry_after_s if isinstance(error, Transient) else None
        delay_s = self._backoff.delay_s(self._attempt, self._rng, retry_after_s=after)
        if now_s + delay_s > self._since_s + self._patience_s:
            raise self._told or error
        self._attempt += 1
        return delay_s
