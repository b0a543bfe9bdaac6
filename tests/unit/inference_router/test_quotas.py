"""How often callers may ask."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simcloud.errors import QuotaExceeded
from simcloud_inference_router.quotas import CallerQuota, Quotas
from support.clock import ManualClock


def quota(caller: str, rate: float, burst: int | None = None) -> CallerQuota:
    return CallerQuota(caller=caller, requests_per_s=rate, burst=burst)


def taken(quotas: Quotas, caller: str, asked: int) -> int:
    """Of so many requests at once, those that were let through."""
    through = 0
    for _ in range(asked):
        try:
            quotas.charge(caller)
        except QuotaExceeded:
            continue
        through += 1
    return through


def wait_of(quotas: Quotas, caller: str) -> float:
    """Seconds that a request is told to wait; 0 when it was let through."""
    try:
        quotas.charge(caller)
    except QuotaExceeded as refused:
        return refused.retry_after_s or 0.0
    return 0.0


def test_a_burst_goes_through_and_then_as_many_as_the_rate_allows() -> None:
    clock = ManualClock()
    quotas = Quotas([quota("me", 10, 5)], clock=clock)
    assert taken(quotas, "me", 20) == 5
    with pytest.raises(QuotaExceeded, match=r"10 requests a second .* 5 at once") as refused:
        quotas.charge("me")
    assert refused.value.retry_after_s == pytest.approx(0.1)
    clock.advance(0.1)
    assert taken(quotas, "me", 20) == 1
    clock.advance(0.35)
    assert taken(quotas, "me", 20) == 3
    clock.advance(60)
    assert taken(quotas, "me", 20) == 5


def test_callers_have_buckets_of_their_own_and_some_have_none() -> None:
    quotas = Quotas([quota("big", 100), quota("*", 2)], clock=ManualClock())
    assert [taken(quotas, each, 200) for each in ("big", "a", "b")] == [100, 2, 2]
    named = Quotas([quota("a", 1)], clock=ManualClock())
    assert [taken(named, each, 50) for each in ("a", "b")] == [1, 50]
    assert taken(Quotas([], clock=ManualClock()), "a", 50) == 50


def test_a_rate_below_one_still_lets_one_through() -> None:
    clock = ManualClock()
    quotas = Quotas([quota("*", 0.5)], clock=clock)
    assert taken(quotas, "a", 3) == 1
    clock.advance(2)
    assert taken(quotas, "a", 3) == 1


def test_callers_are_remembered_up_to_a_number() -> None:
    quotas = Quotas([quota("*", 1)], clock=ManualClock(), max_callers=2)
    assert [taken(quotas, each, 2) for each in ("a", "b", "c")] == [1, 1, 1]
    assert [taken(quotas, each, 2) for each in ("c", "b")] == [0, 0]
    assert taken(quotas, "a", 2) == 1, "the one that had not asked for longest begins anew"


@settings(max_examples=50, deadline=None)
@given(
    rate=st.floats(0.1, 100),
    burst=st.integers(1, 20),
    pauses=st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
def test_never_more_than_the_burst_and_the_rate_and_what_is_told_suffices(
    rate: float, burst: int, pauses: list[float]
) -> None:
    clock = ManualClock(monotonic=0.0)
    quotas = Quotas([quota("me", rate, burst)], clock=clock)
    for number, pause in enumerate(pauses, start=1):
        clock.advance(pause)
        wait_s = wait_of(quotas, "me")
        if wait_s:
            clock.advance(wait_s)
            assert wait_of(quotas, "me") == 0.0
        assert number <= burst + rate * clock.monotonic() + 1e-6
