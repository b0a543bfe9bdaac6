"""Header blocks (RFC 7541): reading any, writing literals.

What we send never uses the dynamic table: our blocks are the same bytes for every answer, made
once, and need nothing kept for a connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final, TypeAlias

from simcloud.rpc.http2 import huffman

Field: TypeAlias = tuple[str, str]
"""Name and value."""

_ENTRY_OVERHEAD: Final = 32  # Section 4.1, and RFC 9113, section 6.5.2, of a list's size.
TABLE_BYTES: Final = 4096
"""Size of the reader's dynamic table: the default, which we don't change (section 6.5.2)."""

# Appendix A: first those with a value of use, then names alone.
_NAMES_ALONE: Final = """
accept-language accept-ranges accept access-control-allow-origin age allow authorization
cache-control content-disposition content-encoding content-language content-length
content-location content-range content-type cookie date etag expect expires from host if-match
if-modified-since if-none-match if-range if-unmodified-since last-modified link location
max-forwards proxy-authenticate proxy-authorization range referer refresh retry-after server
set-cookie strict-transport-security transfer-encoding user-agent vary via www-authenticate
"""
STATIC: Final[tuple[Field, ...]] = (
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    *((":status", code) for code in ("200", "204", "206", "304", "400", "404", "500")),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    *((name, "") for name in _NAMES_ALONE.split()),
)
_STATIC_COUNT: Final = len(STATIC)
_NAME_INDEX: Final = {name: index for index, (name, _) in reversed([*enumerate(STATIC, 1)])}


class HpackError(ValueError):
    """A block that can't be read: the connection is lost, since its table may now differ."""


class HeaderReader:
    """Reads the blocks of one connection, in their order.

    Args:
        max_list_bytes: largest list given back, counted as section 4.1 does.
    """

    __slots__ = ("_entries", "_limit", "_max_list", "_size", "changes")

    def __init__(self, max_list_bytes: int) -> None:
        self._entries: deque[Field] = deque()
        self._size = 0
        self._limit = TABLE_BYTES
        self._max_list = max_list_bytes
        self.changes = 0
        """How often the dynamic table was changed: as long as it stays, the same block has the
        same meaning."""

    def read(self, block: bytes) -> list[Field] | None:
        """Fields of a block; None when they are more than ``max_list_bytes``.

        The table is kept in step either way.

        Raises:
            HpackError: the block is none.
        """
        try:
            return self._read(block)
        except (IndexError, huffman.HuffmanError) as error:
            raise HpackError(f"a header block can't be read: {error}") from error

    def _read(self, block: bytes) -> list[Field] | None:
        fields: list[Field] = []
        position, end, room = 0, len(block), self._max_list
        while position < end:
            first = block[position]
            if first >= 0x80:  # Section 6.1: indexed.
                position += 1
                index = first & 0x7F
                if index == 0x7F:
                    index, position = _integer(block, position, index)
                field = self._at(index)
            elif 0x20 <= first < 0x40:  # Section 6.3: a new size of the table.
                if fields:
                    raise HpackError("a size of the table comes after a field")
                position = self._resize(block, position)
                continue
            else:
                field, position = self._literal(block, position, first)
            room -= len(field[0]) + len(field[1]) + _ENTRY_OVERHEAD
            if room >= 0:
                fields.append(field)
        return fields if room >= 0 else None

    def _at(self, index: int) -> Field:
        if 0 < index <= _STATIC_COUNT:
            return STATIC[index - 1]
        if index == 0:
            raise HpackError("a field has index 0")
        return self._entries[index - _STATIC_COUNT - 1]

    def _literal(self, block: bytes, position: int, first: int) -> tuple[Field, int]:
        indexed = first >= 0x40  # Section 6.2.1; else 6.2.2 and 6.2.3.
        mask = 0x3F if indexed else 0x0F
        index, position = first & mask, position + 1
        if index == mask:
            index, position = _integer(block, position, mask)
        if index:
            name = self._at(index)[0]
        else:
            name, position = _string(block, position)
        value, position = _string(block, position)
        field = (name, value)
        if indexed:
            self._add(field)
        return field, position

    def _add(self, field: Field) -> None:
        self.changes += 1
        self._entries.appendleft(field)
        self._size += len(field[0]) + len(field[1]) + _ENTRY_OVERHEAD
        self._evict()

    def _evict(self) -> None:
        while self._size > self._limit:
            name, value = self._entries.pop()
            self._size -= len(name) + len(value) + _ENTRY_OVERHEAD

    def _resize(self, block: bytes, position: int) -> int:
        size, position = block[position] & 0x1F, position + 1
        if size == 0x1F:
            size, position = _integer(block, position, size)
        if size > TABLE_BYTES:
            raise HpackError(f"a table of {size} bytes, {TABLE_BYTES} is what we allow")
        self.changes += 1
        self._limit = size
        self._evict()
        return position


def _integer(block: bytes, position: int, prefix: int) -> tuple[int, int]:
    # Section 5.1. Nothing here is longer than a block, so five more bytes are an attack.
    value = prefix
    for shift in (0, 7, 14, 21):
        byte = block[position]
        position += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise HpackError("a number is too long")


def _string(block: bytes, position: int) -> tuple[str, int]:
    # Section 5.2.
    first = block[position]
    size, position = first & 0x7F, position + 1
    if size == 0x7F:
        size, position = _integer(block, position, size)
    end = position + size
    if end > len(block):
        raise HpackError("a string is longer than its block")
    data = block[position:end]
    if first >= 0x80:
        data = huffman.decode(data)
    # gRPC's values are ASCII; what else comes is kept as it is, a character a byte.
    return data.decode("latin-1"), end


def write_fields(fields: Iterable[tuple[str, bytes]]) -> bytes:
    """A block of these fields, as literals that nobody keeps (section 6.2.2).

    Args:
        fields: lower-case names, and values as they travel.
    """
    parts = []
    for name, value in fields:
        if name == ":status" and value == b"200":
            parts.append(b"\x88")
            continue
        index = _NAME_INDEX.get(name, 0)
        parts.append(_number(index, 0x0F, 0x00))
        if not index:
            parts.append(_number(len(name), 0x7F, 0x00) + name.encode("latin-1"))
        parts.append(_number(len(value), 0x7F, 0x00) + value)
    return b"".join(parts)


def _number(value: int, mask: int, pattern: int) -> bytes:
    if value < mask:
        return bytes((pattern | value,))
    out = bytearray((pattern | mask,))
    value -= mask
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
