"""What bills while nobody asks: one line, before it is made."""

from __future__ import annotations

from typing import Final

from simcloud.accounting.prices import prices
from simcloud_cli.endpoints.deployment import Deployment

HOURS_A_MONTH: Final = 730
PRICED_REGION: Final = "us-east-1"
"""Region of the library's price table."""


def usd_an_hour(instance_type: str) -> float | None:
    """What an instance of an endpoint costs, in ``us-east-1``; None: it is not known here."""
    price = prices().get(instance_type)
    return price.usd_per_hour if price is not None else None


def billing_line(d: Deployment, *, region: str) -> str:
    """What an endpoint costs while it stands idle, as far as it is known here."""
    if d.kind == "serverless":
        return "bills by the second of use and by byte; nothing while nobody asks"
    if d.kind == "component" and d.instances == 0:
        return (
            f"bills {d.instance_type} by the hour while an instance runs, {d.max_instances} at "
            f"most, one from the start; none once it has scaled to zero{_an_hour(d, region, 1)}"
        )
    return (
        f"bills by the hour, day and night: {d.instances} x {d.instance_type}"
        f"{_an_hour(d, region, d.instances)}"
    )


def _an_hour(d: Deployment, region: str, count: int) -> str:
    price = usd_an_hour(d.instance_type)
    if price is None:
        return "; its price is not known here: aws.amazon.com/sagemaker/pricing"
    hour = price * count
    elsewhere = "" if region == PRICED_REGION else f"; {region} has its own prices"
    return (
        f", about ${hour:.2f} an hour, ${hour * HOURS_A_MONTH:,.0f} a month, by a copy of "
        f"{PRICED_REGION}'s price list of August 2026{elsewhere}"
    )
