"""When a call to S3 is tried again, and how long it waits: jittered, within a budget."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from simcloud.errors import StorageError
from simcloud.s3.errors import ConditionalConflict

ResultT = TypeVar("ResultT")
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how fast.

    A retry costs one token of a bucket that every success refills a little, so that a server that
    is down is not hammered by everything at once.
    """

    attempts: int = 6
    """Tries in all, the first included."""
    first_delay_s: float = 0.1
    """Upper bound of the first wait; it doubles each time."""
    max_delay_s: float = 5.0
    """Upper bound of any wait, unless S3 names a longer one."""
    budget: float = 100.0
    """Tokens of the bucket."""
    refill: float = 0.2
    """Tokens a success puts back: one retry for five successes, once the bucket is empty."""


class Retrier:
    """Tries again while it may help; shared by all calls of a store.

    Args:
        policy: how often and how fast.
        sleep: waits, in seconds.
        rng: source of the jitter.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        sleep: Sleep = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.policy = policy
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311 - jitter is no secret
        self._tokens = policy.budget
        self.retries = 0
        """Retries made so far."""

    async def run(self, call: Callable[[int], Awaitable[ResultT]]) -> ResultT:
        """What ``call`` returns in the end; it gets the number of the try, from 0.

        Raises:
            SimcloudError: the last try's error, or the first that no retry can cure.
        """
        attempt = 0
        while True:
            try:
                result = await call(attempt)
            except (StorageError, ConditionalConflict) as error:
                attempt += 1
                if attempt >= self.policy.attempts or self._tokens < 1:
                    raise
                self._tokens -= 1
                self.retries += 1
                await self._sleep(self._delay(attempt, error))
            else:
                self._tokens = min(self.policy.budget, self._tokens + self.policy.refill)
                return result

    def _delay(self, attempt: int, error: Exception) -> float:
        bound = min(self.policy.max_delay_s, self.policy.first_delay_s * 2.0 ** (attempt - 1))
        # full jitter: callers that failed together don't come back together
        delay = self._rng.uniform(0.0, bound)
        asked = error.retry_after_s if isinstance(error, StorageError) else None
        return max(delay, asked or 0.0)
