from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcloud.concurrency import Backoff, RetryBudget
from support.clock import ManualClock


@given(attempt=st.integers(0, 10_000), seed=st.integers())
def test_delays_are_within_their_ceiling_and_the_cap(attempt: int, seed: int) -> None:
    backoff = Backoff(base_s=0.1, cap_s=5)
    delay = backoff.delay_s(attempt, Random(seed))
    assert 0 <= delay <= backoff.ceiling_s(attempt) <= 5


def test_ceilings_double_until_the_cap() -> None:
    backoff = Backoff(base_s=0.1, cap_s=1)
    assert [backoff.ceiling_s(attempt) for attempt in range(5)] == [0.1, 0.2, 0.4, 0.8, 1]


def test_delays_of_two_clients_differ() -> None:
    backoff = Backoff()
    assert backoff.delay_s(3, Random(1)) != backoff.delay_s(3, Random(2))


def test_a_delay_is_never_shorter_than_the_other_side_asked() -> None:
    assert Backoff(base_s=0.1).delay_s(0, Random(1), retry_after_s=7) >= 7


def test_a_back_off_that_shrinks_is_refused() -> None:
    with pytest.raises(ValueError, match="multiplier"):
        Backoff(multiplier=0.5)


def test_retries_are_a_share_of_requests() -> None:
    budget = RetryBudget(ManualClock(), ratio=0.2, floor_per_s=0)
    for _ in range(10):
        budget.record_request()
    assert [budget.try_spend() for _ in range(3)] == [True, True, False]
    assert budget.balance == 0


def test_who_asks_seldom_may_still_retry() -> None:
    budget = RetryBudget(ManualClock(), ratio=0.2, floor_per_s=1, window_s=2)
    assert [budget.try_spend() for _ in range(3)] == [True, True, False]


def test_what_is_older_than_the_window_counts_no_more() -> None:
    clock = ManualClock()
    budget = RetryBudget(clock, ratio=0.5, floor_per_s=0, window_s=10)
    budget.record_request()
    budget.record_request()
    assert budget.try_spend()
    clock.advance(10.1)
    assert not budget.try_spend()
    assert budget.balance == 0


@given(st.lists(st.sampled_from(["request", "retry", "wait"]), max_size=200))
def test_the_budget_is_never_overdrawn_within_a_window(acts: list[str]) -> None:
    clock = ManualClock()
    budget = RetryBudget(clock, ratio=0.2, floor_per_s=1, window_s=10)
    requests = retries = 0
    for act in acts:
        if act == "request":
            budget.record_request()
            requests += 1
        elif act == "retry":
            retries += budget.try_spend()
        else:
            clock.advance(0.01)
    # 200 waits of 10 ms stay within the window.
    assert retries <= 0.2 * requests + 10
