"""True counts by model since the process began; per replica, nothing is remembered elsewhere."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field

from simcloud.telemetry.names import DURATION_BUCKETS_S

NS = 1_000_000_000
"""Nanoseconds in a second."""


class Histogram:
    """How often times fell between ``DURATION_BUCKETS_S``, and their sum.

    Read when metrics are asked for: counting one costs a third of a microsecond, where
    prometheus_client's own takes two.
    """

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(DURATION_BUCKETS_S) + 1)
        """By bucket, the last without a bound; not added up."""
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        """Counts one more."""
        self.counts[bisect_left(DURATION_BUCKETS_S, seconds)] += 1
        self.total_s += seconds


@dataclass(slots=True)
class Duration:
    """How often, and how long in all."""

    count: int = 0
    total_s: float = 0.0

    def add(self, seconds: float) -> None:
        """Counts one more."""
        self.count += 1
        self.total_s += seconds

    @property
    def ns(self) -> int:
        """Total nanoseconds."""
        return round(self.total_s * NS)


@dataclass(slots=True)
class BatchCounts:
    """Executions of one batch size."""

    encode: Duration = field(default_factory=Duration)
    target: Duration = field(default_factory=Duration)
    decode: Duration = field(default_factory=Duration)


@dataclass(slots=True)
class CallTrace:
    """What happened to one request so far; filled in as it goes, whatever becomes of it."""

    target: str = ""
    """Target that was asked last; ``<target>/<variant>`` once a variant has answered."""
    attempts: int = 0
    """Times that it was sent."""
    retries: int = 0
    """Of these, after a failure, paid from the retry budget."""
    hedges: int = 0
    """Of these, while another was late."""
    hedges_won: int = 0
    """Whether the answer is that of such a one, 0 or 1."""
    budget_exhausted: bool = False
    """Whether it would have been sent again, had the retry budget not been spent."""
    batch_size: int = 1
    batched: bool = False
    """Whether it was sent as part of a batch: what was sent is the batch's, not the request's."""
    request_bytes: int = 0
    response_bytes: int = 0
    fetch_s: float = 0.0
    encode_s: float = 0.0
    queue_s: float = 0.0
    target_s: float = 0.0
    decode_s: float = 0.0


@dataclass(slots=True)
class ModelCounts:
    """One model's counts."""

    requests: int = 0
    succeeded: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    """By reason."""
    retries: int = 0
    hedges: int = 0
    hedges_won: int = 0
    budget_exhausted: int = 0
    """Requests that the retry budget had nothing left for."""
    request_bytes: int = 0
    response_bytes: int = 0
    inferences: int = 0
    """Batch elements, of answered requests."""
    executions: int = 0
    """Requests that targets answered; several callers' that were sent as one are one."""
    batched: int = 0
    """Requests that were sent with others as one."""
    batches_apart: int = 0
    """Batches that a target refused, whose requests were then sent one by one."""
    last_inference_ms: int = 0
    """Milliseconds since the epoch; 0: none yet."""
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    encode: Duration = field(default_factory=Duration)
    target: Duration = field(default_factory=Duration)
    decode: Duration = field(default_factory=Duration)
    batches: dict[int, BatchCounts] = field(default_factory=dict)
    """By batch size; batch sizes are bounded by the model's largest."""
    target_times: Histogram = field(default_factory=Histogram)
    """Of all requests that were sent."""
    queue_times: Histogram = field(default_factory=Histogram)
    """Of all requests that were sent or had to wait."""

    def record(self, trace: CallTrace, *, total_s: float, reason: str | None, now_s: float) -> None:
        """Counts one finished request.

        Args:
            trace: what happened.
            total_s: from its last byte in to its answer.
            reason: the error's reason; None when it was answered.
            now_s: seconds since the epoch.
        """
        self.requests += 1
        if trace.attempts:
            self.target_times.add(trace.target_s)
        if trace.attempts or trace.queue_s:
            self.queue_times.add(trace.queue_s)
        answered = reason is None
        if not trace.batched:
            self.record_execution(trace, answered=answered)
        elif trace.retries or trace.budget_exhausted:
            # What it cost to be sent by itself, had it been; the batch's own are counted with it.
            self.retries += trace.retries
            self.budget_exhausted += trace.budget_exhausted
        if reason is not None:
            self.failed[reason] = self.failed.get(reason, 0) + 1
            self.fail.add(total_s)
            return
        self.succeeded += 1
        self.inferences += trace.batch_size
        self.last_inference_ms = int(now_s * 1000)
        self.success.add(total_s)
        self.queue.add(trace.queue_s)
        self.encode.add(trace.encode_s)
        self.target.add(trace.target_s)
        self.decode.add(trace.decode_s)

    def record_execution(self, trace: CallTrace, *, answered: bool, requests: int = 1) -> None:
        """Counts what was sent for one request, or for several that were sent as one.

        Args:
            trace: what happened.
            answered: whether a target answered.
            requests: that were sent as one.
        """
        if trace.attempts != 1:
            self.retries += trace.retries
            self.hedges += trace.hedges
            self.hedges_won += trace.hedges_won
        self.budget_exhausted += trace.budget_exhausted
        self.request_bytes += trace.request_bytes
        self.response_bytes += trace.response_bytes
        if requests > 1:
            self.batched += requests
        if not answered:
            return
        self.executions += 1
        batch = self.batches.get(trace.batch_size)
        if batch is None:
            batch = self.batches[trace.batch_size] = BatchCounts()
        batch.encode.add(trace.encode_s)
        batch.target.add(trace.target_s)
        batch.decode.add(trace.decode_s)
