"""One request from its beginning to its end: counted, and told to the access log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType

from simcloud.clock import Clock
from simcloud.errors import DeadlineExceeded, SimcloudError
from simcloud.rpc.calls import Told
from simcloud.telemetry.logging import quoted
from simcloud_inference_router.dispatch import RoutedModel
from simcloud_inference_router.statistics import CallTrace
from simcloud_inference_router.targets.base import MAX_ID_BYTES


class Recorded:
    """Counts its block as one request, and says to the log what became of it.

    A class and not ``@contextmanager``, whose generator costs every request.

    Args:
        model: that was asked.
        trace: what happened, complete at the end.
        clock: the router's.
        request_id: what its caller calls it.
        deadline: the request's, on the clock; None: none.
        tell: takes this when it has ended; None: there is no log.
    """

    __slots__ = (
        "_begun",
        "_clock",
        "_deadline",
        "_id",
        "_model",
        "_outcome",
        "_tell",
        "_total_s",
        "_trace",
        "code",
        "message",
    )

    def __init__(
        self,
        model: RoutedModel,
        trace: CallTrace,
        clock: Clock,
        request_id: str,
        *,
        deadline: float | None,
        tell: Callable[[Told], None] | None,
    ) -> None:
        self._model = model
        self._trace = trace
        self._clock = clock
        self._deadline = deadline
        self._id = request_id
        self._tell = tell
        self._begun = clock.monotonic()
        self._total_s = 0.0
        self._outcome = "OK"
        # Texts and not the error, which would keep everything that its traceback sees.
        self.code = "OK"
        """Name of the status code that it ended with."""
        self.message = ""
        """What went wrong; empty: nothing, or nothing that a caller is told."""

    def __enter__(self) -> None:
        """Begins."""

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Counts."""
        self.end(exc)

    def end(self, error: BaseException | None) -> None:
        """Counts it, once, with what ended it; None: it was answered."""
        now = self._clock.monotonic()
        self._total_s = now - self._begun
        reason: str | None = None
        if error is not None:
            self._failed(error, now)
            reason = self._outcome
        self._model.counts.record(
            self._trace, total_s=self._total_s, reason=reason, now_s=self._clock.time()
        )
        if self._tell is not None:
            self._tell(self)

    def _failed(self, error: BaseException, now: float) -> None:
        if isinstance(error, SimcloudError):
            self._outcome, self.code, self.message = error.reason, error.code.name, error.message
        elif not isinstance(error, asyncio.CancelledError):
            self._outcome, self.code = "BUG", "INTERNAL"
        elif self._deadline is not None and now >= self._deadline:
            # Who cancels when the time is up may be sooner than who says so.
            self._outcome, self.code = DeadlineExceeded.reason, DeadlineExceeded.code.name
        else:
            self._outcome = self.code = "CANCELLED"

    def members(self) -> str:
        """What the access log says of it, as members of a JSON object."""
        trace = self._trace
        line = (
            f'"model": {quoted(self._model.entry.name)}, "id": {quoted(self._id[:MAX_ID_BYTES])}, '
            f'"outcome": "{self._outcome}", "target": {quoted(trace.target)}, '
            f'"attempts": {trace.attempts}, "queue_ms": {trace.queue_s * 1000:.3f}, '
            f'"target_ms": {trace.target_s * 1000:.3f}, "total_ms": {self._total_s * 1000:.3f}, '
            f'"request_bytes": {trace.request_bytes}, "response_bytes": {trace.response_bytes}'
        )
        return f'{line}, "batched": true' if trace.together else line
