"""Bodies of HTTP/1.1 that come in chunks, in whatever pieces; pure."""

from __future__ import annotations

import re
from collections.abc import Callable

from simcloud.http.errors import MalformedHttp

MAX_HEAD_BYTES = 64 * 1024
"""Status line and headers, or trailers, of one answer."""

# RFC 9112, section 7.1: a chunk's size; extensions mean nothing to us. 15 digits fit into 60 bits.
_CHUNK_SIZE = re.compile(rb"0*([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
_MAX_CHUNK_LINE = 4096


class ChunkReader:
    """Body in chunks, RFC 9112, section 7.1; trailers are read and dropped."""

    __slots__ = ("_in_chunk", "_left", "_line", "_trailer_bytes", "_trailers")

    def __init__(self) -> None:
        # Of the chunk, with the two bytes that end it.
        self._left = 0
        self._in_chunk = False
        self._line = b""
        self._trailers = False
        self._trailer_bytes = 0

    def feed(self, data: bytes, add: Callable[[bytes], None]) -> bytes | None:
        """Takes the next bytes; what follows the body once it is complete, else None.

        Args:
            data: as they came.
            add: takes the body's bytes.

        Raises:
            MalformedHttp: they are no chunks.
        """
        position = 0
        while position < len(data):
            if self._in_chunk:
                position = self._take_chunk(data, position, add)
                continue
            end = data.find(b"\n", position)
            if end < 0:
                self._line += data[position:]
                self._check_line(len(self._line))
                return None
            line = self._line + data[position : end + 1]
            self._line = b""
            position = end + 1
            self._check_line(len(line))
            if not line.endswith(b"\r\n"):
                raise MalformedHttp("a chunk's line has no end")
            if self._take_line(line[:-2]):
                return data[position:]
        return None

    def _check_line(self, size: int) -> None:
        if self._trailers and self._trailer_bytes + size > MAX_HEAD_BYTES:
            raise MalformedHttp(f"its trailers are larger than {MAX_HEAD_BYTES} bytes")
        if not self._trailers and size > _MAX_CHUNK_LINE:
            raise MalformedHttp("a chunk's line has no end")

    def _take_line(self, line: bytes) -> bool:
        """A chunk's size or a trailer; whether the body ends here."""
        if self._trailers:
            self._trailer_bytes += len(line) + 2
            return not line
        match = _CHUNK_SIZE.fullmatch(line)
        if match is None:
            raise MalformedHttp(f"a chunk's size is {line[:32]!r}")
        size = int(match[1], 16)
        if size:
            self._left, self._in_chunk = size + 2, True
        else:
            self._trailers = True
        return False

    def _take_chunk(self, data: bytes, position: int, add: Callable[[bytes], None]) -> int:
        left = self._left
        piece = data[position : position + left]
        self._left = left - len(piece)
        content = min(len(piece), max(left - 2, 0))
        add(piece[:content])
        # What is not content are the bytes of CRLF that are still missing.
        if piece[content:] != b"\r\n"[2 - (left - content) :][: len(piece) - content]:
            raise MalformedHttp("a chunk is longer than it says")
        self._in_chunk = self._left > 0
        return position + len(piece)
