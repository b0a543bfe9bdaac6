"""Every metric, declared once: ``docs/reference/metrics.md`` and the dashboards are made from this.

Names follow OpenTelemetry's conventions in Prometheus form (``rpc_server_call_duration_seconds``);
what is ours begins with ``simcloud_``. A service declares its own in one module of its own by
``declare``; two metrics of one name are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]

# Seconds; from a cached answer to the slowest render. The steps are about 2.2 apart, so a quantile
# read from them is within a factor of 1.5.
DURATION_BUCKETS_S: Final = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric's declaration. The unit is the end of its name (``_seconds``, ``_bytes``)."""

    name: str
    """Prometheus name; counters without ``_total``, which is added."""
    kind: Kind
    """What it is."""
    help: str
    """What one reads from it."""
    labels: tuple[str, ...] = ()
    """Names of its labels; every value comes from a bounded set."""
    buckets: tuple[float, ...] = DURATION_BUCKETS_S
    """Upper bounds of a histogram's buckets."""


_DECLARED: Final[dict[str, Metric]] = {}


def declare(metric: Metric) -> Metric:
    """Declares a metric and returns it.

    Raises:
        ValueError: another one has that name.
    """
    known = _DECLARED.setdefault(metric.name, metric)
    if known != metric:
        raise ValueError(f"the metric {metric.name} is declared twice, differently")
    return metric


def declared() -> tuple[Metric, ...]:
    """Every metric that the imported modules declared, by name."""
    return tuple(_DECLARED[name] for name in sorted(_DECLARED))


# Servers. OpenTelemetry "Semantic conventions for RPC metrics": rpc.server.call.duration.
RPC_DURATION: Final = declare(
    Metric(
        name="rpc_server_call_duration_seconds",
        kind="histogram",
        help="Time from the start of an RPC's handler to its end.",
        labels=("service", "method", "code"),
    )
)
RPC_STARTED: Final = declare(
    Metric(
        name="rpc_server_calls_started",
        kind="counter",
        help="RPCs begun; begun minus ended are in flight.",
        labels=("service", "method"),
    )
)
RPC_IN_FLIGHT: Final = declare(
    Metric(
        name="rpc_server_calls_in_flight",
        kind="gauge",
        help="RPCs being served now, health and reflection not counted.",
    )
)
RPC_REFUSED: Final = declare(
    Metric(
        name="rpc_server_calls_refused",
        kind="counter",
        help="RPCs refused since max_concurrent_rpcs were being served.",
    )
)
# Bounds. Exported for named budgets and channels only, summed over those of one name.
BUDGET_LIMIT: Final = declare(
    Metric(
        name="simcloud_budget_limit_bytes",
        kind="gauge",
        help="Limit of a byte budget.",
        labels=("budget",),
    )
)
BUDGET_IN_USE: Final = declare(
    Metric(
        name="simcloud_budget_in_use_bytes",
        kind="gauge",
        help="Bytes leased from a byte budget now.",
        labels=("budget",),
    )
)
BUDGET_PEAK: Final = declare(
    Metric(
        name="simcloud_budget_peak_bytes",
        kind="gauge",
        help="Most bytes leased from a byte budget at once since the start.",
        labels=("budget",),
    )
)
BUDGET_WAITING: Final = declare(
    Metric(
        name="simcloud_budget_waiting",
        kind="gauge",
        help="Tasks that wait for bytes of a budget now.",
        labels=("budget",),
    )
)
CHANNEL_BUFFERED: Final = declare(
    Metric(
        name="simcloud_channel_buffered",
        kind="gauge",
        help="Items in a channel's buffer now.",
        labels=("channel",),
    )
)
CHANNEL_WAITING: Final = declare(
    Metric(
        name="simcloud_channel_waiting_senders",
        kind="gauge",
        help="Tasks that wait for room in a channel now: back-pressure.",
        labels=("channel",),
    )
)
