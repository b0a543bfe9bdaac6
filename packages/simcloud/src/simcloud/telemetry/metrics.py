"""Metrics of this process: made from their declarations, kept in one registry."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from threading import Lock
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import Metric as MetricFamily
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from simcloud.concurrency import budget_statistics, channel_statistics
from simcloud.telemetry import names
from simcloud.telemetry.names import Metric

# Ours alone: the package's global registry also holds what other libraries put there.
REGISTRY: Final = CollectorRegistry(auto_describe=False)
CONTENT_TYPE: Final = CONTENT_TYPE_LATEST

M = TypeVar("M", Counter, Gauge, Histogram)

_made: Final[dict[str, Counter | Gauge | Histogram]] = {}
_lock: Final = Lock()


def counter(metric: Metric) -> Counter:
    """The counter of this declaration; the same object at every call."""
    return _get(metric, Counter)


def gauge(metric: Metric) -> Gauge:
    """The gauge of this declaration; the same object at every call."""
    return _get(metric, Gauge)


def histogram(metric: Metric) -> Histogram:
    """The histogram of this declaration; the same object at every call."""
    return _get(metric, Histogram)


def exposition() -> bytes:
    """Every metric in Prometheus' text format, of media type ``CONTENT_TYPE``."""
    return generate_latest(REGISTRY)


def value_of(metric: Metric, labels: dict[str, str] | None = None) -> float:
    """Value now of a counter or gauge, 0.0 when it has none yet; for tests and self-checks."""
    name = metric.name + ("_total" if metric.kind == "counter" else "")
    value = REGISTRY.get_sample_value(name, labels or {})
    return 0.0 if value is None else value


def _get(metric: Metric, kind: type[M]) -> M:
    if metric.kind != kind.__name__.lower():
        raise ValueError(f"{metric.name} is declared as a {metric.kind}")
    with _lock:
        made = _made.get(metric.name)
        if made is None:
            made = _make(metric)
            _made[metric.name] = made
    assert isinstance(made, kind)
    return made


def _make(metric: Metric) -> Counter | Gauge | Histogram:
    match metric.kind:
        case "counter":
            return Counter(metric.name, metric.help, metric.labels, registry=REGISTRY)
        case "gauge":
            return Gauge(metric.name, metric.help, metric.labels, registry=REGISTRY)
        case "histogram":
            return Histogram(
                metric.name,
                metric.help,
                metric.labels,
                registry=REGISTRY,
                buckets=metric.buckets,
            )


class _BoundsCollector(Collector):
    """Figures of named budgets and channels, read when they are asked for: no cost otherwise."""

    def collect(self) -> Iterable[MetricFamily]:
        budgets: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
        for each in budget_statistics():
            if each.name:
                sums = budgets[each.name]
                for index, figure in enumerate((each.limit, each.in_use, each.peak, each.waiting)):
                    sums[index] += figure
        channels: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        for channel in channel_statistics():
            if channel.name:
                channels[channel.name][0] += channel.buffered
                channels[channel.name][1] += channel.waiting_senders
        of_budgets = (
            names.BUDGET_LIMIT,
            names.BUDGET_IN_USE,
            names.BUDGET_PEAK,
            names.BUDGET_WAITING,
        )
        yield from _families(of_budgets, budgets)
        yield from _families((names.CHANNEL_BUFFERED, names.CHANNEL_WAITING), channels)


def _families(
    metrics: tuple[Metric, ...], figures: dict[str, list[int]]
) -> Iterable[GaugeMetricFamily]:
    for index, metric in enumerate(metrics):
        family = GaugeMetricFamily(metric.name, metric.help, labels=metric.labels)
        for name, values in sorted(figures.items()):
            family.add_metric([name], values[index])
        yield family


REGISTRY.register(_BoundsCollector())
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)
