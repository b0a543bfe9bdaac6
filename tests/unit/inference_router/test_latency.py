from __future__ import annotations

from math import e

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcloud_inference_router.routing.latency import WINDOW, PeakEwma, RunningQuantile


def test_it_rises_at_once_and_falls_to_1_of_e_in_ten_seconds() -> None:
    average = PeakEwma()
    average.observe(0.010, now=100.0)
    average.observe(0.500, now=100.1)
    assert average.value(100.1) == 0.5
    assert average.value(110.1) == pytest.approx(0.5 / e)


def test_quick_answers_bring_a_peak_down_slowly() -> None:
    average = PeakEwma()
    average.observe(1.0, now=0.0)
    for tenth in range(1, 101):
        average.observe(0.01, now=tenth / 10)
    assert average.value(10.0) == pytest.approx(0.01 + 0.99 / e, rel=0.02)


def test_nothing_is_known_before_the_first_answer() -> None:
    assert PeakEwma().value(1e6) == 0.0


@given(st.lists(st.tuples(st.floats(1e-4, 100), st.floats(0, 30)), min_size=1, max_size=50))
def test_it_stays_between_nothing_and_the_slowest(steps: list[tuple[float, float]]) -> None:
    average = PeakEwma()
    now = 0.0
    for seconds, pause_s in steps:
        now += pause_s
        average.observe(seconds, now)
        assert seconds <= average.value(now) * 1.000001
        assert average.value(now) <= max(each for each, _ in steps)


@given(
    st.lists(st.floats(0, 100), min_size=50, max_size=600),
    st.sampled_from([0.5, 0.9, 0.95, 0.99]),
)
def test_the_quantile_is_that_of_the_latest(times: list[float], fraction: float) -> None:
    quantile = RunningQuantile(fraction, minimum_samples=50)
    for index, seconds in enumerate(times):
        assert (quantile.value is None) == (index < 50)
        quantile.observe(seconds)
    latest = sorted(times[-WINDOW:])
    assert quantile.value == latest[int(fraction * (len(latest) - 1))]
