"""The router's metrics, declared once, and the object that feeds them."""

from __future__ import annotations

from typing import Final

from simcloud.telemetry import metrics
from simcloud.telemetry.names import Metric, declare
from simcloud_inference_router.routing.queue import Gate
from simcloud_inference_router.statistics import CallTrace

REQUESTS: Final = declare(
    Metric(
        name="simcloud_router_requests",
        kind="counter",
        help="Requests and frames finished, by outcome: OK, or the error's reason.",
        labels=("model", "outcome"),
    )
)
RETRIES: Final = declare(
    Metric(
        name="simcloud_router_retries",
        kind="counter",
        help="Attempts beyond the first.",
        labels=("model",),
    )
)
TARGET_DURATION: Final = declare(
    Metric(
        name="simcloud_router_target_duration_seconds",
        kind="histogram",
        help="Time of a request at its target, retries included.",
        labels=("model",),
    )
)
QUEUE_DURATION: Final = declare(
    Metric(
        name="simcloud_router_queue_duration_seconds",
        kind="histogram",
        help="Time of a request in its target's queue.",
        labels=("model",),
    )
)
TARGET_LIMIT: Final = declare(
    Metric(
        name="simcloud_router_target_limit",
        kind="gauge",
        help="Concurrency limit in force for a target.",
        labels=("target",),
    )
)
TARGET_IN_FLIGHT: Final = declare(
    Metric(
        name="simcloud_router_target_in_flight",
        kind="gauge",
        help="Requests at a target now.",
        labels=("target",),
    )
)
TARGET_WAITING: Final = declare(
    Metric(
        name="simcloud_router_target_waiting",
        kind="gauge",
        help="Requests and frames that wait for a target's slot now.",
        labels=("target",),
    )
)


class ModelMetrics:
    """Metrics of one model; the labelled series are looked up once.

    Args:
        model: name.
        target: name of its target.
        gate: its door, read whenever the metrics are.
    """

    def __init__(self, *, model: str, target: str, gate: Gate) -> None:
        self._model = model
        self._requests = metrics.counter(REQUESTS)
        self._answered = self._requests.labels(model, "OK")
        self._retries = metrics.counter(RETRIES).labels(model)
        self._target = metrics.histogram(TARGET_DURATION).labels(model)
        self._queue = metrics.histogram(QUEUE_DURATION).labels(model)
        metrics.gauge(TARGET_LIMIT).labels(target).set_function(lambda: gate.limit)
        metrics.gauge(TARGET_IN_FLIGHT).labels(target).set_function(lambda: gate.in_flight)
        metrics.gauge(TARGET_WAITING).labels(target).set_function(lambda: gate.waiting)

    def record(self, trace: CallTrace, *, reason: str | None) -> None:
        """Counts one finished request; ``reason`` is None when it was answered."""
        if reason is None:
            self._answered.inc()
        else:
            self._requests.labels(self._model, reason).inc()
        if trace.attempts:
            self._target.observe(trace.target_s)
        if trace.attempts or trace.queue_s:
            self._queue.observe(trace.queue_s)
        if trace.attempts > 1:
            self._retries.inc(trace.attempts - 1)
