"""What an endpoint is, does and costs, gathered from SageMaker, CloudWatch and what scales it.

What the credentials may not see is left out and named: a look must not need the permissions of a
change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from simcloud.clock import SYSTEM_CLOCK, Clock
from simcloud.errors import NotFound, PermissionDenied
from simcloud_cli.endpoints.asleep import KeptConfig, configs_of, makers
from simcloud_cli.endpoints.aws import Aws, Request
from simcloud_cli.endpoints.capacity import Limits, limits_of
from simcloud_cli.endpoints.describe import Endpoint, find_endpoint
from simcloud_cli.endpoints.prices import usd_an_hour
from simcloud_cli.endpoints.scaling import scalables
from simcloud_cli.endpoints.scheduler import Schedule, scheduled_calls
from simcloud_cli.endpoints.schedules import schedules_of

T = TypeVar("T")

_HOUR_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """How often something was asked."""

    name: str
    """Variant or component."""
    requests: int
    """Within the hours that were looked at."""
    last_hour: datetime | None
    """Beginning of the last hour with a request; None: there was none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """An endpoint, or what is left of one that sleeps."""

    name: str
    region: str
    endpoint: Endpoint | None
    kept: tuple[KeptConfig, ...]
    """Of which an endpoint that is not there may be made; several: nothing says which."""
    usd_per_hour: float | None
    """By the list prices of ``prices``, for what runs now; None: a price is not known."""
    hours: int
    """That ``usage`` looks back."""
    usage: tuple[Usage, ...] | None
    """None: not seen."""
    limits: dict[str, Limits] | None
    """By resource; None: not seen."""
    schedules: tuple[Schedule, ...] | None
    """None: not seen."""
    unseen: tuple[str, ...]
    """What the credentials may not see, with the statement that would allow it."""

    @property
    def word(self) -> str:
        """SageMaker's state, or ``Asleep``."""
        if self.endpoint is None:
            return "Asleep"
        items = scalables(self.endpoint)
        none = bool(items) and not any(item.current or item.desired for item in items)
        asleep = none and self.endpoint.kind != "realtime" and self.endpoint.status == "InService"
        return "Asleep" if asleep else self.endpoint.status


async def look_at(aws: Aws, name: str, *, hours: int, clock: Clock = SYSTEM_CLOCK) -> Status:
    """Looks at an endpoint; changes nothing.

    Args:
        aws: the account.
        name: the endpoint.
        hours: how far its use is looked back at.
        clock: says what time it is.

    Raises:
        NotFound: there is no such endpoint, asleep or not.
        SimcloudError: as ``Aws.ask``, for what SageMaker itself says.
    """
    endpoint = await find_endpoint(aws, name)
    unseen: list[str] = []
    if endpoint is None:
        return await _asleep(aws, name, hours, unseen)
    usage = await _if_allowed(_usage(aws, endpoint, hours, clock), unseen)
    limits = await _if_allowed(limits_of(aws, scalables(endpoint)), unseen)
    schedules = await _if_allowed(schedules_of(aws, endpoint), unseen)
    return Status(
        name=name,
        region=aws.region,
        endpoint=endpoint,
        kept=(),
        usd_per_hour=usd_per_hour(endpoint),
        hours=hours,
        usage=None if usage is None else tuple(usage),
        limits=limits,
        schedules=None if schedules is None else tuple(schedules),
        unseen=tuple(unseen),
    )


def usd_per_hour(endpoint: Endpoint) -> float | None:
    """What an endpoint's instances cost as long as they run, by list prices of ``us-east-1``.

    None when a price is not known, or what bills is not instances alone.
    """
    total = 0.0
    for variant in endpoint.variants:
        if variant.serverless_mb is not None:
            # By use; but what is kept warm bills all the time, at a price that is not known here.
            if variant.provisioned_concurrency:
                return None
            continue
        count = variant.current_instances or 0
        price = usd_an_hour(variant.instance_type)
        if count and price is None:
            return None
        total += count * (price or 0.0)
    return total


async def _asleep(aws: Aws, name: str, hours: int, unseen: list[str]) -> Status:
    configs = await configs_of(aws, name)
    if not configs:
        raise NotFound(
            f"there is no endpoint {name} in {aws.region}, and no configuration of one that sleeps"
        )
    kept = await _if_allowed(makers(aws, name, configs), unseen)
    schedules = await _if_allowed(scheduled_calls(aws, name), unseen)
    return Status(
        name=name,
        region=aws.region,
        endpoint=None,
        kept=tuple(configs if kept is None else kept),
        usd_per_hour=0.0,
        hours=hours,
        usage=None,
        limits=None,
        schedules=None if schedules is None else tuple(schedules),
        unseen=tuple(unseen),
    )


async def _if_allowed(look: Awaitable[T], unseen: list[str]) -> T | None:
    try:
        return await look
    except PermissionDenied as error:
        unseen.append(error.message)
        return None


async def _usage(aws: Aws, endpoint: Endpoint, hours: int, clock: Clock) -> list[Usage]:
    # Components tell their own numbers, variants theirs; and asynchronous endpoints no Invocations,
    # but each request has its latency (as deploy/terraform/modules/observability/alarms.tf has it).
    if endpoint.kind == "component":
        places = [
            (item.name, [("InferenceComponentName", item.name)]) for item in endpoint.components
        ]
    else:
        places = [
            (item.name, [("EndpointName", endpoint.name), ("VariantName", item.name)])
            for item in endpoint.variants
        ]
    slow = endpoint.kind == "async"
    statistic = "SampleCount" if slow else "Sum"
    found = []
    for name, dimensions in places:
        answer = await aws.ask(
            _statistics(
                "ModelLatency" if slow else "Invocations",
                statistic,
                dimensions,
                now=datetime.fromtimestamp(clock.time(), UTC),
                hours=hours,
            )
        )
        asked = [
            (point["Timestamp"], int(point[statistic]))
            for point in answer.get("Datapoints", [])
            if point.get(statistic)
        ]
        found.append(
            Usage(
                name=name,
                requests=sum(count for _, count in asked),
                last_hour=max((when for when, _ in asked), default=None),
            )
        )
    return found


def _statistics(
    metric: str,
    statistic: str,
    dimensions: Sequence[tuple[str, str]],
    *,
    now: datetime,
    hours: int,
) -> Request:
    return Request(
        service="cloudwatch",
        operation="GetMetricStatistics",
        parameters={
            "Namespace": "AWS/SageMaker",
            "MetricName": metric,
            "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions],
            "StartTime": now - timedelta(hours=hours),
            "EndTime": now,
            "Period": _HOUR_S,
            "Statistics": [statistic],
        },
    )
