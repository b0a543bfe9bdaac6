"""Bodies of requests that are never joined in memory.

The SDK sends ``bytes`` by ways that copy them twice and in steps of 64 KiB (BytesIOPayload of
aiohttp), and before Python 3.12 head and body are joined once more (its SKIP_WRITELINES). A part of
a shard stands in memory as the messages it came in; so it goes to the socket as it stands.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Final

from aiohttp.abc import AbstractStreamWriter
from aiohttp.payload import Payload

from simcloud.s3.checksums import Buffer

_SMALL: Final = 4096


class Pieces(Payload):
    """Bytes in pieces, in order; a request's body to aiohttp, and a file to botocore.

    ``len`` is their size, ``bytes`` joins them. May be sent any number of times.

    Args:
        pieces: the bytes; small neighbours are joined, large ones are kept as they are.
    """

    _autoclose = True

    def __init__(self, pieces: Iterable[Buffer]) -> None:
        self._pieces = tuple(_gathered(pieces))
        super().__init__(self._pieces, content_type="application/octet-stream")
        self._size: int = sum(len(piece) for piece in self._pieces)
        self._position = 0

    def __len__(self) -> int:
        return self._size

    def __bytes__(self) -> bytes:
        return b"".join(self._pieces)

    @property
    def pieces(self) -> tuple[Buffer, ...]:
        """The bytes, one after another."""
        return self._pieces

    # To aiohttp.

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """As text."""
        return bytes(self).decode(encoding, errors)

    async def as_bytes(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        """All of it."""
        return bytes(self)

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Sends it; waits while the connection takes no more."""
        for piece in self._pieces:
            await writer.write(piece)

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """As ``write``; the length said before is its own."""
        await self.write(writer)

    # To botocore, which hashes what it reads where bodies are signed.

    def read(self, size: int | None = -1) -> bytes:
        """The next ``size`` bytes, or all that are left."""
        end = self._size if size is None or size < 0 else min(self._position + size, self._size)
        found = []
        begin = 0
        for piece in self._pieces:
            first, last = max(self._position - begin, 0), min(end - begin, len(piece))
            if first < last:
                found.append(piece[first:last])
            begin += len(piece)
        self._position = end
        return b"".join(found)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Sets where ``read`` goes on."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = min(max(base + offset, 0), self._size)
        return self._position

    def tell(self) -> int:
        """Where ``read`` goes on."""
        return self._position


def _gathered(pieces: Iterable[Buffer]) -> Iterable[Buffer]:
    """Runs of small pieces joined: a write of its own costs more than the copy."""
    small: list[Buffer] = []
    for piece in pieces:
        if len(piece) <= _SMALL:
            small.append(piece)
            continue
        if small:
            yield b"".join(small)
            small = []
        yield piece
    if small:
        yield b"".join(small)
