"""When targets are taken out and come back, and which is chosen; time is the test's."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcloud.errors import (
    DeadlineExceeded,
    InvalidRequest,
    NotReady,
    Overloaded,
    PermissionDenied,
    SimcloudError,
    TargetError,
)
from simcloud_inference_router.model_options import (
    ColdStartOptions,
    OutlierOptions,
    TrafficOptions,
)
from simcloud_inference_router.routing.roster import Grant, Roster
from simcloud_inference_router.routing.routed_target import RoutedTarget, State
from simcloud_inference_router.targets.base import Failure, TargetAnswer
from support.roster import ANSWER, roster_of, routed

DOWN = Failure(NotReady("down"), retry=True, shrink=True)
STRICT = TrafficOptions(outlier=OutlierOptions(consecutive_failures=3, minimum_requests=10))


def ask(
    roster: Roster, target: RoutedTarget, outcome: TargetAnswer | Failure | None, now: float
) -> Grant:
    """One request that begins and ends at ``now``."""
    grant = roster.grant(target, now)
    grant.sent = True
    roster.learn(grant, outcome, now)
    return grant


def trio(options: TrafficOptions = STRICT) -> tuple[Roster, RoutedTarget]:
    targets = [routed(name, options=options) for name in "abc"]
    return roster_of(targets, options=options), targets[0]


@pytest.mark.parametrize(
    ("error", "out"),
    [
        (NotReady("x"), True),
        (TargetError("x", http_status=500), True),
        (TargetError("x", http_status=424), True),
        (PermissionDenied("x"), True),
        (DeadlineExceeded("x"), True),
        (TargetError("not an answer", http_status=200), False),
        (InvalidRequest("", "x"), False),
        (Overloaded("x"), False),
    ],
)
def test_only_what_is_the_targets_fault_takes_it_out(error: SimcloudError, out: bool) -> None:
    roster, target = trio()
    for _ in range(3):
        ask(roster, target, Failure(error), 100.0)
    assert (target.state is State.EJECTED) is out
    assert target.ready is not out


def test_a_callers_short_time_is_not_the_targets_fault() -> None:
    roster, target = trio()
    for _ in range(10):
        grant = roster.grant(target, 100.0)
        grant.sent, grant.patience_s = True, 0.5
        roster.learn(grant, Failure(DeadlineExceeded("x")), 100.5)
    assert target.state is State.OPEN
    assert target.latency.value(100.5) == 0.5, "but it was at least that slow"


def test_an_answer_in_between_begins_the_count_again() -> None:
    roster, target = trio()
    for outcome in (DOWN, DOWN, ANSWER, DOWN, DOWN):
        ask(roster, target, outcome, 100.0)
    assert target.state is State.OPEN


def test_half_of_many_failing_takes_it_out_too() -> None:
    roster, target = trio()
    for number in range(10):
        assert target.state is State.OPEN
        ask(roster, target, ANSWER if number % 2 == 0 else DOWN, 100.0)
    assert target.state is State.EJECTED


def test_failures_of_another_interval_are_forgotten() -> None:
    roster, target = trio()
    for number in range(9):
        ask(roster, target, ANSWER if number % 2 == 0 else DOWN, 100.0)
    ask(roster, target, DOWN, 111.0)
    assert target.state is State.OPEN


def test_each_time_out_in_a_row_is_longer_and_a_good_spell_makes_up_for_it() -> None:
    roster, target = trio()
    now = 1000.0
    lengths = []
    for _ in range(12):
        for _ in range(3):
            ask(roster, target, DOWN, now)
        lengths.append(target.shut_until - now)
        now = target.shut_until
        assert target.has_room(now)
        ask(roster, target, ANSWER, now)
        assert target.state is State.OPEN
    assert lengths == [30.0 * count for count in range(1, 11)] + [300.0, 300.0]
    now += 30.0 * 12
    for _ in range(3):
        ask(roster, target, DOWN, now)
    assert target.shut_until - now == 30.0


def test_a_probe_that_fails_keeps_it_out_and_one_that_is_given_up_is_repeated() -> None:
    roster, target = trio()
    for _ in range(3):
        ask(roster, target, DOWN, 100.0)
    assert not target.has_room(129.9)
    probe = roster.grant(target, 130.0)
    assert probe.probe
    assert not target.has_room(131.0), "one at a time"
    roster.learn(probe, None, 131.0)
    assert target.has_room(131.0)
    ask(roster, target, DOWN, 131.0)
    assert (target.state, target.shut_until) == (State.EJECTED, 131.0 + 60.0)


def test_late_answers_to_what_was_sent_before_bring_no_target_back() -> None:
    roster, target = trio()
    late = roster.grant(target, 100.0)
    for _ in range(3):
        ask(roster, target, DOWN, 100.0)
    roster.learn(late, ANSWER, 101.0)
    assert target.state is State.EJECTED


@given(
    st.integers(1, 6),
    st.floats(0, 1),
    st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.floats(0, 40)), max_size=120),
)
def test_no_more_than_may_are_out_and_never_the_last(
    number: int, share: float, events: list[tuple[int, bool, float]]
) -> None:
    options = TrafficOptions(outlier=OutlierOptions(consecutive_failures=2, max_ejected=share))
    targets = [routed(f"t{index}", options=options) for index in range(number)]
    roster = roster_of(targets, options=options)
    now = 0.0
    for index, good, pause_s in events:
        now += pause_s
        target = targets[index % number]
        if target.has_room(now):
            ask(roster, target, ANSWER if good else DOWN, now)
        out = [each for each in targets if each.state is State.EJECTED]
        assert len(out) < number
        assert len(out) <= (max(int(share * number), 1) if share else 0)
        assert roster.shut == len(out)
        assert roster.choose(roster.ordinary, now) is not None
        assert all(each.in_flight == 0 for each in targets)


def test_where_all_that_may_take_it_are_out_they_are_asked() -> None:
    large, small = routed("large", options=STRICT), routed("small", options=STRICT)
    roster = roster_of([large, small], options=STRICT)
    for _ in range(3):
        ask(roster, large, DOWN, 100.0)
    assert roster.choose(large.bit, 101.0) is large
    assert roster.choose(roster.ordinary, 101.0) is small
    ask(roster, large, DOWN, 101.0)
    assert large.shut_until == 130.0, "that was no probe"


def test_the_lowest_tier_with_room_is_asked_and_a_probe_goes_first() -> None:
    targets = [
        routed("near", limit=1, options=STRICT),
        routed("near2", limit=1, options=STRICT),
        routed("far", tier=3, options=STRICT),
    ]
    near, near2, far = targets
    roster = roster_of(targets, options=STRICT)
    held = roster.grant(near, 0.0)
    assert roster.choose(roster.ordinary, 0.0) is near2
    roster.grant(near2, 0.0)
    assert roster.choose(roster.ordinary, 0.0) is far
    roster.learn(held, ANSWER, 0.0)
    for _ in range(3):
        ask(roster, near, DOWN, 0.0)
    assert roster.choose(roster.ordinary, 29.0) is far
    assert roster.choose(roster.ordinary, 30.0) is near


def simulated(weights: dict[str, float], delays: dict[str, float], number: int) -> Counter[str]:
    """Requests to targets that take exactly so long; 40 at once, on a clock of its own."""
    targets = [routed(name, limit=1000, weight=weight) for name, weight in weights.items()]
    roster = roster_of(targets, draw=Random(11).random)
    now, under_way = 0.0, list[tuple[float, int, Grant]]()
    counts: Counter[str] = Counter()
    for index in range(number):
        if len(under_way) == 40:
            under_way.sort(key=lambda each: each[:2])
            now, _, ended = under_way.pop(0)
            roster.learn(ended, ANSWER, now)
        target = roster.choose(roster.ordinary, now)
        assert target is not None
        counts[target.name] += 1
        under_way.append((now + delays[target.name], index, roster.grant(target, now)))
    return counts


def test_weights_divide_the_traffic_of_equally_fast_targets() -> None:
    counts = simulated({"a": 1.0, "b": 3.0}, {"a": 0.02, "b": 0.02}, 4000)
    assert counts["b"] / 4000 == pytest.approx(0.75, abs=0.03)


def test_equal_targets_are_asked_equally_often() -> None:
    counts = simulated(dict.fromkeys("abcd", 1.0), dict.fromkeys("abcd", 0.02), 4000)
    assert all(count == pytest.approx(1000, abs=100) for count in counts.values())


def test_a_target_ten_times_as_slow_gets_far_less_than_a_tenth() -> None:
    counts = simulated({"a": 1.0, "b": 1.0}, {"a": 0.01, "b": 0.1}, 4000)
    assert 0 < counts["b"] < 200


def test_a_key_stays_and_only_those_of_a_lost_target_move() -> None:
    roster, lost = trio()
    keys = [f"key{number}" for number in range(3000)]
    before = {key: roster.place(roster.ordinary, key, 100.0) for key in keys}
    for target in roster.targets:
        found = sum(home is target for home in before.values())
        # 4 sigma of 3,000 draws of a third
        assert abs(found - 1000) <= 4 * (3000 * 2 / 9) ** 0.5
    for _ in range(3):
        ask(roster, lost, DOWN, 100.0)
    for key in keys:
        if before[key] is not lost:
            assert roster.place(roster.ordinary, key, 100.0) is before[key]


def test_a_cold_target_is_probed_once_a_pause_and_opens_with_the_first_answer() -> None:
    options = TrafficOptions(cold_start=ColdStartOptions(probe_every_s=5))
    cold = Failure(NotReady("no capacity"), no_capacity=True)
    target = routed("a", options=options)
    roster = roster_of([target], options=options)
    others = [roster.grant(target, 100.0) for _ in range(3)]
    for number, grant in enumerate(others):
        roster.learn(grant, cold, 100.0 + number)
    assert (target.state, target.shut_until, target.counts.cold_starts) == (State.COLD, 105.0, 1)
    assert roster.next_probe_at(102.0) == 105.0
    assert roster.choose(1, 104.9) is None
    ask(roster, target, cold, 106.0)
    assert target.shut_until == 111.0
    ask(roster, target, ANSWER, 112.0)
    assert (target.state, roster.shut, target.limit.limit) == (State.OPEN, 0, 8)


def test_a_target_is_busy_while_anything_is_there_and_every_attempt_is_timed() -> None:
    roster, target = trio()
    first, second = roster.grant(target, 10.0), roster.grant(target, 10.5)
    first.sent = True
    assert target.snapshot(11.0).busy_s == 1.0, "of what is under way, too"
    roster.learn(first, ANSWER, 12.0)
    roster.learn(second, None, 13.0)
    assert target.snapshot(20.0).busy_s == 3.0
    ask(roster, target, DOWN, 20.0)
    counts = target.counts
    assert (counts.attempts, sum(counts.times.counts), counts.times.total_s) == (2, 2, 2.0)


def test_a_price_holds_for_the_time_after_it_and_what_was_counted_never_falls() -> None:
    roster, target = trio()
    first = roster.grant(target, 0.0)
    assert target.snapshot(10.0).cost_usd is None, "without a price there is no estimate"
    target.counts.price(7200.0, 10.0)
    assert target.snapshot(15.0).cost_usd == 10.0
    target.counts.price(3600.0, 20.0)
    assert target.snapshot(20.0).cost_usd == 20.0, "of what is under way, too"
    roster.learn(first, ANSWER, 30.0)
    target.counts.price(None, 40.0)
    ask(roster, target, ANSWER, 50.0)
    assert (target.snapshot(60.0).cost_usd, target.snapshot(60.0).busy_s) == (30.0, 30.0)


def test_people_are_told_what_a_target_took_long_after_choosing_has_forgotten_it() -> None:
    roster, target = trio()
    grant = roster.grant(target, 0.0)
    grant.sent = True
    roster.learn(grant, ANSWER, 0.3)
    told = target.snapshot(600.0)
    assert told.mean_s == 0.3
    assert told.ewma_s < 1e-6


def test_an_attempt_that_is_cancelled_once_its_time_is_up_has_failed() -> None:
    roster, target = trio()
    for left_s, ends, failures in ((5.0, 4.0, 0), (5.0, 5.0, 1)):
        grant = roster.grant(target, 0.0)
        grant.sent, grant.patience_s = True, left_s
        roster.learn(grant, None, ends)
        assert target.counts.failures == failures
    assert target.ready, "its caller's own short time says nothing about it"
