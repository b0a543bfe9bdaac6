"""How often each caller may ask: a token bucket for each; pure but for the clock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from math import ceil

from pydantic import BaseModel, ConfigDict, Field

from simcloud.clock import Clock
from simcloud.concurrency import TokenBucket
from simcloud.errors import QuotaExceeded

EVERYONE = "*"
"""Stands for every caller that has no quota of its own."""

_ROUNDED_TO_S = 0.01

MAX_CALLERS = 10_000
"""Callers that are remembered; beyond it the one that has not asked for longest begins anew."""


class CallerQuota(BaseModel):
    """How often one caller may ask."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    caller: str = Field(min_length=1)
    """Identity of its client certificate, `anonymous` for all without one together, or `*`: each
    of those that have no quota of their own."""
    requests_per_s: float = Field(gt=0, le=1_000_000)
    """Requests and frames a second, over time."""
    burst: int | None = Field(default=None, ge=1, le=1_000_000)
    """Requests that may come at once after a pause; by default those of one second."""

    @property
    def at_once(self) -> int:
        """The burst in force."""
        return ceil(self.requests_per_s) if self.burst is None else self.burst


class Quotas:
    """The buckets of all callers.

    Args:
        quotas: by caller; the first of a caller counts. Who is in none is not limited.
        clock: the process's.
        max_callers: callers that are remembered.
    """

    def __init__(
        self, quotas: Sequence[CallerQuota], *, clock: Clock, max_callers: int = MAX_CALLERS
    ) -> None:
        self._quotas = {each.caller: each for each in reversed(quotas)}
        self._clock = clock
        self._max_callers = max_callers
        self._buckets: OrderedDict[str, TokenBucket] = OrderedDict()

    def charge(self, caller: str) -> None:
        """Takes one request from a caller's bucket.

        Raises:
            QuotaExceeded: it is empty; says when there will be one more.
        """
        if not self._quotas:
            return
        quota = self._quotas.get(caller) or self._quotas.get(EVERYONE)
        if quota is None:
            return
        bucket = self._buckets.get(caller) or TokenBucket()
        wait_s = bucket.take(
            self._clock.monotonic(), per_s=quota.requests_per_s, at_once=quota.at_once
        )
        if wait_s:
            # Rounded up, so that many are told the same, which is made once.
            wait_s = ceil(wait_s / _ROUNDED_TO_S - 1e-6) * _ROUNDED_TO_S
            raise QuotaExceeded(
                f"{caller} may send {quota.requests_per_s:g} requests a second to this router, "
                f"{quota.at_once} at once; try again in {wait_s:.2f} s",
                retry_after_s=wait_s,
                caller=caller,
            )
        self._buckets[caller] = bucket
        self._buckets.move_to_end(caller)
        if len(self._buckets) > self._max_callers:
            self._buckets.popitem(last=False)
