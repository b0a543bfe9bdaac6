"""A token bucket gives what it says, never more, and says when there will be one more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simcloud.concurrency import TokenBucket

_PAUSES_S = st.lists(st.floats(0, 10), min_size=1, max_size=60)
_PER_S = st.floats(0.1, 1000)
_AT_ONCE = st.integers(1, 50)


@given(pauses=_PAUSES_S, per_s=_PER_S, at_once=_AT_ONCE)
def test_no_stretch_of_time_has_more_than_a_full_bucket_and_what_came_back(
    pauses: list[float], per_s: float, at_once: int
) -> None:
    bucket, now = TokenBucket(), 0.0
    taken: list[float] = []
    for pause in pauses:
        now += pause
        if not bucket.take(now, per_s=per_s, at_once=at_once):
            taken.append(now)
    for first, began in enumerate(taken):
        for last in range(first, len(taken)):
            assert last - first + 1 <= at_once + (taken[last] - began) * per_s + 1e-6


@given(pauses=_PAUSES_S, per_s=_PER_S, at_once=_AT_ONCE)
def test_after_the_wait_it_tells_there_is_one_and_just_before_there_is_none(
    pauses: list[float], per_s: float, at_once: int
) -> None:
    bucket, now = TokenBucket(), 0.0
    for pause in pauses:
        now += pause
        while not bucket.take(now, per_s=per_s, at_once=at_once):
            pass
        wait_s = bucket.take(now, per_s=per_s, at_once=at_once)
        assert 0 < wait_s <= 1 / per_s + 1e-6
        assert bucket.take(now + wait_s / 2, per_s=per_s, at_once=at_once) > 0 or wait_s < 1e-6
        now += wait_s
        assert bucket.take(now, per_s=per_s, at_once=at_once) == 0.0


def test_a_full_bucket_gives_all_it_has_at_once_and_a_refusal_costs_nothing() -> None:
    bucket = TokenBucket()
    waits = [bucket.take(5.0, per_s=2.0, at_once=3) for _ in range(10)]
    assert waits == [0.0] * 3 + [0.5] * 7
    assert [bucket.take(5.5, per_s=2.0, at_once=3) for _ in range(2)] == [0.0, 0.5]
