"""Answers of HTTP/1.1 out of bytes as they come, in whatever pieces; pure.

What a client that knows what it has asked for needs of RFC 9112, and strictly: whatever could be
read in two ways is refused, since the next answer on the same connection would begin at the wrong
byte. Own code and not llhttp's Python binding: that calls back for each header and each piece,
where a ``find`` and a ``split`` read a whole head.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from simcloud.http.chunks import MAX_HEAD_BYTES, ChunkReader
from simcloud.http.errors import AnswerTooLarge, MalformedHttp

MAX_HEADERS = 256
MAX_INTERIM = 16
"""Answers of status 1xx before the one that counts."""

_VERSIONS = (b"HTTP/1.1 ", b"HTTP/1.0 ")
# RFC 9112, section 4; the words after the code mean nothing.
_CODE = re.compile(rb"[1-9][0-9]{2}(?= |\r|$)")
# RFC 9110, section 5.6.2: what the name of a header is made of.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# What SageMaker's runtime, S3 and most servers send, as they write it: looked up and not looked at.
_KNOWN_NAMES = {
    name: name.lower()
    for name in (
        "Connection", "Content-Length", "Content-Type", "Date", "ETag", "Etag", "Last-Modified",
        "Server", "Transfer-Encoding",
        "connection", "content-length", "content-type", "date", "server", "transfer-encoding",
        "x-Amzn-Invoked-Production-Variant", "x-amzn-Invoked-Production-Variant",
        "x-amzn-RequestId", "x-amzn-requestid", "x-amz-id-2", "x-amz-request-id",
    )
}  # fmt: skip

# Servers repeat themselves: a line that was read is kept, as long as it is short, but for those
# that are another every time.
_MAX_KEPT_LINE = 128
_MAX_KEPT_LINES = 512
_NEVER_AGAIN = frozenset({"x-amzn-requestid", "x-amz-request-id", "x-amz-id-2", "etag"})
_lines: dict[str, tuple[str, str]] = {}


class AnswerParser:
    """Reads one answer to one request.

    Args:
        max_body_bytes: largest body; chunks are counted without their framing.
        no_body: whether the answer ends with its head, whatever that says: one to HEAD.
    """

    __slots__ = (
        "_body_size",
        "_chunks",
        "_head_bytes",
        "_interim",
        "_left",
        "_max_body_bytes",
        "_no_body",
        "done",
        "headers",
        "pieces",
        "reusable",
        "status",
    )

    def __init__(self, *, max_body_bytes: int, no_body: bool = False) -> None:
        self._max_body_bytes = max_body_bytes
        self._no_body = no_body
        self._head_bytes = bytearray()
        self._interim = 0
        self._body_size = 0
        # Bytes of the body that are still to come: of a known length; -1 for all until the end.
        self._left = 0
        self._chunks: ChunkReader | None = None
        self.status = 0
        """Status, once the head is complete; 0 before."""
        self.headers: Mapping[str, str] = {}
        """Headers, once the head is complete: names in lower case, values of equal names joined."""
        self.pieces: list[bytes] = []
        """The body as it came; whoever takes them away reads in a stream."""
        self.done = False
        """Whether the answer is complete."""
        self.reusable = False
        """Whether another request may follow on the same connection; of use once ``done``."""

    @property
    def begun(self) -> bool:
        """Whether anything of the answer has come; interim ones (1xx) don't count."""
        return self.status > 0 or bool(self._head_bytes)

    @property
    def interim(self) -> bool:
        """Whether an interim answer has come: 100 says that the body is wanted."""
        return self._interim > 0

    def feed(self, data: bytes) -> bool:
        """Takes the next bytes, at least one; whether the answer is complete now.

        Raises:
            MalformedHttp: they are not what may come here.
            AnswerTooLarge: the body is, or is going to be.
        """
        if not self.status:
            rest = self._take_heads(data)
            if rest is None:
                return False
            data = rest
        if self._chunks is not None:
            over = self._chunks.feed(data, self._add)
            self.done = over is not None
        elif self._left < 0:
            self._add(data)
            return False
        else:
            wanted = self._left
            if wanted:
                piece = data if len(data) <= wanted else data[:wanted]
                self.pieces.append(piece)
                self._left = wanted - len(piece)
            over = data[wanted:]
            self.done = not self._left
        if over:
            # Nobody asked for more: what follows on this connection is not to be trusted.
            self.reusable = False
        return self.done

    def end(self) -> bool:
        """The other side has closed; whether the answer is complete by that."""
        if self.status and self._left < 0:
            self.done = True
        return self.done

    def _take_heads(self, data: bytes) -> bytes | None:
        """Reads up to the head that counts; what follows it, or None while it is incomplete."""
        while True:
            held = self._head_bytes
            if held:
                searched = max(0, len(held) - 3)
                held += data
                end = held.find(b"\r\n\r\n", searched)
            else:
                end = data.find(b"\r\n\r\n")
                if end < 0:
                    held += data
            if end < 0:
                self._check_beginning()
                return None
            if held:
                data = bytes(held)
                held.clear()
            if end > MAX_HEAD_BYTES:
                raise MalformedHttp(f"its head is larger than {MAX_HEAD_BYTES} bytes")
            if self._take_head(data[:end]):
                return data[end + 4 :]
            data = data[end + 4 :]

    def _check_beginning(self) -> None:
        # At once, and not after a wait for an end that never comes: it may be no HTTP at all.
        held = self._head_bytes
        if not any(held[:9] == version[: len(held)] for version in _VERSIONS):
            raise MalformedHttp("it is no HTTP/1.1")
        if len(held) > MAX_HEAD_BYTES:
            raise MalformedHttp(f"its head is larger than {MAX_HEAD_BYTES} bytes")

    def _take_head(self, data: bytes) -> bool:
        """Reads one head; False for an interim one."""
        version, status, headers = parse_head(data)
        if 100 <= status < 200:
            self._interim += 1
            if status == 101 or self._interim > MAX_INTERIM:
                raise MalformedHttp(f"an answer of status {status} was not asked for")
            return False
        self.status, self.headers = status, headers
        self._frame(status, headers)
        connection = headers.get("connection")
        if connection is None:
            persistent = version == _VERSIONS[0]
        elif version == _VERSIONS[0]:
            persistent = "close" not in connection.lower()
        else:
            persistent = connection.lower() == "keep-alive"
        self.reusable = persistent and self._left >= 0
        return True

    def _frame(self, status: int, headers: Mapping[str, str]) -> None:
        """How the body ends: RFC 9112, section 6.3."""
        length = headers.get("content-length")
        coding = headers.get("transfer-encoding")
        if self._no_body or status in {204, 304}:
            return
        if coding is not None:
            # Both together is how answers are smuggled; other codings were not asked for (no TE).
            if length is not None or coding.lower() != "chunked":
                raise MalformedHttp("its transfer-encoding is not chunked alone")
            self._chunks = ChunkReader()
        elif length is not None:
            self._left = _content_length(length)
            if self._left > self._max_body_bytes:
                raise AnswerTooLarge
        else:
            self._left = -1

    def _add(self, piece: bytes) -> None:
        if piece:
            self._body_size += len(piece)
            if self._body_size > self._max_body_bytes:
                raise AnswerTooLarge
            self.pieces.append(piece)


def parse_head(data: bytes) -> tuple[bytes, int, dict[str, str]]:
    """Version, status and headers of an answer's head, without the empty line.

    Raises:
        MalformedHttp: it is none.
    """
    version, code = data[:9], _CODE.match(data, 9)
    if version not in _VERSIONS or code is None:
        raise MalformedHttp("it has no status line of HTTP/1.1")
    # As it came: what is not UTF-8 must not be lost on the way into a message.
    lines = data.decode("utf-8", "surrogateescape").split("\r\n")
    if len(lines) > MAX_HEADERS + 1:
        raise MalformedHttp(f"it has more than {MAX_HEADERS} headers")
    breaks = len(lines) - 1
    if data.count(b"\n") != breaks or data.count(b"\r") != breaks or b"\0" in data:
        raise MalformedHttp("its head has control characters")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, value = _lines.get(line) or _read_line(line)
        headers[name] = value if name not in headers else f"{headers[name]}, {value}"
    return version, int(code[0]), headers


def _read_line(line: str) -> tuple[str, str]:
    found, colon, value = line.partition(":")
    name = _KNOWN_NAMES.get(found) or found.lower()
    if not colon or (found not in _KNOWN_NAMES and not _TOKEN.fullmatch(name)):
        raise MalformedHttp(f"a header has no name: {line[:64]!r}")
    read = name, value.strip(" \t")
    if len(line) <= _MAX_KEPT_LINE and name not in _NEVER_AGAIN:
        if len(_lines) >= _MAX_KEPT_LINES:
            _lines.clear()
        _lines[line] = read
    return read


def _content_length(value: str) -> int:
    if value.isascii() and value.isdigit() and len(value) <= 18:
        return int(value)
    # A list of equal numbers is one number sent several times: RFC 9110, section 8.6.
    numbers = {number.strip(" \t") for number in value.split(",")}
    number = numbers.pop()
    if numbers or not (number.isascii() and number.isdigit() and len(number) <= 18):
        raise MalformedHttp(f"its content-length is {value[:64]!r}")
    return int(number)
