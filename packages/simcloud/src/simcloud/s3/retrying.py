"""When a call to S3 is tried again: jittered, few times, and within a budget of the store."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from simcloud.clock import SYSTEM_CLOCK, Clock
from simcloud.concurrency.retry import Backoff, RetryBudget
from simcloud.concurrency.service import OneOperation
from simcloud.errors import StorageError
from simcloud.s3.errors import BadDigest, ConditionalConflict

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")
Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how fast one call is tried."""

    attempts: int = 6
    """Tries in all, the first included."""
    backoff: Backoff = field(default_factory=lambda: Backoff(base_s=0.1, cap_s=5.0))
    """Waits between them."""


class Retrier:
    """Tries again while it may help; shared by all calls of a store, so that they share its budget.

    Args:
        policy: how often and how fast.
        clock: tells the budget's time.
        sleep: waits, in seconds.
        rng: source of the jitter.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        clock: Clock = SYSTEM_CLOCK,
        sleep: Sleep = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.policy = policy
        self._budget = RetryBudget(clock)
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311 - jitter is no secret
        self.retries = 0
        """Retries made so far."""

    async def run(self, call: Callable[[int], Awaitable[ResultT]]) -> ResultT:
        """What ``call`` returns in the end; it gets the number of the try, from 0.

        Raises:
            SimcloudError: the last try's error, or the first that no retry can cure.
        """
        self._budget.record_request()
        attempt = 0
        while True:
            try:
                return await call(attempt)
            except (StorageError, ConditionalConflict, BadDigest) as error:
                if attempt and isinstance(error, BadDigest):
                    raise  # a line damages a body once; twice, the checksum is wrong
                if attempt + 1 >= self.policy.attempts or not self._budget.try_spend():
                    raise
                asked = error.retry_after_s if isinstance(error, StorageError) else None
                delay = self.policy.backoff.delay_s(attempt, self._rng, retry_after_s=asked)
            attempt += 1
            self.retries += 1
            await self._sleep(delay)


async def for_each(
    items: Iterable[ItemT] | AsyncIterable[ItemT],
    call: Callable[[ItemT], Awaitable[ResultT]],
    *,
    limit: int,
) -> list[ResultT]:
    """``call`` of every item, at most ``limit`` at a time; results in the items' order.

    Items are taken as there is room. The first error stops the rest and is raised as it is.
    """
    results: dict[int, ResultT] = {}
    room = asyncio.Semaphore(limit)

    async def one(position: int, item: ItemT) -> None:
        try:
            results[position] = await call(item)
        finally:
            room.release()

    async with OneOperation() as group:
        position = 0
        async for item in _each(items):
            await room.acquire()
            group.create_task(one(position, item))
            position += 1
    return [results[position] for position in sorted(results)]


async def _each(items: Iterable[ItemT] | AsyncIterable[ItemT]) -> AsyncIterable[ItemT]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
