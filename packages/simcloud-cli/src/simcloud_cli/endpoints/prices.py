"""What bills while nobody asks: one line, before it is made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from simcloud_cli.endpoints.deployment import Deployment

HOURS_A_MONTH: Final = 730
PRICED_REGION: Final = "us-east-1"
# A public repository's capture of AWS's price list, 2026-08-17: real-time hosting, US dollars an
# hour. docs/deploy/aws.md, "What it costs".
PRICES_USD: Final[Mapping[str, float]] = {
    "ml.g4dn.xlarge": 0.7364,
    "ml.g5.xlarge": 1.408,
    "ml.g5.2xlarge": 1.515,
    "ml.g6e.xlarge": 2.61,
    "ml.g6e.2xlarge": 2.80,
    "ml.g6e.4xlarge": 3.76,
    "ml.g6e.12xlarge": 13.12,
}


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
    price = PRICES_USD.get(d.instance_type)
    if price is None:
        return "; its price is not known here: aws.amazon.com/sagemaker/pricing"
    hour = price * count
    elsewhere = "" if region == PRICED_REGION else f"; {region} has its own prices"
    return (
        f", about ${hour:.2f} an hour, ${hour * HOURS_A_MONTH:,.0f} a month, by a copy of "
        f"{PRICED_REGION}'s price list of August 2026{elsewhere}"
    )
