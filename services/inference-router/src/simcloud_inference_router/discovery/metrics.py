"""Metrics of looking for tagged endpoints; there are none while no catalogue asks for it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric as MetricFamily
from prometheus_client.registry import Collector

from simcloud.telemetry.names import Metric, declare
from simcloud_inference_router.catalog_status import DiscoveryStatus

LOOKS: Final = declare(
    Metric(
        name="simcloud_router_discovery_looks",
        kind="counter",
        help="Looks for tagged endpoints, by outcome: found, denied, throttled or failed.",
        labels=("outcome",),
    )
)
FAILING: Final = declare(
    Metric(
        name="simcloud_router_discovery_failing",
        kind="gauge",
        help="1 while the last look failed and what was found before is served.",
        labels=(),
    )
)
LOOKED_AT: Final = declare(
    Metric(
        name="simcloud_router_discovery_timestamp_seconds",
        kind="gauge",
        help="When the last look that did not fail ended, seconds since the epoch.",
        labels=(),
    )
)
TARGETS: Final = declare(
    Metric(
        name="simcloud_router_discovery_targets",
        kind="gauge",
        help="Endpoints that are targets by their tags and take requests.",
        labels=(),
    )
)
CONFLICTS: Final = declare(
    Metric(
        name="simcloud_router_discovery_conflicts",
        kind="gauge",
        help="Endpoints and models whose tags can't be followed.",
        labels=(),
    )
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
