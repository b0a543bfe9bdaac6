"""A call's messages out of its DATA frames, and how much of them a peer may send ahead."""

from __future__ import annotations

import struct
import zlib
from collections import deque
from collections.abc import Callable
from typing import Final

import grpc

from simcloud.rpc.http2.wire import PREFIX_BYTES

_read_prefix: Final = struct.Struct(">BI").unpack_from
# 16: with a header of gzip's (zlib.decompressobj).
_WINDOW_BITS: Final = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}

# What a call may hold without being counted among all (ledger): small messages cost nothing more.
UNCOUNTED_BYTES: Final = 4096


class MessageRefused(Exception):
    """A message that can't be taken: the call ends with this status."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class Compressed(bytes):
    """A message as it came; what it grows to is made when it is its turn."""

    __slots__ = ()


class Inbox:
    """Messages that have come, in their order, and the one that is coming.

    Args:
        max_message_bytes: of one message, as it comes and as it is when decompressed.
        encoding: of compressed messages.
    """

    __slots__ = (
        "_at",
        "_body",
        "_compressed",
        "_encoding",
        "_max",
        "_prefix",
        "counted",
        "held",
        "messages",
        "on_taken",
    )

    def __init__(self, max_message_bytes: int, encoding: str) -> None:
        self._max = max_message_bytes
        self._encoding = encoding
        self._prefix = b""
        self._body: bytearray | None = None
        self._at = 0  # Bytes that the body still needs.
        self._compressed = False
        self.messages: deque[bytes | bytearray] = deque()
        self.held = 0
        """Bytes that have come and that nobody has taken, prefixes included."""
        self.counted = UNCOUNTED_BYTES
        """How much of that is counted among what all calls hold, or may be without."""
        self.on_taken: Callable[[Inbox], None] | None = None
        """Called when something was taken of what is counted."""

    @property
    def partial(self) -> bool:
        """Whether a message has begun and not ended."""
        return self._body is not None or bool(self._prefix)

    @property
    def missing(self) -> int:
        """Bytes that the message under way still needs."""
        return self._at

    def feed(self, data: memoryview) -> None:
        """Takes the next bytes.

        Raises:
            MessageRefused: a message is too large, or is compressed as nobody said.
        """
        position, end = 0, len(data)
        self.held += end
        if self._body is None and not self._prefix:
            position = self._whole(data, end)
        while position < end:
            if self._body is None:
                position = self._begin(data, position)
                continue
            taken = data[position : position + self._at]
            self._body += taken
            position += len(taken)
            self._at -= len(taken)
            if not self._at:
                self._complete(self._body)

    def _whole(self, data: memoryview, end: int) -> int:
        """Takes the messages that are there whole, the usual case; returns where they end."""
        position, messages = 0, self.messages
        while end - position >= PREFIX_BYTES:
            flag, size = _read_prefix(data, position)
            stop = position + PREFIX_BYTES + size
            if flag or stop > end or size > self._max:
                break
            messages.append(bytes(data[position + PREFIX_BYTES : stop]))
            position = stop
        return position

    def _begin(self, data: memoryview, position: int) -> int:
        needed = PREFIX_BYTES - len(self._prefix)
        self._prefix += data[position : position + needed]
        position += needed
        if len(self._prefix) < PREFIX_BYTES:
            return len(data)
        prefix, self._prefix = self._prefix, b""
        size = int.from_bytes(prefix[1:], "big")
        self.check(prefix[0], size)
        self._compressed = bool(prefix[0])
        self._body, self._at = bytearray(), size
        if not size:
            self._complete(self._body)
        return position

    def check(self, flag: int, size: int) -> None:
        """Checks a message by its prefix, before its bytes are kept.

        Raises:
            MessageRefused: it is too large, or compressed as nobody said.
        """
        if size > self._max:
            raise MessageRefused(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"Received message larger than max ({size} vs. {self._max})",
            )
        if flag and (flag != 1 or self._encoding == "identity"):
            raise MessageRefused(
                grpc.StatusCode.INTERNAL, "a message is compressed and grpc-encoding names no way"
            )

    def _complete(self, body: bytearray) -> None:
        self.messages.append(Compressed(body) if self._compressed else body)
        self._body = None

    def take(self) -> bytes | bytearray:
        """The next message; there must be one.

        Raises:
            MessageRefused: it can't be decompressed, or would be too large.
        """
        message = self.messages.popleft()
        self.held -= len(message) + PREFIX_BYTES
        if self.counted > UNCOUNTED_BYTES and self.on_taken is not None:
            self.on_taken(self)
        if type(message) is Compressed:
            return decompressed(message, self._encoding, self._max)
        return message

    def put(self, message: bytes) -> None:
        """Adds a message that has come whole."""
        self.messages.append(message)
        self.held += len(message) + PREFIX_BYTES

    def clear(self) -> None:
        """Lets go of everything; nobody takes it."""
        self.messages.clear()
        self._body, self._prefix, self._at, self.held = None, b"", 0, 0
        self.counted, self.on_taken = UNCOUNTED_BYTES, None


def decompressed(data: bytes, encoding: str, at_most: int) -> bytes:
    """A message as it was.

    Raises:
        MessageRefused: it can't be decompressed, or is more than ``at_most`` bytes.
    """
    try:
        worker = zlib.decompressobj(_WINDOW_BITS[encoding])
        message = worker.decompress(data, at_most + 1)
    except zlib.error as error:
        raise MessageRefused(
            grpc.StatusCode.INTERNAL, f"a message is no {encoding}: {error}"
        ) from error
    if len(message) > at_most:
        raise MessageRefused(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"a message is more than {at_most} bytes when decompressed (max_message_bytes)",
        )
    if not worker.eof:
        raise MessageRefused(grpc.StatusCode.INTERNAL, f"a message of {encoding} is cut off")
    return message
