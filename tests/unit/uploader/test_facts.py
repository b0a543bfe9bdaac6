"""What was read is known by its ETag, within a bound."""

from __future__ import annotations

import pytest

from simcloud.telemetry import metrics
from simcloud_uploader.facts import Fact, Facts
from simcloud_uploader.metrics import FACTS


class Source:
    """Objects that count how often they are read."""

    def __init__(self) -> None:
        self.etag = "1"
        self.reads = 0

    async def read(self) -> Fact[str]:
        self.reads += 1
        return Fact(f"value {self.etag}", self.etag, 10)


def dropped() -> float:
    return metrics.value_of(FACTS, {"outcome": "dropped"})


async def test_a_fact_is_read_once_for_an_etag_and_again_for_another() -> None:
    facts, source = Facts(100), Source()
    for _ in range(2):
        assert await facts.of(str, ("b", "k", "1"), source.read) == "value 1"
    assert source.reads == 1
    source.etag = "2"
    assert await facts.of(str, ("b", "k", "2"), source.read) == "value 2"
    assert source.reads == 2


async def test_an_object_that_was_replaced_since_it_was_listed_is_known_by_what_was_read() -> None:
    facts, source = Facts(100), Source()
    source.etag = "2"
    assert await facts.of(str, ("b", "k", "1"), source.read) == "value 2"
    assert await facts.of(str, ("b", "k", "2"), source.read) == "value 2"
    assert source.reads == 1
    source.etag = "1"
    assert await facts.of(str, ("b", "k", "1"), source.read) == "value 1"


async def test_the_facts_used_last_are_kept_and_the_bound_holds() -> None:
    facts, source = Facts(25), Source()
    before = dropped()
    for key in ("a", "b", "a", "c"):
        await facts.of(str, ("b", key, "1"), source.read)
        assert facts.size_bytes <= 25
    assert (source.reads, dropped() - before) == (3, 1)
    await facts.of(str, ("b", "a", "1"), source.read)
    assert source.reads == 3
    await facts.of(str, ("b", "b", "1"), source.read)
    assert source.reads == 4
    assert facts.size_bytes == 20


async def test_what_does_not_fit_is_read_each_time_and_a_failure_is_not_kept() -> None:
    none, source = Facts(0), Source()
    for _ in range(2):
        await none.of(str, ("b", "k", "1"), source.read)
    assert (source.reads, none.size_bytes) == (2, 0)

    async def fails() -> Fact[str]:
        raise ValueError("damaged")

    facts = Facts(100)
    with pytest.raises(ValueError, match="damaged"):
        await facts.of(str, ("b", "k", "1"), fails)
    assert await facts.of(str, ("b", "k", "1"), source.read) == "value 1"
