"""What may leave: windows, frames, turns, and a transport that is full."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcloud.rpc.http2 import frames
from simcloud.rpc.http2.frames import ConnectionFailure
from simcloud.rpc.http2.limits import Limits
from simcloud.rpc.http2.sending import Sender
from simcloud.rpc.http2.stream import Stream
from simcloud.rpc.http2.unsent import Unsent
from simcloud.rpc.http2.wire import OK_BLOCK, read_head

HEAD = read_head(
    [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/a/b"),
        ("content-type", "application/grpc"),
    ]
)
LIMITS = Limits(max_message_bytes=1 << 20, max_streams=8, keepalive_s=30, keepalive_timeout_s=10)


class Turn:
    """A loop whose turns are made by hand."""

    def __init__(self) -> None:
        self.due: list[Any] = []

    def call_soon(self, callback: Any, *arguments: Any) -> None:
        self.due.append((callback, arguments))

    def time(self) -> float:
        return 0.0

    def run(self) -> None:
        while self.due:
            callback, arguments = self.due.pop(0)
            callback(*arguments)


class Wire(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))

    def writelines(self, list_of_data: Any) -> None:
        self.write(b"".join(list_of_data))


class Side:
    """A sender, what it has sent, and its streams."""

    def __init__(self) -> None:
        self.turn, self.wire = Turn(), Wire()
        self.ended: list[int] = []
        loop: Any = self.turn
        self.unsent = Unsent(loop, LIMITS)
        self.sender = Sender(loop, lambda stream: self.ended.append(stream.stream_id), self.unsent)
        self.sender.open(self.wire)
        self.limits = LIMITS

    def stream(self, number: int = 1) -> Stream:
        connection: Any = self
        return Stream(connection, number, HEAD)

    def sent(self) -> list[tuple[int, int, int, bytes]]:
        """Kind, flags, stream and payload of every frame so far."""
        self.turn.run()
        data, found = b"".join(self.wire.writes), []
        position = 0
        while position < len(data):
            high, low, kind, flags, number = frames.unpack_header(data, position)
            start, position = position + 9, position + 9 + (high << 8 | low)
            found.append((kind, flags, number, data[start:position]))
        return found

    def data(self, number: int = 1) -> bytes:
        return b"".join(
            payload
            for kind, _, each, payload in self.sent()
            if (kind, each) == (frames.DATA, number)
        )


def framed(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def test_an_answer_is_three_frames_in_one_write() -> None:
    side = Side()
    side.sender.answer(side.stream(), b"hello")
    kinds = [(kind, flags) for kind, flags, _, _ in side.sent()]
    assert kinds == [(frames.HEADERS, 4), (frames.DATA, 0), (frames.HEADERS, 5)]
    assert len(side.wire.writes) == 1
    assert (side.data(), side.ended) == (framed(b"hello"), [1])


def test_what_calls_send_in_one_turn_is_one_write() -> None:
    side = Side()
    for number in (1, 3, 5):
        side.sender.answer(side.stream(number), b"x")
    side.turn.run()
    assert len(side.wire.writes) == 1


@given(
    size=st.integers(min_value=0, max_value=200_000),
    steps=st.lists(st.integers(min_value=1, max_value=40_000), min_size=1, max_size=40),
    window=st.integers(min_value=0, max_value=70_000),
)
def test_no_more_leaves_than_the_windows_let_and_all_of_it_in_the_end(
    size: int, steps: list[int], window: int
) -> None:
    side = Side()
    side.sender.resize(window, {})
    stream, message = side.stream(), bytes(range(256)) * (size // 256 + 1)
    message = message[:size]
    side.sender.message(stream, message)
    side.sender.end(stream, OK_BLOCK)
    allowed, all_of_it = [window, frames.DEFAULT_WINDOW], framed(message)
    for number, step in enumerate(steps):
        side.sender.widen(None if number % 2 else stream, step)
        allowed[number % 2] += step
        assert len(side.data()) == min(*allowed, len(all_of_it))
    side.sender.widen(stream, 1 << 20)
    side.sender.widen(None, 1 << 20)
    assert side.data() == all_of_it
    assert side.ended == [1]
    assert side.sent()[-1][:2] == (frames.HEADERS, 5)
    assert max(len(payload) for _, _, _, payload in side.sent()) <= frames.DEFAULT_MAX_FRAME


def test_what_waits_of_ended_calls_is_counted_until_it_has_left_or_nobody_wants_it() -> None:
    side = Side()
    side.sender.resize(0, {})
    taken, forgotten, lasting = (side.stream(number) for number in (1, 3, 5))
    for stream in (taken, forgotten):
        side.sender.answer(stream, bytes(1000))
    side.sender.message(lasting, bytes(1000))  # Its method waits: it bounds itself.
    assert side.sender.held == 2 * 1005
    side.sender.widen(taken, 400)
    assert (side.sender.held, side.sender.moved) == (2 * 1005 - 400, 400)
    side.sender.forget(forgotten)
    assert side.sender.held == 605
    side.sender.widen(taken, 605)
    assert (side.sender.held, side.sender.moved) == (0, 1005)


def test_a_window_that_shrinks_below_nothing_waits_until_it_is_positive() -> None:
    side = Side()
    stream = side.stream()
    assert side.sender.message(stream, bytes(10_000))
    side.sender.resize(0, {1: stream})
    assert stream.send_left == -10_005
    assert not side.sender.message(stream, b"more")
    assert side.sender.widen(stream, 10_005)
    assert len(side.data()) == 10_005
    assert side.sender.widen(stream, 9)
    assert len(side.data()) == 10_014


def test_streams_that_wait_for_the_connection_take_turns() -> None:
    side = Side()
    side.sender.resize(1 << 20, {})
    side.sender.message(side.stream(99), bytes(frames.DEFAULT_WINDOW - 5))
    one, two = side.stream(1), side.stream(3)
    for stream in (one, two):
        assert not side.sender.message(stream, bytes(100_000))
    side.sender.widen(None, 4 * frames.DEFAULT_MAX_FRAME)
    order = [number for kind, _, number, _ in side.sent() if kind == frames.DATA and number < 99]
    assert order == [1, 3, 1, 3]


def test_a_full_transport_holds_messages_back_until_it_has_room() -> None:
    side = Side()
    side.sender.paused = True
    stream = side.stream()
    assert not side.sender.message(stream, b"later")
    assert side.data() == b""
    side.sender.resume()
    assert side.data() == framed(b"later")
    assert stream.outbox is None


def test_a_window_beyond_the_largest_is_an_error() -> None:
    side = Side()
    stream = side.stream()
    assert not side.sender.widen(stream, frames.LARGEST_WINDOW)
    with pytest.raises(ConnectionFailure):
        side.sender.widen(None, frames.LARGEST_WINDOW)


def test_headers_larger_than_a_frame_go_on_in_others() -> None:
    side = Side()
    side.sender.headers(1, bytes(40_000), end=True)
    found = [(kind, flags, len(payload)) for kind, flags, _, payload in side.sent()]
    assert found == [
        (frames.HEADERS, frames.END_STREAM, 16_384),
        (frames.CONTINUATION, 0, 16_384),
        (frames.CONTINUATION, frames.END_HEADERS, 7232),
    ]


def test_a_smaller_table_is_acknowledged_in_the_next_block_alone() -> None:
    side = Side()
    side.sender.prelude = b"\x20"
    side.sender.answer(side.stream(1), b"")
    side.sender.answer(side.stream(3), b"")
    blocks = [payload[:1] for kind, _, _, payload in side.sent() if kind == frames.HEADERS]
    assert blocks[0] == b"\x20"
    assert b"\x20" not in blocks[1:]
