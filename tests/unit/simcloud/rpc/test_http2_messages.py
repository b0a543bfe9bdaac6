"""Messages out of DATA, however it is cut, and what is refused."""

from __future__ import annotations

import gzip
import zlib
from itertools import pairwise

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcloud.rpc.http2.messages import Inbox, MessageRefused

LIMIT = 64 * 1024


def framed(message: bytes, *, compressed: int = 0, size: int | None = None) -> bytes:
    return (
        bytes([compressed]) + (len(message) if size is None else size).to_bytes(4, "big") + message
    )


def taken(inbox: Inbox) -> list[bytes]:
    found = []
    while inbox.messages:
        found.append(bytes(inbox.take()))
    return found


@given(
    st.lists(st.binary(max_size=40), max_size=8),
    st.lists(st.integers(min_value=0, max_value=400), max_size=30),
)
def test_any_cut_of_the_bytes_gives_the_same_messages(
    messages: list[bytes], cuts: list[int]
) -> None:
    raw = b"".join(framed(message) for message in messages)
    inbox = Inbox(LIMIT, "identity")
    edges = sorted({0, len(raw), *(cut for cut in cuts if cut < len(raw))})
    for start, stop in pairwise(edges):
        inbox.feed(memoryview(raw)[start:stop])
    assert inbox.held == len(raw)
    assert not inbox.partial
    assert taken(inbox) == messages
    assert inbox.held == 0


def test_a_message_under_way_says_what_it_needs() -> None:
    inbox = Inbox(LIMIT, "identity")
    inbox.feed(memoryview(framed(bytes(100))[:3]))
    assert (inbox.partial, inbox.missing) == (True, 0)
    inbox.feed(memoryview(framed(bytes(100))[3:45]))
    assert (inbox.missing, inbox.held, len(inbox.messages)) == (60, 45, 0)


def test_a_message_too_large_is_refused_by_its_prefix() -> None:
    inbox = Inbox(LIMIT, "identity")
    with pytest.raises(MessageRefused) as refused:
        inbox.feed(memoryview(framed(b"", size=LIMIT + 1)))
    assert refused.value.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    Inbox(LIMIT, "identity").feed(memoryview(framed(b"", size=LIMIT)))


@pytest.mark.parametrize("flag", [1, 2, 255])
def test_a_message_compressed_as_nobody_said_is_refused(flag: int) -> None:
    with pytest.raises(MessageRefused) as refused:
        Inbox(LIMIT, "identity").feed(memoryview(framed(b"x", compressed=flag)))
    assert refused.value.code is grpc.StatusCode.INTERNAL


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_compressed_messages_are_what_they_were(encoding: str, pack: object) -> None:
    assert callable(pack)
    inbox = Inbox(LIMIT, encoding)
    inbox.feed(memoryview(framed(pack(b"hello" * 100), compressed=1) + framed(b"plain")))
    assert taken(inbox) == [b"hello" * 100, b"plain"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (gzip.compress(bytes(LIMIT + 1), mtime=0), grpc.StatusCode.RESOURCE_EXHAUSTED),
        (gzip.compress(bytes(1000), mtime=0)[:-9], grpc.StatusCode.INTERNAL),
        (b"no gzip at all", grpc.StatusCode.INTERNAL),
    ],
    ids=["a bomb", "cut off", "something else"],
)
def test_what_does_not_unpack_is_refused_when_it_is_its_turn(
    data: bytes, code: grpc.StatusCode
) -> None:
    inbox = Inbox(LIMIT, "gzip")
    inbox.feed(memoryview(framed(data, compressed=1)))
    with pytest.raises(MessageRefused) as refused:
        inbox.take()
    assert refused.value.code is code
