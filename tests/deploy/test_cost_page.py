"""The cost page: its prices are the command's own, and its figures what its formulas give."""

from __future__ import annotations

import re

import pytest

from simcloud.accounting.prices import prices
from simcloud.report.costs import estimate
from support.manifests import ROOT

PAGE = (ROOT / "docs/deploy/cost.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| ([\w.-]+) \| ([\d.]+) \| (\d{4}-\d\d-\d\d) \|(?: \d+ \|)? ([\d.]+) \|$", re.MULTILINE
)


def table(unit: str) -> dict[str, tuple[float, str, float]]:
    """Price an hour, day, dollars per 1,000, by instance, of the table with that last heading."""
    (found,) = re.findall(
        rf"^\|[^\n]*{unit} \|\n(.*?)\n\n", PAGE + "\n\n", re.MULTILINE | re.DOTALL
    )
    return {name: (float(price), day, float(usd)) for name, price, day, usd in ROW.findall(found)}


def test_pictures_on_cpus_cost_what_the_command_says() -> None:
    (cpu_s,) = {float(each) for each in re.findall(r"([\d.]+) CPU-seconds \|", PAGE)}
    rows = table("CPU-seconds")
    assert rows
    for instance, (price, day, usd) in rows.items():
        cost = estimate(cpu_s=cpu_s, images=1, instance=instance)
        assert cost is not None
        assert (cost.price.usd_per_hour, cost.price.read) == (price, day)
        assert usd == pytest.approx(cost.usd_per_1k_images, abs=5e-4)


def test_pictures_on_gpus_cost_their_time() -> None:
    rows = table("of 1 second")
    assert set(rows) == {name for name in prices() if name.startswith("g")}
    for instance, (price, day, usd) in rows.items():
        known = prices()[instance]
        assert (known.usd_per_hour, known.read) == (price, day)
        assert usd == pytest.approx(1000 * price / 3600, abs=5e-4)


def test_answers_cost_the_endpoints_time() -> None:
    rows = table("at 10 a second")
    assert all(name.startswith("ml.") for name in rows)
    for instance, (price, day, usd) in rows.items():
        known = prices()[instance]
        assert (known.usd_per_hour, known.read) == (price, day)
        assert usd == pytest.approx(1000 / 10 / 3600 * price, abs=1e-3)
