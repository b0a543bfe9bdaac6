"""Whether a target fails too often to be asked, and how long it stays out; pure."""

from __future__ import annotations

from simcloud.errors import (
    DeadlineExceeded,
    NotReady,
    PermissionDenied,
    SimcloudError,
    TargetError,
    Unauthenticated,
)
from simcloud_inference_router.model_options import OutlierOptions

MODEL_ERROR = 424
"""Status of SageMaker's ModelError: the container's own 5xx stands behind it."""


def is_targets_fault(error: SimcloudError) -> bool:
    """Whether a failure speaks against the target, and not against the request or its caller.

    Its own time that ran out does (the door leaves out callers who had less), and so do credentials
    that it alone refuses. A request that is refused, too large or throttled does not.
    """
    if isinstance(error, TargetError):
        return error.http_status >= 500 or error.http_status == MODEL_ERROR
    return isinstance(error, NotReady | DeadlineExceeded | PermissionDenied | Unauthenticated)


class Health:
    """One target's failures.

    Args:
        options: what is too often.
    """

    __slots__ = (
        "_began",
        "_ejections",
        "_failures",
        "_in_a_row",
        "_options",
        "_requests",
        "_there_since",
    )

    def __init__(self, options: OutlierOptions) -> None:
        self._options = options
        self._in_a_row = 0
        self._began = 0.0
        self._requests = 0
        self._failures = 0
        self._ejections = 0
        self._there_since: float | None = 0.0

    @property
    def unwell(self) -> bool:
        """Whether the latest attempts failed, as many as would take it out."""
        return self._in_a_row >= self._options.consecutive_failures

    def answered(self, now: float) -> None:
        """The target answered, be it that the request was wrong."""
        self._in_a_row = 0
        if now - self._began >= self._options.interval_s:
            self._begin(now)
        self._requests += 1

    def failed(self, now: float) -> bool:
        """The target failed.

        Returns:
            Whether it should be taken out.
        """
        if now - self._began >= self._options.interval_s:
            self._begin(now)
        self._in_a_row += 1
        self._requests += 1
        self._failures += 1
        return self.unwell or (
            self._requests >= self._options.minimum_requests
            and self._failures >= self._options.failure_share * self._requests
        )

    def taken_out(self, now: float) -> float:
        """Counts one more time out.

        Returns:
            Seconds that it lasts: the base for the first, once more for each that came before and
            is not yet outlived. Every base's length in the traffic makes up for one.
        """
        options = self._options
        if self._there_since is not None:
            outlived = int((now - self._there_since) / options.base_ejection_s)
            self._ejections = max(self._ejections - outlived, 0)
            self._there_since = None
        self._ejections += 1
        return min(options.base_ejection_s * self._ejections, options.max_ejection_s)

    def returned(self, now: float) -> None:
        """It is back in the traffic, with a clean record but for how often it was out."""
        self._there_since = now
        self._in_a_row = 0
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._began = now
        self._requests = 0
        self._failures = 0
