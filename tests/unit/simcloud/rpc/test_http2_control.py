"""What a peer may ask of a connection, and how often."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from simcloud.rpc.http2 import frames
from simcloud.rpc.http2.control import Control
from simcloud.rpc.http2.frames import ConnectionFailure, read_settings, settings_frame
from simcloud.rpc.http2.limits import Allowance, Limits
from simcloud.rpc.http2.sending import Sender
from simcloud.rpc.http2.unsent import Unsent

LIMITS = Limits(max_message_bytes=1 << 20, max_streams=8, keepalive_s=30, keepalive_timeout_s=10)


class Loop:
    def call_soon(self, *_: Any) -> None:
        pass


@pytest.fixture
def sender() -> Sender:
    loop: Any = Loop()
    return Sender(loop, lambda _: None, Unsent(loop, LIMITS))


@pytest.fixture
def control(sender: Sender) -> Control:
    return Control(limits=LIMITS, sender=sender, streams={})


def payload(values: dict[int, int]) -> bytes:
    return settings_frame(values)[9:]


def test_settings_are_pairs_in_their_order() -> None:
    assert read_settings(payload({4: 1, 5: 20_000})) == [(4, 1), (5, 20_000)]
    with pytest.raises(ConnectionFailure):
        read_settings(bytes(7))


def test_settings_change_what_is_sent(control: Control, sender: Sender) -> None:
    control.settings(0, payload({frames.MAX_FRAME_SIZE: 20_000, frames.INITIAL_WINDOW_SIZE: 7}))
    assert (sender.max_frame, sender.initial_window) == (20_000, 7)
    control.settings(0, payload({frames.HEADER_TABLE_SIZE: 0, 0x99: 5}))
    assert sender.prelude == b"\x20"


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        (frames.INITIAL_WINDOW_SIZE, 1 << 31, frames.FLOW_CONTROL_ERROR),
        (frames.MAX_FRAME_SIZE, 16_383, frames.PROTOCOL_ERROR),
        (frames.MAX_FRAME_SIZE, 1 << 24, frames.PROTOCOL_ERROR),
        (frames.ENABLE_PUSH, 2, frames.PROTOCOL_ERROR),
    ],
)
def test_settings_out_of_range_end_the_connection(
    control: Control, key: int, value: int, code: int
) -> None:
    with pytest.raises(ConnectionFailure) as failure:
        control.settings(0, payload({key: value}))
    assert failure.value.code == code


def resizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Windows for which all streams are gone through."""
    seen: list[int] = []
    monkeypatch.setattr(Sender, "resize", lambda _, window, __: seen.append(window))
    return seen


def test_windows_change_once_a_frame(control: Control, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = resizes(monkeypatch)
    one = [(frames.INITIAL_WINDOW_SIZE, each) for each in range(64)]
    control.settings(0, b"".join(struct.pack(">HI", *each) for each in one))
    assert seen == [63]
    with pytest.raises(ConnectionFailure) as failure:
        control.settings(0, payload(dict.fromkeys(range(65), 1)))
    assert failure.value.code == frames.ENHANCE_YOUR_CALM


def test_windows_of_many_streams_change_less_often(
    sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = resizes(monkeypatch)
    streams: Any = dict.fromkeys(range(1, 4001, 2))
    control = Control(limits=LIMITS, sender=sender, streams=streams)

    def toggles() -> None:
        for each in range(100):
            control.settings(0, payload({frames.INITIAL_WINDOW_SIZE: each}))

    with pytest.raises(ConnectionFailure):
        toggles()
    assert 30 <= len(seen) < 60


def test_an_acknowledgement_has_no_payload(control: Control) -> None:
    control.settings(frames.ACK, b"")
    with pytest.raises(ConnectionFailure):
        control.settings(frames.ACK, payload({4: 1}))


def test_the_third_ping_too_many_ends_the_connection(control: Control) -> None:
    for _ in range(3):
        assert not control.ping(0, bytes(8))
    with pytest.raises(ConnectionFailure, match="too_many_pings") as failure:
        control.ping(0, bytes(8))
    assert failure.value.code == frames.ENHANCE_YOUR_CALM


def test_pings_beside_answers_are_welcome(control: Control, sender: Sender) -> None:
    for _ in range(100):
        sender.headers(1, b"\x88")
        control.ping(0, bytes(8))


def test_pings_of_ours_that_are_answered_are_told_apart(control: Control) -> None:
    assert control.ping(frames.ACK, b"simcloud")


def test_who_cancels_and_never_waits_is_stopped(control: Control) -> None:
    def cancels() -> None:
        for _ in range(1000):
            control.reset()

    with pytest.raises(ConnectionFailure):
        cancels()


def test_who_cancels_half_of_his_calls_is_not(control: Control) -> None:
    for _ in range(5000):
        control.reset()
        control.answered()


def test_an_allowance_comes_back_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr("simcloud.rpc.http2.limits.time.monotonic", lambda: now)
    allowance = Allowance(3, 1)
    assert [allowance.take() for _ in range(4)] == [True, True, True, False]
    now = 2.5
    assert [allowance.take() for _ in range(3)] == [True, False, False]
