"""True counts by model since the process began; per replica, nothing is remembered elsewhere."""

from __future__ import annotations

from bisect import bisect_left
from copy import deepcopy
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
        # Most have not waited at all.
        self.counts[bisect_left(DURATION_BUCKETS_S, seconds) if seconds else 0] += 1
        self.total_s += seconds


@dataclass(frozen=True, slots=True)
class Duration:
    """How often, and how long in all."""

    count: int
    total_s: float

    @property
    def ns(self) -> int:
        """Total nanoseconds."""
        return round(self.total_s * NS)


@dataclass(slots=True)
class BatchCounts:
    """Executions of one batch size."""

    count: int = 0
    encode_s: float = 0.0
    target_s: float = 0.0
    decode_s: float = 0.0

    @property
    def encode(self) -> Duration:
        """Making what was sent."""
        return Duration(self.count, self.encode_s)

    @property
    def target(self) -> Duration:
        """At the targets."""
        return Duration(self.count, self.target_s)

    @property
    def decode(self) -> Duration:
        """Reading what was answered."""
        return Duration(self.count, self.decode_s)


@dataclass(slots=True)
class CallTrace:
    """What happened to one request so far; filled in as it goes, whatever becomes of it."""

    version: str = ""
    """Version that was asked for; counted by itself as well where the model has several."""
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
    """Whether it was sent as part of a batch: what was sent is counted with the batch."""
    together: bool = False
    """Whether others were sent with it: the bytes were theirs too, and are 0 here."""
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
    fail_s: float = 0.0
    # Of answered requests, seconds in all. Plain numbers: an object each, told of every request,
    # would cost more than all else that is counted.
    success_s: float = 0.0
    queue_s: float = 0.0
    encode_s: float = 0.0
    target_s: float = 0.0
    decode_s: float = 0.0
    batches: dict[int, BatchCounts] = field(default_factory=dict)
    """By batch size; batch sizes are bounded by the model's largest."""
    target_times: Histogram = field(default_factory=Histogram)
    """Of all requests that were sent."""
    queue_times: Histogram = field(default_factory=Histogram)
    """Of all requests that were sent or had to wait."""
    by_version: dict[str, ModelCounts] = field(default_factory=dict)
    """Of the requests for each version that the model has now. Empty for a model that has one and
    has had no other: its counts are the version's."""

    def count_versions(self, before: tuple[str, ...], after: tuple[str, ...]) -> None:
        """Counts other versions by themselves from now on.

        Those that stay go on from what was counted, so that whoever subtracts two readings is
        right; what is counted of those that are gone is the model's alone.

        Args:
            before: the model's versions until now; empty: it is new.
            after: the model's versions from now on.
        """
        rows = self.by_version
        if not rows and len(after) == 1 and before in ((), after):
            return
        if not rows and before:
            rows = {before[0]: deepcopy(self)}
        self.by_version = {each: rows.get(each) or ModelCounts() for each in after}

    def record(self, trace: CallTrace, *, total_s: float, reason: str | None, now_s: float) -> None:
        """Counts one finished request.

        Args:
            trace: what happened.
            total_s: from its last byte in to its answer.
            reason: the error's reason; None when it was answered.
            now_s: seconds since the epoch.
        """
        self._record(trace, total_s, reason, now_s)
        version = self._of_version(trace)
        if version is not None:
            version._record(trace, total_s, reason, now_s)

    def _record(self, trace: CallTrace, total_s: float, reason: str | None, now_s: float) -> None:
        self.requests += 1
        queue_s, target_s = trace.queue_s, trace.target_s
        if trace.attempts:
            self.target_times.add(target_s)
        if trace.attempts or queue_s:
            self.queue_times.add(queue_s)
        if not trace.batched:
            self._record_execution(trace, reason is None, 1)
        elif trace.retries or trace.budget_exhausted:
            # What it cost to be sent by itself, had it been; the batch's own are counted with it.
            self.retries += trace.retries
            self.budget_exhausted += trace.budget_exhausted
        if reason is not None:
            self.failed[reason] = self.failed.get(reason, 0) + 1
            self.fail_s += total_s
            return
        self.succeeded += 1
        self.inferences += trace.batch_size
        self.last_inference_ms = int(now_s * 1000)
        self.success_s += total_s
        self.queue_s += queue_s
        self.encode_s += trace.encode_s
        self.target_s += target_s
        self.decode_s += trace.decode_s

    def record_execution(self, trace: CallTrace, *, answered: bool, requests: int = 1) -> None:
        """Counts what was sent for one request, or for several that were sent as one.

        Args:
            trace: what happened.
            answered: whether a target answered.
            requests: that were sent as one.
        """
        self._record_execution(trace, answered, requests)
        version = self._of_version(trace)
        if version is not None:
            version._record_execution(trace, answered, requests)

    def _of_version(self, trace: CallTrace) -> ModelCounts | None:
        # Looked up as a request ends: the model's versions may be others than when it began.
        return self.by_version.get(trace.version)

    def _record_execution(self, trace: CallTrace, answered: bool, requests: int) -> None:
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
        batch.count += 1
        batch.encode_s += trace.encode_s
        batch.target_s += trace.target_s
        batch.decode_s += trace.decode_s

    @property
    def success(self) -> Duration:
        """Answered requests, from the last byte in to the answer."""
        return Duration(self.succeeded, self.success_s)

    @property
    def fail(self) -> Duration:
        """The others, likewise."""
        return Duration(self.requests - self.succeeded, self.fail_s)

    @property
    def queue(self) -> Duration:
        """Answered requests in the queue."""
        return Duration(self.succeeded, self.queue_s)

    @property
    def encode(self) -> Duration:
        """Making what was sent for them."""
        return Duration(self.succeeded, self.encode_s)

    @property
    def target(self) -> Duration:
        """They at their targets."""
        return Duration(self.succeeded, self.target_s)

    @property
    def decode(self) -> Duration:
        """Reading their answers."""
        return Duration(self.succeeded, self.decode_s)
