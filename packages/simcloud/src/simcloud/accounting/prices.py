"""What instances cost: one dated table, for every estimate. AWS's price list is the authority."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Price:
    """One row of the dated price table."""

    instance: str
    usd_per_hour: float
    vcpus: int
    read: str
    """Day on which the price was read, ISO 8601."""
    source: str


@cache
def prices() -> dict[str, Price]:
    """The price table by instance."""
    content = tomllib.loads((files(__package__) / "prices.toml").read_text(encoding="utf-8"))
    return {instance: Price(instance=instance, **row) for instance, row in content.items()}
