"""A call's headers, status and metadata, as they travel."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcloud.rpc.http2.hpack import Field, HeaderReader
from simcloud.rpc.http2.wire import (
    Malformed,
    RequestHead,
    check_trailers,
    metadata_fields,
    percent_encoded,
    read_head,
    read_timeout_s,
    response_block,
    status_block,
    trailers_block,
)

USUAL: tuple[Field, ...] = (
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/a.B/C"),
    (":authority", "here"),
    ("te", "trailers"),
    ("content-type", "application/grpc"),
)


def head(*more: Field, without: str = "") -> RequestHead:
    return read_head([*(field for field in USUAL if field[0] != without), *more])


def fields_of(block: bytes) -> dict[str, str]:
    return dict(HeaderReader(1 << 20).read(block) or ())


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1H", 3600.0),
        ("2M", 120.0),
        ("60S", 60.0),
        ("250m", 0.25),
        ("5u", 5e-6),
        ("99999999n", 0.099999999),
        ("0S", 0.0),
    ],
)
def test_a_timeout_is_digits_and_a_unit(text: str, seconds: float) -> None:
    assert read_timeout_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "S", "1", "1s", "-1S", "123456789S", "1.5S", " 1S", "1S\n"])
def test_what_is_no_timeout_is_refused_with_a_status(text: str) -> None:
    assert read_timeout_s(text) is None


@given(st.text())
def test_any_message_comes_back_from_its_escapes(text: str) -> None:
    encoded = percent_encoded(text)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert unquote_to_bytes(encoded) == text.encode(errors="replace")


def test_plain_words_are_not_escaped_and_a_percent_sign_is() -> None:
    assert percent_encoded("50% of ä\n") == b"50%25 of %C3%A4%0A"


def test_the_usual_head_says_what_is_called() -> None:
    read = head(("grpc-timeout", "3S"), ("x-a", "1"), ("user-agent", "u"))
    assert (read.path, read.timeout_s, read.refusal) == ("/a.B/C", 3.0, None)
    assert read.metadata == (("x-a", "1"), ("user-agent", "u"))


@given(st.binary())
def test_binary_metadata_comes_with_or_without_padding(value: bytes) -> None:
    padded = base64.b64encode(value).decode()
    for text in (padded, padded.rstrip("=")):
        assert head(("x-bin", text)).metadata == (("x-bin", value),)


@given(st.binary(), st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_metadata_goes_out_as_it_came_in(binary: bytes, text: str) -> None:
    text = text.strip()
    sent = fields_of(response_block([("a-bin", binary), ("b", text)]))
    read = head(("a-bin", sent["a-bin"]), ("b", sent["b"]))
    assert read.metadata == (("a-bin", binary), ("b", text))


@pytest.mark.parametrize(
    ("key", "value"),
    [("Upper", "x"), ("a b", "x"), ("grpc-own", "x"), ("a", "\n"), ("a", "ä"), ("", "x")],
)
def test_metadata_that_can_not_travel_is_an_error(key: str, value: str) -> None:
    with pytest.raises(ValueError, match=r"metadata|ASCII|ascii"):
        metadata_fields([(key, value)])


@pytest.mark.parametrize(
    ("more", "without", "status"),
    [
        ((), "content-type", "415"),
        ((("content-type", "text/html"),), "content-type", "415"),
        ((("content-type", "application/grpcx"),), "content-type", "415"),
        ((("grpc-encoding", "brotli"),), "", "200"),
        ((("grpc-timeout", "soon"),), "", "200"),
    ],
)
def test_what_is_no_call_of_ours_is_answered(
    more: tuple[Field, ...], without: str, status: str
) -> None:
    refusal = head(*more, without=without).refusal
    assert refusal is not None
    assert fields_of(refusal)[":status"] == status


def test_only_post_calls() -> None:
    read = read_head([(":method", "GET"), *USUAL[1:]])
    assert read.refusal is not None
    assert fields_of(read.refusal)[":status"] == "405"


@pytest.mark.parametrize(
    ("more", "without"),
    [
        ((), ":path"),
        ((), ":method"),
        ((), ":scheme"),
        (((":path", "/twice"),), ""),
        (((":unknown", "x"),), ""),
        ((("X-Upper", "x"),), ""),
        ((("connection", "close"),), ""),
        ((("te", "gzip"),), "te"),
        ((("a", "b\r\nc"),), ""),
        ((("a", " b"),), ""),
        ((("x-bin", "*"),), ""),
        ((("x-bin", "\xe9"),), ""),
        (((":path", "/a.B/C\r\nx: y"),), ":path"),
        (((":path", "/a.B/C\0"),), ":path"),
        (((":authority", "here\n"),), ":authority"),
        (((":scheme", "http "),), ":scheme"),
        ((("content-length", "six"),), ""),
    ],
)
def test_what_is_no_request_of_http2_is_malformed(more: tuple[Field, ...], without: str) -> None:
    with pytest.raises(Malformed):
        head(*more, without=without)


def test_trailers_have_no_pseudo_headers() -> None:
    check_trailers([("a", "b")])
    with pytest.raises(Malformed):
        check_trailers([(":path", "/")])


def test_a_status_is_in_the_trailers_or_alone() -> None:
    assert fields_of(trailers_block(5, "näh", [("k", "v")])) == {
        "grpc-status": "5",
        "grpc-message": "n%C3%A4h",
        "k": "v",
    }
    alone = fields_of(status_block(12, ""))
    assert alone == {":status": "200", "content-type": "application/grpc", "grpc-status": "12"}
    assert fields_of(status_block(5, "", [("k", "v")])) == {**alone, "grpc-status": "5", "k": "v"}


def test_metadata_that_can_be_no_key_of_a_cache_travels_as_any_other() -> None:
    mutable: Any = bytearray(b"abc")
    assert status_block(5, "x", [("k-bin", mutable)]) == status_block(5, "x", [("k-bin", b"abc")])


def test_binary_goes_without_base64_to_who_takes_it_so() -> None:
    assert metadata_fields([("a-bin", b"\xff\x00")], true_binary=True) == [("a-bin", b"\0\xff\x00")]
    assert metadata_fields([("a-bin", b"")], true_binary=True) == [("a-bin", b"")]
