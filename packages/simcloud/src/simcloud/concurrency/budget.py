"""Bytes in flight for a whole process: one budget, leases in the order they were asked for."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self


@dataclass(frozen=True, slots=True)
class BudgetStatistics:
    """A budget's figures, in bytes; ``peak`` is the largest ``in_use`` so far."""

    name: str
    limit: int
    in_use: int
    peak: int
    waiting: int


class ByteLease:
    """Bytes taken from a budget until ``release``.

    Made by ``ByteBudget`` alone. ``with lease:`` releases at the end of the block.
    """

    __slots__ = ("_budget", "_size")

    def __init__(self, budget: ByteBudget, size: int) -> None:
        self._budget = budget
        self._size = size

    @property
    def size(self) -> int:
        """Bytes that are held now; 0 after release."""
        return self._size

    def release(self) -> None:
        """Gives everything back. Idempotent, never waits."""
        self.shrink_to(0)

    def shrink_to(self, size: int) -> None:
        """Gives back all but ``size`` bytes.

        Raises:
            ValueError: ``size`` is negative or more than is held: a lease never grows (two leases
                that wait for each other to grow would never end); acquire another one.
        """
        if not 0 <= size <= self._size:
            raise ValueError(f"a lease of {self._size} bytes can't become one of {size}")
        freed = self._size - size
        self._size = size
        self._budget._give_back(freed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


class ByteBudget:
    """At most ``limit_bytes`` leased at any time.

    Leases are granted strictly in the order they were asked for: a large one is not overtaken by
    small ones for ever. Progress: whoever holds nothing is admitted as soon as those before it have
    released, since no lease may be larger than the limit.
    """

    def __init__(self, limit_bytes: int, *, name: str = "") -> None:
        """Makes a budget.

        Args:
            limit_bytes: most bytes leased at once, 1 or more.
            name: under which its figures are exported as metrics; unnamed ones are not.
        """
        if limit_bytes < 1:
            raise ValueError(f"limit_bytes must be 1 or more, found {limit_bytes}")
        self.name = name
        self._limit = limit_bytes
        self._in_use = 0
        self._peak = 0
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        _LIVE.add(self)

    @property
    def limit(self) -> int:
        """Most bytes leased at once."""
        return self._limit

    @property
    def in_use(self) -> int:
        """Bytes leased now."""
        return self._in_use

    @property
    def available(self) -> int:
        """Bytes not leased now; those who wait come first."""
        return self._limit - self._in_use

    @property
    def peak(self) -> int:
        """Largest ``in_use`` so far; never above ``limit``."""
        return self._peak

    @property
    def waiting(self) -> int:
        """Tasks that wait for a lease now."""
        return len(self._waiters)

    async def acquire(self, size: int) -> ByteLease:
        """Leases ``size`` bytes, waiting for its turn.

        Atomic under cancellation: when this raises ``CancelledError`` nothing is leased.

        Raises:
            ValueError: ``size`` is negative or larger than the whole budget.
        """
        lease = self.try_acquire(size)
        if lease is not None:
            return lease
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (size, turn)
        self._waiters.append(waiter)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back(size)
            else:
                with contextlib.suppress(ValueError):
                    self._waiters.remove(waiter)
                # A large one that gives up may have stood before small ones that fit.
                self._grant()
            raise
        return ByteLease(self, size)

    def try_acquire(self, size: int) -> ByteLease | None:
        """Leases ``size`` bytes now, or returns None if it would have to wait.

        Raises:
            ValueError: ``size`` is negative or larger than the whole budget.
        """
        if not 0 <= size <= self._limit:
            raise ValueError(
                f"{size} bytes can never be leased from the budget {self.name}".rstrip()
                + f" of {self._limit} bytes; ask for less or raise the limit"
            )
        if self._waiters or self._in_use + size > self._limit:
            return None
        self._take(size)
        return ByteLease(self, size)

    @asynccontextmanager
    async def reserve(self, size: int) -> AsyncIterator[ByteLease]:
        """Leases ``size`` bytes for the block ``async with budget.reserve(size):``."""
        with await self.acquire(size) as lease:
            yield lease

    def statistics(self) -> BudgetStatistics:
        """The budget's figures now."""
        return BudgetStatistics(
            name=self.name,
            limit=self._limit,
            in_use=self._in_use,
            peak=self._peak,
            waiting=len(self._waiters),
        )

    def _take(self, size: int) -> None:
        self._in_use += size
        self._peak = max(self._peak, self._in_use)

    def _give_back(self, size: int) -> None:
        self._in_use -= size
        self._grant()

    def _grant(self) -> None:
        while self._waiters:
            size, turn = self._waiters[0]
            if turn.done():
                # Cancelled, and its task has not run yet.
                self._waiters.popleft()
                continue
            if self._in_use + size > self._limit:
                return
            self._waiters.popleft()
            self._take(size)
            turn.set_result(None)


class BudgetLike(Protocol):
    """What counts bytes against a bound by other means than leases."""

    def statistics(self) -> BudgetStatistics:
        """Figures now."""


_LIVE: Final[weakref.WeakSet[BudgetLike]] = weakref.WeakSet()


def count_as_budget(budget: BudgetLike) -> None:
    """Has ``budget_statistics``, and with it the metrics, show this one while it exists."""
    _LIVE.add(budget)


def budget_statistics() -> list[BudgetStatistics]:
    """Figures of every budget of this process that something still refers to."""
    return [budget.statistics() for budget in list(_LIVE)]
