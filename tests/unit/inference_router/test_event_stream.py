from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping
from itertools import pairwise

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from simcloud_inference_router.targets.event_stream import (
    Event,
    EventStreamDecoder,
    MalformedStream,
    encode_event,
)
from simcloud_inference_router.targets.response_stream import PartJoiner

EVENTS = st.lists(
    st.builds(
        Event,
        st.binary(max_size=40),
        st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=40), max_size=3),
    ),
    max_size=4,
)
PART = Event(b"abc", {":message-type": "event", ":event-type": "PayloadPart"})


def cut(data: bytes, at: list[int]) -> Iterator[bytes]:
    places = sorted({0, len(data), *(each % (len(data) + 1) for each in at)})
    for start, end in pairwise(places):
        yield data[start:end]


@given(EVENTS, st.lists(st.integers(0, 1000), max_size=5))
def test_a_stream_cut_anywhere_gives_the_events_that_were_written(
    events: list[Event], at: list[int]
) -> None:
    decoder = EventStreamDecoder()
    got: list[Event] = []
    for piece in cut(b"".join(map(encode_event, events)), at):
        got += decoder.feed(piece)
    decoder.finish()
    assert got == events


def as_texts(headers: object) -> Mapping[str, str]:
    """botocore's stubs say that its headers are numbers."""
    assert isinstance(headers, dict)
    return headers


@given(EVENTS)
def test_botocore_reads_what_we_write(events: list[Event]) -> None:
    theirs = EventStreamBuffer()
    theirs.add_data(b"".join(map(encode_event, events)))
    read = [Event(each.payload, dict(as_texts(each.headers))) for each in theirs]
    assert read == events


def message(headers: bytes, payload: bytes = b"") -> bytes:
    lengths = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    head = lengths + struct.pack(">I", zlib.crc32(lengths)) + headers + payload
    return head + struct.pack(">I", zlib.crc32(head))


def test_headers_of_every_type_are_passed_over_and_texts_kept() -> None:
    values = [
        *(b"\x01a\x00", b"\x01b\x01", b"\x01c\x02x", b"\x01d\x03xx", b"\x01e\x04xxxx"),
        *(b"\x01f\x05" + b"x" * 8, b"\x01g\x06\x00\x02xx", b"\x01h\x07\x00\x02hi"),
        *(b"\x01i\x08" + b"x" * 8, b"\x01j\x09" + b"x" * 16),
    ]
    data = message(b"".join(values), b"body")
    assert EventStreamDecoder().feed(data) == [Event(b"body", {"h": "hi"})]
    theirs = EventStreamBuffer()
    theirs.add_data(data)
    assert as_texts(next(theirs).headers)["h"] == "hi"


def claimed(total: int, headers: int) -> bytes:
    lengths = struct.pack(">II", total, headers)
    return lengths + struct.pack(">I", zlib.crc32(lengths))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (encode_event(PART)[:8] + b"\x00\x00\x00\x00", "CRC-32 of a prelude"),
        (encode_event(PART)[:-1] + b"\x00", "CRC-32 of a message"),
        (claimed(2**31, 0), "at most"),
        (claimed(2**32 - 1, 2**32 - 1), "bytes of headers"),
        (claimed(16, 1), "bytes of headers"),
        (claimed(0, 0), "bytes of headers"),
        (message(b"\x01a\x0a"), "headers can't be read"),
        (message(b"\x05a"), "headers can't be read"),
        (message(b"\x01a\x07\xff\xffx"), "headers can't be read"),
        (message(b"\x01\xff\x00"), "headers can't be read"),
    ],
)
def test_a_broken_stream_is_told_and_nothing_is_kept_for_what_it_claims(
    data: bytes, problem: str
) -> None:
    with pytest.raises(MalformedStream, match=problem):
        EventStreamDecoder().feed(data)


def test_a_stream_that_ends_within_a_message_is_broken() -> None:
    decoder = EventStreamDecoder()
    assert decoder.feed(encode_event(PART)[:-2]) == []
    with pytest.raises(MalformedStream, match="ends 65 bytes into a message"):
        decoder.finish()


def test_answers_are_parts_lines_or_the_whole() -> None:
    pieces = [b"one\r\ntw", b"", b"o\n\nthree", b""]

    def answers(*, by_line: bool, whole: bool) -> list[bytes]:
        joiner = PartJoiner(by_line=by_line, whole=whole, max_bytes=100)
        got = [answer for piece in pieces for answer in joiner.add(piece)]
        return [*got, *filter(None, [joiner.finish()])]

    assert answers(by_line=False, whole=False) == [b"one\r\ntw", b"o\n\nthree"]
    assert answers(by_line=True, whole=False) == [b"one", b"two", b"three"]
    assert answers(by_line=False, whole=True) == [b"one\r\ntwo\n\nthree"]


@pytest.mark.parametrize("whole", [True, False])
def test_an_answer_that_never_ends_is_refused_at_the_limit(whole: bool) -> None:
    joiner = PartJoiner(by_line=not whole, whole=whole, max_bytes=10)
    joiner.add(b"12345")
    with pytest.raises(MalformedStream, match="larger than 10"):
        joiner.add(b"678901")
