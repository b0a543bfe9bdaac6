"""The router's metrics: declared once, and read from what it counts anyway when they are asked for.

Nothing is done for them while a request is answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from prometheus_client.metrics_core import Metric as MetricFamily
from prometheus_client.registry import Collector

from simcloud.telemetry import metrics
from simcloud.telemetry.names import Kind, Metric, declare
from simcloud_inference_router.catalog_status import CatalogStatus
from simcloud_inference_router.dispatch import RoutedModel
from simcloud_inference_router.metric_families import Families
from simcloud_inference_router.refs.reads import RangeReads
from simcloud_inference_router.routing.routed_target import State, TargetCounts


def _declare(name: str, kind: Kind, text: str, *labels: str) -> Metric:
    return declare(Metric(name=f"simcloud_router_{name}", kind=kind, help=text, labels=labels))


REQUESTS: Final = _declare(
    "requests",
    "counter",
    "Requests and frames finished, by outcome: OK, or the error's reason.",
    "model",
    "outcome",
)
EXECUTIONS: Final = _declare(
    "executions",
    "counter",
    "Answers of targets; requests that were sent as one have one.",
    "model",
)
BATCHED: Final = _declare(
    "batched_requests",
    "counter",
    "Requests and frames that were sent together with others as one.",
    "model",
)
BATCHES_APART: Final = _declare(
    "batches_sent_apart",
    "counter",
    "Batches that a target refused, whose requests were then sent one by one.",
    "model",
)
RETRIES: Final = _declare("retries", "counter", "Requests sent again after a failure.", "model")
BUDGET_EXHAUSTED: Final = _declare(
    "retry_budget_exhausted",
    "counter",
    "Requests that were not sent again, since the model's retry budget was spent.",
    "model",
)
HEDGES: Final = _declare("hedges", "counter", "Second attempts while the first was late.", "model")
HEDGES_WON: Final = _declare(
    "hedges_won", "counter", "Second attempts that answered first.", "model"
)
RETRY_BALANCE: Final = _declare(
    "retry_budget_balance", "gauge", "Retries that the model's retry budget allows now.", "model"
)
REQUEST_BYTES: Final = _declare(
    "request_bytes", "counter", "Bytes of bodies sent to targets, repeated ones again.", "model"
)
RESPONSE_BYTES: Final = _declare(
    "response_bytes", "counter", "Bytes of the bodies that answered requests.", "model"
)
TARGET_DURATION: Final = _declare(
    "target_duration_seconds",
    "histogram",
    "Time of a request at its targets, retries included.",
    "model",
)
QUEUE_DURATION: Final = _declare(
    "queue_duration_seconds", "histogram", "Time of a request in its model's queue.", "model"
)
WAITING: Final = _declare(
    "waiting", "gauge", "Requests and frames that wait for a slot of some target now.", "model"
)
SESSIONS: Final = _declare(
    "sessions", "gauge", "Sessions whose target the router remembers.", "model"
)
CANARY: Final = _declare(
    "canary_requests", "counter", "Requests that were drawn for the canary.", "model", "target"
)
SHADOW: Final = _declare(
    "shadow_copies",
    "counter",
    "Copies for a shadow, by the target that had answered (primary) and by outcome: agreed, "
    "differed, failed, incomparable or dropped.",
    *("model", "target", "primary", "outcome"),
)
SHADOW_PARTS: Final = _declare(
    "shadow_compared",
    "counter",
    "Detections, rows or numbers compared with a shadow's, by the target that had answered "
    "(primary): matched, missing there, or extra there.",
    *("model", "target", "primary", "result"),
)
TARGET_REQUESTS: Final = _declare(
    "target_requests", "counter", "Requests sent to a target and ended.", "model", "target"
)
TARGET_FAILURES: Final = _declare(
    "target_failures", "counter", "Of these, those that brought no answer.", "model", "target"
)
TARGET_RETRIES: Final = _declare(
    "target_retries", "counter", "Of these, those after a failure.", "model", "target"
)
TARGET_HEDGES: Final = _declare(
    "target_hedges", "counter", "Of these, those while another was late.", "model", "target"
)
TARGET_PROBES: Final = _declare(
    "target_probes",
    "counter",
    "Of these, those that were to show whether it is back.",
    "model",
    "target",
)
EJECTIONS: Final = _declare(
    "target_ejections", "counter", "Times that a target was taken out.", "model", "target"
)
COLD_STARTS: Final = _declare(
    "target_cold_starts",
    "counter",
    "Times that a target was found scaled to zero.",
    "model",
    "target",
)
TARGET_LIMIT: Final = _declare(
    "target_limit", "gauge", "Concurrency limit in force for a target.", "model", "target"
)
TARGET_IN_FLIGHT: Final = _declare(
    "target_in_flight", "gauge", "Requests at a target now.", "model", "target"
)
TARGET_WEIGHT: Final = _declare(
    "target_weight", "gauge", "Weight in force; 0: nothing new goes there.", "model", "target"
)
TARGET_TIMES: Final = _declare(
    "target_attempt_seconds",
    "histogram",
    "Time of one attempt at a target, whatever became of it.",
    "model",
    "target",
)
TARGET_BUSY: Final = _declare(
    "target_busy_seconds",
    "counter",
    "Time in which something of this process was at a target.",
    "model",
    "target",
)
TARGET_COST: Final = _declare(
    "target_estimated_cost_usd",
    "counter",
    "Estimate: a target's busy time at the price that the catalogue gave it then, or its "
    "instance_type has in the dated table; targets that never had a price have none. Idle time "
    "that is billed is not in it.",
    "model",
    "target",
)
TARGET_EWMA: Final = _declare(
    "target_ewma_seconds",
    "gauge",
    "Peak-sensitive average time of a target's answers, by which it is chosen; it falls while "
    "nothing is asked, so what a target takes is told by target_attempt_seconds.",
    "model",
    "target",
)
TARGET_STATE: Final = _declare(
    "target_state", "gauge", "1 for the state that a target is in.", "model", "target", "state"
)
CATALOG_RELOADS: Final = _declare(
    "catalog_reloads",
    "counter",
    "Times that the catalogue was read again, by outcome: loaded, unchanged or rejected.",
    "outcome",
)
CATALOG_INFO: Final = _declare(
    "catalog_info", "gauge", "1 for the SHA-256 of the catalogue that is served.", "digest"
)
CATALOG_LOADED_AT: Final = _declare(
    "catalog_loaded_timestamp_seconds",
    "gauge",
    "When the catalogue that is served was taken, seconds since the epoch.",
)
CATALOG_REJECTED: Final = _declare(
    "catalog_rejected",
    "gauge",
    "1 while the catalogue's file is not valid and the last good one is served.",
)
REFS: Final = _declare(
    "refs_read",
    "counter",
    "Frame refs by where their bytes came from: s3, shared (somebody else's GET), or cache.",
    "source",
)
REF_GETS: Final = _declare(
    "ref_gets", "counter", "Ranges that S3 was asked for to read frame refs, repeated ones once."
)
REF_GET_BYTES: Final = _declare(
    "ref_get_bytes", "counter", "Bytes of these, those between wanted ranges included."
)
REF_CACHE_BYTES: Final = _declare(
    "ref_cache_bytes", "gauge", "Bytes of frame refs that are kept in memory now."
)


class RouterCollector(Collector):
    """Reads the figures of one router.

    Args:
        models: gives its models by name, as they are now.
    """

    def __init__(self, models: Callable[[], Mapping[str, RoutedModel]]) -> None:
        self._models = models

    def collect(self) -> Iterable[MetricFamily]:
        """All of them now."""
        families = Families()
        for name, model in self._models().items():
            _of_model(families, name, model)
            _of_shadow(families, name, model)
            for target, snapshot in zip(model.targets, model.snapshot(), strict=True):
                labels = (name, snapshot.name)
                families.add(TARGET_LIMIT, labels, snapshot.limit)
                families.add(TARGET_IN_FLIGHT, labels, snapshot.in_flight)
                families.add(TARGET_WEIGHT, labels, snapshot.weight)
                families.add(TARGET_EWMA, labels, snapshot.ewma_s)
                families.add(TARGET_BUSY, labels, snapshot.busy_s)
                for state in State:
                    families.add(TARGET_STATE, (*labels, state), float(snapshot.state is state))
                if snapshot.cost_usd is not None:
                    families.add(TARGET_COST, labels, snapshot.cost_usd)
                _of_target(families, labels, target.counts)
        return families.all()


def _of_target(families: Families, labels: tuple[str, str], counts: TargetCounts) -> None:
    families.add(TARGET_REQUESTS, labels, counts.attempts)
    families.add(TARGET_FAILURES, labels, counts.failures)
    families.add(TARGET_RETRIES, labels, counts.retries)
    families.add(TARGET_HEDGES, labels, counts.hedges)
    families.add(TARGET_PROBES, labels, counts.probes)
    families.add(EJECTIONS, labels, counts.ejections)
    families.add(COLD_STARTS, labels, counts.cold_starts)
    families.add_histogram(TARGET_TIMES, labels, counts.times)


def _of_model(families: Families, name: str, model: RoutedModel) -> None:
    counts = model.counts
    families.add(REQUESTS, (name, "OK"), counts.succeeded)
    for reason, number in tuple(counts.failed.items()):
        families.add(REQUESTS, (name, reason), number)
    labels = (name,)
    families.add(EXECUTIONS, labels, counts.executions)
    families.add(BATCHED, labels, counts.batched)
    families.add(BATCHES_APART, labels, counts.batches_apart)
    families.add(RETRIES, labels, counts.retries)
    families.add(BUDGET_EXHAUSTED, labels, counts.budget_exhausted)
    families.add(RETRY_BALANCE, labels, model.retries.balance)
    families.add(REQUEST_BYTES, labels, counts.request_bytes)
    families.add(RESPONSE_BYTES, labels, counts.response_bytes)
    families.add(HEDGES, labels, counts.hedges)
    families.add(HEDGES_WON, labels, counts.hedges_won)
    families.add(WAITING, labels, model.door.waiting)
    families.add(SESSIONS, labels, len(model.sessions))
    families.add_histogram(TARGET_DURATION, labels, counts.target_times)
    families.add_histogram(QUEUE_DURATION, labels, counts.queue_times)
    if model.canary is not None:
        families.add(CANARY, (name, model.canary.target.name), model.canary.requests)


def _of_shadow(families: Families, name: str, model: RoutedModel) -> None:
    if model.shadow is None:
        return
    target = model.shadow.target.name
    for primary, counts in tuple(model.shadow.by_primary.items()):
        for outcome, number in (
            ("agreed", counts.agreed),
            ("differed", counts.differed),
            ("failed", counts.failed),
            ("incomparable", counts.incomparable),
            ("dropped", counts.dropped),
        ):
            families.add(SHADOW, (name, target, primary, outcome), number)
        for result, number in (
            ("matched", counts.matched),
            ("missing", counts.missing),
            ("extra", counts.extra),
        ):
            families.add(SHADOW_PARTS, (name, target, primary, result), number)


class CatalogCollector(Collector):
    """Reads the state of one router's catalogue.

    Args:
        status: of the catalogue.
    """

    def __init__(self, status: CatalogStatus) -> None:
        self._status = status

    def collect(self) -> Iterable[MetricFamily]:
        """All of it now."""
        families, status = Families(), self._status
        for outcome, number in tuple(status.reloads.items()):
            families.add(CATALOG_RELOADS, (outcome,), number)
        families.add(CATALOG_INFO, (status.digest,), 1.0)
        families.add(CATALOG_LOADED_AT, (), status.loaded_at_s)
        families.add(CATALOG_REJECTED, (), float(bool(status.problem)))
        return families.all()


class RefCollector(Collector):
    """Reads what one router's frame refs took.

    Args:
        reads: that reads them.
    """

    def __init__(self, reads: RangeReads) -> None:
        self._reads = reads

    def collect(self) -> Iterable[MetricFamily]:
        """All of it now."""
        families, counts = Families(), self._reads.counts
        for source, number in (
            ("s3", counts.read),
            ("shared", counts.shared),
            ("cache", counts.from_cache),
        ):
            families.add(REFS, (source,), number)
        families.add(REF_GETS, (), counts.gets)
        families.add(REF_GET_BYTES, (), counts.get_bytes)
        families.add(REF_CACHE_BYTES, (), self._reads.cache.size)
        return families.all()


@contextmanager
def exported(collector: Collector) -> Iterator[None]:
    """Shows what a collector reads at the process's metrics endpoint within the block."""
    metrics.REGISTRY.register(collector)
    try:
        yield
    finally:
        metrics.REGISTRY.unregister(collector)
