"""Figures that are counted anyway, as Prometheus' families while they are read."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.metrics_core import Metric as MetricFamily
from prometheus_client.utils import floatToGoString

from simcloud.telemetry.names import DURATION_BUCKETS_S, Metric
from simcloud_inference_router.statistics import Histogram


class Families:
    """Families by their declaration."""

    def __init__(self) -> None:
        self._made: dict[str, MetricFamily] = {}

    def all(self) -> Iterable[MetricFamily]:
        """Those that were given a value."""
        return self._made.values()

    def add(self, metric: Metric, labels: tuple[str, ...], value: float) -> None:
        """One value of a counter or a gauge."""
        family = self._made.get(metric.name)
        if family is None:
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = self._made[metric.name] = kind(metric.name, metric.help, labels=metric.labels)
        assert isinstance(family, CounterMetricFamily | GaugeMetricFamily)
        family.add_metric(labels, value)

    def add_histogram(self, metric: Metric, labels: tuple[str, ...], times: Histogram) -> None:
        """One histogram, as it is counted here."""
        family = self._made.get(metric.name)
        if family is None:
            family = HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
            self._made[metric.name] = family
        assert isinstance(family, HistogramMetricFamily)
        bounds = (*map(floatToGoString, DURATION_BUCKETS_S), "+Inf")
        buckets = list(zip(bounds, accumulate(times.counts), strict=True))
        family.add_metric(labels, buckets=buckets, sum_value=times.total_s)
