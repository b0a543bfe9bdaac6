from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from simcloud.http.chunks import MAX_HEAD_BYTES
from simcloud.http.errors import AnswerTooLarge, MalformedHttp
from simcloud.http.parse import MAX_HEADERS, AnswerParser

OK = b"HTTP/1.1 200 OK\r\n"


@dataclass(frozen=True, slots=True)
class Read:
    """What a parser made of bytes."""

    status: int
    headers: dict[str, str]
    body: bytes
    reusable: bool


def read(*pieces: bytes, ended: bool = False, limit: int = 1 << 20) -> Read | None:
    """The answer in these pieces, or None while there is more to come."""
    parser = AnswerParser(max_body_bytes=limit)
    done = False
    for piece in pieces:
        if not done:
            done = parser.feed(piece)
    if not done and not (ended and parser.end()):
        return None
    return Read(parser.status, dict(parser.headers), b"".join(parser.pieces), parser.reusable)


def chunked(*chunks: bytes, trailers: bytes = b"") -> bytes:
    framed = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks if chunk)
    return OK + b"Transfer-Encoding: chunked\r\n\r\n" + framed + b"0\r\n" + trailers + b"\r\n"


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


def test_an_answer_of_a_known_length_is_complete_with_its_last_byte() -> None:
    data = OK + b"Content-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
    headers = {"content-type": "text/plain", "content-length": "5"}
    assert read(data) == Read(200, headers, b"hello", reusable=True)
    assert read(data[:-1]) is None
    assert read(data[:-1], ended=True) is None


def test_an_answer_without_a_length_ends_with_its_connection() -> None:
    data = OK + b"\r\nall of it"
    assert read(data) is None
    assert read(data, ended=True) == Read(200, {}, b"all of it", reusable=False)


def test_chunks_are_joined_and_extensions_and_trailers_dropped() -> None:
    data = OK + b"Transfer-Encoding: Chunked\r\n\r\n"
    data += b"3;name=value\r\nabc\r\n00B\r\nhello world\r\n000;x\r\nExpires: never\r\n\r\n"
    found = read(data)
    assert found is not None
    assert (found.body, found.reusable) == (b"abchello world", True)
    assert "expires" not in found.headers


def test_interim_answers_are_passed_over() -> None:
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    assert read(data) is None
    found = read(data + OK + b"content-length: 1\r\n\r\nx")
    assert found == Read(200, {"content-length": "1"}, b"x", reusable=True)


@pytest.mark.parametrize("status", [204, 304])
def test_answers_without_a_body_end_with_their_head(status: int) -> None:
    found = read(b"HTTP/1.1 %d x\r\nContent-Length: 7\r\n\r\n" % status)
    assert found is not None
    assert (found.status, found.body) == (status, b"")


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\n", True),
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n", True),
        (b"HTTP/1.1 200\r\n", True),
    ],
)
def test_whether_the_connection_stays_is_what_the_answer_says(head: bytes, reusable: bool) -> None:
    found = read(head + b"content-length: 0\r\n\r\n")
    assert found is not None
    assert found.reusable is reusable


def test_bytes_after_the_answer_spoil_the_connection_but_not_the_answer() -> None:
    found = read(OK + b"content-length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n\r\n")
    assert found is not None
    assert (found.body, found.reusable) == (b"x", False)


def test_equal_names_are_joined_and_values_lose_their_blanks() -> None:
    found = read(OK + b"A: 1\r\na:\t2 \r\ncontent-length: 0, 0\r\n\r\n")
    assert found is not None
    assert found.headers["a"] == "1, 2"


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20\r\n\r\n",
        b"HTTP/1.1 2000\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 17,
        OK + b"no colon\r\n\r\n",
        OK + b": no name\r\n\r\n",
        OK + b"name : value\r\n\r\n",
        OK + b"a: 1\r\n folded\r\n\r\n",
        OK + b"a: 1\nb: 2\r\n\r\n",
        OK + b"a: \0\r\n\r\n",
        OK + b"content-length: -1\r\n\r\n",
        OK + b"content-length: +1\r\n\r\n",
        OK + b"content-length: 1_0\r\n\r\n",
        OK + b"content-length: 1, 2\r\n\r\n",
        OK + b"content-length: \xd9\xa1\r\n\r\n",
        OK + b"content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        OK + b"transfer-encoding: gzip, chunked\r\n\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\nx\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n-1\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n1\r\nab\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n1\nab\r\n",
        OK + b"transfer-encoding: chunked\r\n\r\n" + b"0" * 5000,
        OK + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 20_000,
        OK + b"a: b\r\n" * (MAX_HEADERS + 1) + b"\r\n",
        OK + b"a: " + b"b" * MAX_HEAD_BYTES + b"\r\n\r\n",
        OK + b"a: " + b"b" * (MAX_HEAD_BYTES + 100),
    ],
)
def test_what_is_no_answer_is_refused_whole_or_in_pieces(data: bytes) -> None:
    with pytest.raises(MalformedHttp):
        read(data)
    with pytest.raises(MalformedHttp):
        read(*split(data, list(range(0, len(data), 977))))


@pytest.mark.parametrize(
    "data",
    [
        OK + b"content-length: 11\r\n\r\n",
        OK + b"\r\n" + b"x" * 11,
        chunked(b"xxxxxx", b"xxxxx"),
    ],
)
def test_a_body_above_the_limit_is_refused(data: bytes) -> None:
    with pytest.raises(AnswerTooLarge):
        read(data, limit=10)


def test_a_body_at_the_limit_is_read() -> None:
    for data in (OK + b"content-length: 10\r\n\r\n" + b"x" * 10, chunked(b"x" * 4, b"x" * 6)):
        found = read(data, limit=10)
        assert found is not None
        assert found.body == b"x" * 10


CUTS = st.lists(st.integers(0, 1 << 16), max_size=12)


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    style=st.sampled_from(["length", "chunked", "close"]),
    interim=st.booleans(),
    cuts=CUTS,
)
def test_an_answer_is_the_same_however_its_bytes_arrive(
    chunks: list[bytes], style: str, interim: bool, cuts: list[int]
) -> None:
    body = b"".join(chunks)
    match style:
        case "length":
            data = OK + b"X-Y: z\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        case "chunked":
            data = chunked(*chunks, trailers=b"a: b\r\n")
        case _:
            data = OK + b"\r\n" + body
    data = b"HTTP/1.1 100 Continue\r\n\r\n" * interim + data
    whole = read(data, ended=True)
    assert whole is not None
    assert whole.body == body
    assert read(*split(data, cuts), ended=True) == whole
    assert read(*(data[i : i + 1] for i in range(len(data))), ended=True) == whole


PARTS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK", b"HTTP/1.1 100 c", b"HTTP/1.0 500 x", b"\r\n", b"\r\n\r\n", b"\n",
        b"\r", b":", b"content-length: 3", b"transfer-encoding: chunked", b"connection: close",
        b"3\r\nabc\r\n", b"0\r\n\r\n", b"a", b" ", b"\0", b"\xff", b"ffffffffffffffffff",
    ]
)  # fmt: skip


def verdict(pieces: list[bytes]) -> object:
    try:
        return read(*pieces, ended=True, limit=64)
    except (MalformedHttp, AnswerTooLarge) as problem:
        return type(problem)


@given(parts=st.lists(PARTS | st.binary(max_size=8), max_size=14), cuts=CUTS)
@example(parts=[b"HTTP/1.1 200 OK\r\n", b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r"], cuts=[])
def test_garbage_gets_one_verdict_however_it_arrives_and_raises_nothing_else(
    parts: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(parts)
    whole = verdict([data] if data else [])
    found = verdict(split(data, cuts))
    if isinstance(whole, Read) and isinstance(found, Read):
        # Whether more came after the answer is only seen when it came with it.
        assert (whole.status, whole.headers, whole.body) == (
            found.status,
            found.headers,
            found.body,
        )
    elif data.count(b"\r\n\r\n"):
        assert whole == found
    else:
        # Without a head it is nothing, or seen to be nothing: both end the connection.
        assert {whole, found} <= {None, MalformedHttp}
