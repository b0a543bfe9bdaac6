"""Header blocks of one connection: put together, read, and known again."""

from __future__ import annotations

from typing import Final

from simcloud.rpc.http2.frames import (
    COMPRESSION_ERROR,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    PADDED,
    PRIORITIZED,
    PROTOCOL_ERROR,
    ConnectionFailure,
)
from simcloud.rpc.http2.hpack import Field, HeaderReader, HpackError
from simcloud.rpc.http2.wire import RequestHead, read_head

# Blocks that are the same bytes for every call of a method, of which clients have a few.
_KEPT: Final = 32
# Frames of one block, of which some clients send small ones.
_MAX_PARTS: Final = 512
# Blocks are read up to a multiple of what is taken of them: so the call alone is refused, and the
# connection's table stays in step.
_BLOCK_FACTOR: Final = 4


class Heads:
    """Reads HEADERS and their CONTINUATION (RFC 9113, section 6.10).

    Args:
        max_bytes: largest list of fields that is taken.
    """

    __slots__ = ("_ended", "_known", "_parts", "_reader", "_size", "expecting", "max_block_bytes")

    def __init__(self, max_bytes: int) -> None:
        self.max_block_bytes = _BLOCK_FACTOR * max_bytes
        """Largest block that is read."""
        self._reader = HeaderReader(max_bytes)
        self._known: dict[bytes, RequestHead] = {}
        self._parts: list[bytes] = []
        self._size = 0
        self._ended = False
        self.expecting = 0
        """Stream whose CONTINUATION must come next; 0: any frame may."""

    def begin(self, stream_id: int, flags: int, payload: bytes) -> bytes | None:
        """The whole block of a HEADERS frame; None when it goes on.

        Raises:
            ConnectionFailure: the frame is none, or too large.
        """
        if flags & (PADDED | PRIORITIZED):
            payload = _stripped(flags, payload)
        if flags & END_HEADERS:
            if len(payload) > self.max_block_bytes:
                raise self._too_large()
            return payload
        self.expecting = stream_id
        self._parts, self._size = [], 0
        self._ended = bool(flags & END_STREAM)
        self._go_on(payload)
        return None

    def go_on(self, flags: int, payload: bytes) -> tuple[bytes, bool] | None:
        """The whole block of HEADERS and its CONTINUATION, and whether the stream ends with it.

        Raises:
            ConnectionFailure: it has become too large.
        """
        self._go_on(payload)
        if not flags & END_HEADERS:
            return None
        block, self._parts = b"".join(self._parts), []
        self.expecting = 0
        return block, self._ended

    def _go_on(self, payload: bytes) -> None:
        self._parts.append(payload)
        self._size += len(payload)
        if self._size > self.max_block_bytes or len(self._parts) > _MAX_PARTS:
            raise self._too_large()

    def _too_large(self) -> ConnectionFailure:
        return ConnectionFailure(
            ENHANCE_YOUR_CALM, f"headers of more than {self.max_block_bytes} bytes"
        )

    def request(self, block: bytes) -> RequestHead | None:
        """What a call's headers say; None when they are too many.

        Raises:
            ConnectionFailure: the block can't be read.
            Malformed: it is no request.
        """
        head = self._known.get(block)
        if head is not None:
            return head
        changes = self._reader.changes
        fields = self.fields(block)
        if fields is None:
            return None
        head = read_head(fields)
        if self._reader.changes == changes:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[block] = head
        return head

    def fields(self, block: bytes) -> list[Field] | None:
        """Fields of a block; None when they are too many.

        Every block is read here, trailers too: what changes the table changes what blocks mean
        that are known by their bytes.

        Raises:
            ConnectionFailure: it can't be read.
        """
        changes = self._reader.changes
        try:
            return self._reader.read(block)
        except HpackError as error:
            raise ConnectionFailure(COMPRESSION_ERROR, str(error)) from error
        finally:
            if self._reader.changes != changes:
                self._known.clear()


def _stripped(flags: int, payload: bytes) -> bytes:
    # RFC 9113, section 6.2: length of the padding, then of no more use the old priority.
    start, end = 0, len(payload)
    if flags & PADDED:
        start = 1
        end -= payload[0] if payload else 1
    if flags & PRIORITIZED:
        start += 5
    if end < start:
        raise ConnectionFailure(PROTOCOL_ERROR, "HEADERS with more padding than payload")
    return payload[start:end]
