from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from simcloud_inference_router.routing.limiter import AimdLimit, LimitSettings


def test_it_grows_by_one_per_limits_worth_of_successes() -> None:
    limit = AimdLimit(LimitSettings(start=8, maximum=64))
    for _ in range(8):
        limit.succeeded(in_flight=8)
    assert limit.limit == 8
    limit.succeeded(in_flight=8)
    assert limit.limit == 9


def test_an_idle_target_does_not_grow() -> None:
    limit = AimdLimit(LimitSettings(start=8))
    for _ in range(1000):
        limit.succeeded(in_flight=3)
    assert limit.limit == 8


def test_one_overload_episode_shrinks_once() -> None:
    limit = AimdLimit(LimitSettings(start=10, decrease=0.5))
    # All ten were sent before the first refusal came back.
    for _ in range(10):
        limit.overloaded(sent_at=1.0, now=2.0)
    assert limit.limit == 5
    limit.overloaded(sent_at=2.5, now=3.0)
    assert limit.limit == 2


@given(st.lists(st.booleans(), max_size=300))
def test_the_limit_stays_within_its_bounds(outcomes: list[bool]) -> None:
    settings = LimitSettings(start=4, minimum=1, maximum=12)
    limit = AimdLimit(settings)
    for now, good in enumerate(outcomes):
        if good:
            limit.succeeded(in_flight=limit.limit)
        else:
            limit.overloaded(sent_at=now, now=now)
        assert settings.minimum <= limit.limit <= settings.maximum
