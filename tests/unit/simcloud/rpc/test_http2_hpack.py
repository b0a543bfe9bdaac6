"""Header blocks: RFC 7541's own examples, what comes back, and what is refused."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcloud.rpc.http2 import huffman
from simcloud.rpc.http2.frames import END_HEADERS, ConnectionFailure
from simcloud.rpc.http2.heads import Heads
from simcloud.rpc.http2.hpack import STATIC, HeaderReader, HpackError, write_fields

# Appendix C.3 and C.4: three requests on one connection, plain and Huffman-coded.
PLAIN = (
    "828684410f7777772e6578616d706c652e636f6d",
    "828684be58086e6f2d6361636865",
    "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
)
CODED = (
    "828684418cf1e3c2e5f23a6ba0ab90f4ff",
    "828684be5886a8eb10649cbf",
    "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
)
REQUESTS = (
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")],
    [
        (":method", "GET"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "www.example.com"),
        ("cache-control", "no-cache"),
    ],
    [
        (":method", "GET"),
        (":scheme", "https"),
        (":path", "/index.html"),
        (":authority", "www.example.com"),
        ("custom-key", "custom-value"),
    ],
)
NAME = st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=200)


def reader(max_list_bytes: int = 32 * 1024) -> HeaderReader:
    return HeaderReader(max_list_bytes)


@pytest.mark.parametrize("blocks", [PLAIN, CODED], ids=["plain", "coded"])
def test_the_examples_of_the_rfc_are_read(blocks: tuple[str, ...]) -> None:
    reads = reader()
    assert [reads.read(bytes.fromhex(block)) for block in blocks] == list(REQUESTS)


def test_the_static_table_has_its_61_entries() -> None:
    assert len(STATIC) == 61
    assert STATIC[7] == (":status", "200")
    assert STATIC[15] == ("accept-encoding", "gzip, deflate")
    assert (STATIC[30], STATIC[57], STATIC[60]) == (
        ("content-type", ""),
        ("user-agent", ""),
        ("www-authenticate", ""),
    )


@given(st.binary())
def test_any_string_comes_back_from_its_code(data: bytes) -> None:
    codes, bits, size = huffman.codes(), 0, 0
    for byte in data:
        code, length = codes[byte]
        bits, size = bits << length | code, size + length
    padding = -size % 8
    coded = ((bits << padding) | ((1 << padding) - 1)).to_bytes((size + padding) // 8, "big")
    assert huffman.decode(coded) == data


def test_no_code_begins_another() -> None:
    words = sorted(format(code, f"0{length}b") for code, length in huffman.codes())
    assert not any(b.startswith(a) for a, b in pairwise(words))


@pytest.mark.parametrize(
    "coded",
    [b"\xff\xff\xff\xff", b"\x00", b"\x1f\xff"],
    ids=["EOS", "padding of zeros", "a byte of padding"],
)
def test_bad_padding_and_eos_are_refused(coded: bytes) -> None:
    with pytest.raises(huffman.HuffmanError):
        huffman.decode(coded)


@given(st.lists(st.tuples(NAME, st.binary(max_size=300)), max_size=20))
def test_what_is_written_is_read(fields: list[tuple[str, bytes]]) -> None:
    read = reader(1 << 20).read(write_fields(fields))
    assert read == [(name, value.decode("latin-1")) for name, value in fields]


@given(st.binary(max_size=200))
def test_any_bytes_are_fields_or_an_error(block: bytes) -> None:
    with suppress(HpackError):
        reader().read(block)


@pytest.mark.parametrize(
    "block",
    ["80", "be", "3fe21f", "8220", "40", "4101", "7f8080808080", "0a85ff"],
    ids=[
        "index 0",
        "an entry that is not there",
        "a table beyond the limit",
        "a size after a field",
        "no name",
        "a string beyond the block",
        "an endless number",
        "a coded string beyond the block",
    ],
)
def test_what_can_not_be_read_is_an_error(block: str) -> None:
    with pytest.raises(HpackError):
        reader().read(bytes.fromhex(block))


def test_entries_leave_when_the_table_is_full_or_smaller() -> None:
    reads = reader()
    for number in range(3):
        # Of 1536 bytes each, of which two fit.
        reads.read(b"\x40\x01a\x7f\x81\x0b" + b"%d" % number + b"x" * 1535)
    read = reads.read(b"\xbe\xbf")
    assert read is not None
    assert [value[0] for _, value in read] == ["2", "1"]
    with pytest.raises(HpackError):
        reads.read(b"\xc0")
    reads.read(b"\x20\x3f\xe1\x1f")
    with pytest.raises(HpackError):
        reads.read(b"\xbe")


def test_a_block_that_stands_for_megabytes_is_none_and_the_table_stays_in_step() -> None:
    reads = reader(4096)
    bomb = b"\x40\x01a\x7f\x81\x10" + b"x" * 2176 + b"\xbe" * 10_000
    assert reads.read(bomb) is None
    read = reads.read(b"\xbe")
    assert read is not None
    assert read[0][0] == "a"


USUAL = bytes.fromhex("8386") + b"\x44\x04/a/b" + b"\x5f\x10application/grpc"


def test_the_same_block_is_read_once_as_long_as_it_means_the_same() -> None:
    heads = Heads(4096)
    heads.request(USUAL)  # Keeps two entries.
    first = heads.request(b"\x83\x86\xbf\xbe")
    assert first is heads.request(b"\x83\x86\xbf\xbe")
    assert first is not None
    assert first.path == "/a/b"
    # Another path is kept: what was the second entry is now the third.
    changed = heads.request(b"\x83\x86\x44\x04/c/d\xbf")
    assert changed is not None
    assert changed.path == "/c/d"
    again = heads.request(b"\x83\x86\xbe\xbf")
    assert again is not None
    assert again.path == "/c/d"


def test_blocks_that_never_come_again_are_not_all_kept() -> None:
    heads = Heads(4096)
    block = b"\x83\x86\x04\x04/a/b\x0f\x10\x10application/grpc"
    for number in range(1000):
        heads.request(block + b"\x00\x01x\x04%04d" % number)
    assert len(heads._known) <= 32


def test_a_block_comes_in_pieces() -> None:
    heads = Heads(4096)
    assert heads.begin(1, 1, USUAL[:5]) is None
    assert heads.expecting == 1
    assert heads.go_on(0, USUAL[5:9]) is None
    assert heads.go_on(END_HEADERS, USUAL[9:]) == (USUAL, True)
    assert heads.expecting == 0


def test_pieces_without_end_are_refused() -> None:
    heads = Heads(4096)
    heads.begin(1, 0, b"")

    def go_on() -> None:
        for _ in range(10_000):
            heads.go_on(0, b"")

    with pytest.raises(ConnectionFailure):
        go_on()


def test_padding_and_priority_are_taken_off() -> None:
    heads = Heads(4096)
    assert heads.begin(1, 0x4 | 0x8 | 0x20, b"\x02" + bytes(5) + b"\x82" + bytes(2)) == b"\x82"
    with pytest.raises(ConnectionFailure):
        heads.begin(1, 0x4 | 0x8, b"\x05\x82")
