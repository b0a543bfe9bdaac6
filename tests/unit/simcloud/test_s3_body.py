"""Bodies in pieces: to aiohttp a payload, to botocore a file."""

from __future__ import annotations

import io

from aiohttp.abc import AbstractStreamWriter
from hypothesis import given
from hypothesis import strategies as st

from simcloud.s3.body import Pieces

SIZES = st.lists(st.integers(0, 9000), max_size=6)


def pieces_of(sizes: list[int]) -> list[bytes]:
    return [bytes([index + 1]) * size for index, size in enumerate(sizes)]


class Written(AbstractStreamWriter):
    """What was sent, write by write."""

    def __init__(self) -> None:
        self.chunks: list[bytes | bytearray | memoryview] = []

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        self.chunks.append(chunk)

    async def write_eof(self, chunk: bytes = b"") -> None:
        raise AssertionError("it is aiohttp that ends a body")

    async def drain(self) -> None: ...

    def enable_compression(self, encoding: str = "deflate", strategy: int | None = None) -> None:
        raise AssertionError("a body is sent as it is")

    def enable_chunking(self) -> None:
        raise AssertionError("a body's length is known")

    async def write_headers(self, status_line: str, headers: object) -> None: ...


@given(SIZES)
async def test_every_byte_is_sent_in_order_as_often_as_asked(sizes: list[int]) -> None:
    body = Pieces(pieces_of(sizes))
    whole = b"".join(pieces_of(sizes))
    assert body.size == len(body) == len(whole)
    for _ in range(2):  # a second try sends it again
        written = Written()
        await body.write_with_length(written, len(whole))
        assert b"".join(written.chunks) == whole
    assert bytes(body) == await body.as_bytes() == whole


async def test_large_pieces_are_not_copied_and_small_ones_don_t_cost_a_write_each() -> None:
    large, other = bytes(100_000), memoryview(bytes(200_000))
    written = Written()
    await Pieces([b"head", large, b"tail", b"head", other]).write(written)
    assert [len(chunk) for chunk in written.chunks] == [4, 100_000, 8, 200_000]
    assert written.chunks[1] is large
    assert written.chunks[3] is other


@given(SIZES, st.lists(st.tuples(st.integers(-5, 30_000), st.integers(-1, 9000)), max_size=5))
def test_it_reads_like_a_file(sizes: list[int], reads: list[tuple[int, int]]) -> None:
    whole = b"".join(pieces_of(sizes))
    body, file = Pieces(pieces_of(sizes)), io.BytesIO(whole)
    for offset, size in reads:
        position = min(max(offset, 0), len(whole))
        assert body.seek(offset) == file.seek(position)
        assert body.read(size) == file.read(size)
        assert body.tell() == file.tell()
    assert body.seek(-1, io.SEEK_END) == max(len(whole) - 1, 0)
    body.seek(0)
    assert body.read() == whole
    assert body.read() == b""
