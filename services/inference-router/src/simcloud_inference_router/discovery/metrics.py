"""Metrics of looking for tagged endpoints; there are none while no catalogue asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as MetricFamily
from prometheus_client.registry import Collector

from simcloud.telemetry.names import Kind, Metric, declare
from simcloud_inference_router.catalog_status import DiscoveryStatus


def _declare(name: str, kind: Kind, text: str, *labels: str) -> Metric:
    name = f"simcloud_router_discovery_{name}"
    return declare(Metric(name=name, kind=kind, help=text, labels=labels))


LOOKS: Final = _declare(
    "looks",
    "counter",
    "Looks for tagged endpoints, by outcome: found, denied, throttled or failed.",
    "outcome",
)
FAILING: Final = _declare(
    "failing", "gauge", "1 while the last look failed and what was found before is served."
)
LOOKED_AT: Final = _declare(
    "timestamp_seconds",
    "gauge",
    "When the last look that did not fail ended, seconds since the epoch.",
)
TARGETS: Final = _declare(
    "targets", "gauge", "Endpoints that are targets by their tags and take requests."
)
CONFLICTS: Final = _declare(
    "conflicts", "gauge", "Endpoints and models whose tags can't be followed."
)


class DiscoveryCollector(Collector):
    """Reads the state of one router's discovery.

    Args:
        status: of it.
    """

    def __init__(self, status: DiscoveryStatus) -> None:
        self._status = status

    def collect(self) -> Iterable[MetricFamily]:
        """All of it now."""
        status = self._status
        if not status.enabled:
            return
        looks = CounterMetricFamily(LOOKS.name, LOOKS.help, labels=LOOKS.labels)
        for outcome, number in tuple(status.looks.items()):
            looks.add_metric((outcome,), number)
        yield looks
        for metric, value in (
            (FAILING, float(bool(status.problem))),
            (LOOKED_AT, status.looked_at_s),
            (TARGETS, float(status.targets)),
            (CONFLICTS, float(len(status.conflicts))),
        ):
            yield GaugeMetricFamily(metric.name, metric.help, value=value)
