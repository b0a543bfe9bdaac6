"""A second attempt while the first is late."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from simcloud.clock import Clock
from simcloud.concurrency.retry import RetryBudget
from simcloud_inference_router.background import Background
from simcloud_inference_router.model_options import HedgeOptions
from simcloud_inference_router.routing.latency import RunningQuantile
from simcloud_inference_router.targets.base import Failure, TargetAnswer

Outcome: TypeAlias = TargetAnswer | Failure


class Hedging:
    """When a model's request is late, and whether it may be sent a second time.

    Args:
        options: what is late, and how often.
        retries: the model's budget, which second attempts are paid from.
        clock: for the share.
    """

    def __init__(self, options: HedgeOptions, *, retries: RetryBudget, clock: Clock) -> None:
        self._times = RunningQuantile(
            options.percentile / 100.0, minimum_samples=options.minimum_samples
        )
        self._retries = retries
        self._share = RetryBudget(clock, ratio=options.max_share, floor_per_s=0.0)

    @property
    def delay_s(self) -> float | None:
        """Seconds from which on a request is late; None: not enough is known."""
        return self._times.value

    def record_request(self) -> None:
        """Counts a first attempt."""
        self._share.record_request()

    def observe(self, seconds: float) -> None:
        """The time of an attempt: to its answer, or until it lost against the second.

        What lost counts too, else the quantile would sink with every second attempt that wins.
        """
        self._times.observe(seconds)

    def try_spend(self) -> bool:
        """Pays for a second attempt."""
        return self._share.balance >= 1.0 and self._retries.try_spend() and self._share.try_spend()


class Race:
    """A first attempt in its caller's task, and a second that may overtake it.

    Nothing but a timer is made for a first attempt that is in time. The loser is cancelled, which
    closes its connection; so is the second when the caller goes.

    Args:
        second: makes the second attempt; None: there was no slot or budget for it.
        background: where it runs.
    """

    __slots__ = (
        "_background",
        "_first_failed",
        "_interrupted",
        "_outcome",
        "_second",
        "_task",
        "won",
    )

    def __init__(
        self, second: Callable[[], Awaitable[Outcome | None]], *, background: Background
    ) -> None:
        self._second = second
        self._background = background
        self._task: asyncio.Task[None] | None = None
        self._interrupted: asyncio.Task[object] | None = None
        self._first_failed = False
        self._outcome: Outcome | None = None
        self.won = False
        """Whether the second attempt's answer is the one."""

    async def run(self, first: Awaitable[Outcome], *, delay_s: float) -> Outcome:
        """The first answer of either; the first attempt's failure when there is none.

        Args:
            first: the first attempt; awaited in this task.
            delay_s: when the second begins.
        """
        caller = asyncio.current_task()
        assert caller is not None
        cancels = caller.cancelling()
        timer = asyncio.get_running_loop().call_later(delay_s, self._fire, caller)
        try:
            outcome = await first
        except asyncio.CancelledError:
            # Ours, unless somebody else cancelled as well: as asyncio.Timeout tells them apart.
            if self._interrupted is None or caller.uncancel() > cancels:
                self._stop()
                raise
            assert self._outcome is not None
            return self._outcome
        except BaseException:
            self._stop()
            raise
        finally:
            timer.cancel()
        if self._interrupted is not None:
            # It ended by itself in the very turn in which the second answered.
            caller.uncancel()
        if isinstance(outcome, TargetAnswer):
            self.won = False
            self._stop()
            return outcome
        return outcome if self._task is None else await self._after_failure(outcome)

    def _fire(self, caller: asyncio.Task[object]) -> None:
        async def work() -> None:
            self._outcome = await self._second()
            if isinstance(self._outcome, TargetAnswer):
                self.won = True
                if not self._first_failed:
                    self._interrupted = caller
                    caller.cancel()

        self._task = self._background.start(work, name="hedge")

    async def _after_failure(self, failure: Outcome) -> Outcome:
        """The first has failed; the second, under way, may still answer."""
        assert self._task is not None
        self._first_failed = True
        try:
            await asyncio.wait((self._task,))
        except BaseException:
            self._stop()
            raise
        return self._outcome if isinstance(self._outcome, TargetAnswer) else failure

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
