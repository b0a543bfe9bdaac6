from __future__ import annotations

from simcloud.rpc.calls import REFUSALS_AT_ONCE, REFUSALS_PER_S, AccessLog


def test_all_failures_have_a_line_and_of_the_rest_a_share_drawn_each_time() -> None:
    draws = iter((0.0, 0.29, 0.3, 0.9))
    log = AccessLog(enabled=True, ratio=0.3, draw=lambda: next(draws))
    assert [log.wants("OK") for _ in range(4)] == [True, True, False, False]
    assert log.wants("CANCELLED"), "without a draw"
    assert log.wants("NOT_FOUND")


def test_by_default_everything_has_a_line_and_nothing_when_the_log_is_off() -> None:
    def draw() -> float:
        raise AssertionError("nothing is drawn")

    assert AccessLog(enabled=True, draw=draw).wants("OK")
    off = AccessLog(enabled=False, ratio=0.5, draw=draw)
    assert not off.wants("OK")
    assert not off.wants("INTERNAL")


def test_requests_within_streams_have_a_share_of_their_own() -> None:
    draws = iter((0.2, 0.2))
    log = AccessLog(enabled=True, ratio=0.3, stream_ratio=0.1, draw=lambda: next(draws))
    assert log.wants("OK")
    assert not log.wants("OK", in_stream=True)
    assert log.wants("INTERNAL", in_stream=True)


def test_refusals_for_a_limits_sake_have_lines_up_to_a_rate_which_say_how_many_had_none() -> None:
    now = 0.0
    log = AccessLog(enabled=True, monotonic=lambda: now)
    refused = "RESOURCE_EXHAUSTED"
    assert [log.wants(refused) for _ in range(REFUSALS_AT_ONCE)] == [True] * REFUSALS_AT_ONCE
    assert log.left_out(refused) == ""
    assert not any(log.wants(refused, in_stream=each) for each in (True, False, True))
    assert log.wants("UNAVAILABLE"), "whatever else fails has one"
    assert log.left_out("UNAVAILABLE") == ""
    now = 1 / REFUSALS_PER_S
    assert log.wants(refused)
    assert log.left_out(refused) == ', "lines_left_out": 3'
    assert log.left_out(refused) == ""
    assert not log.wants(refused)
