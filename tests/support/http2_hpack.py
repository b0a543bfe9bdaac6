"""HPACK (RFC 7541) as a peer of ours that is written apart from the server that it is to try.

The encoders make what a server has to understand, and with the arguments that say so what it has to
refuse; the decoder reads what any server answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

Field = tuple[bytes, bytes]

# Appendix A; index 1 is the first.
STATIC: Final[tuple[Field, ...]] = (
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    *((b":status", code) for code in b"200 204 206 304 400 404 500".split()),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    *(
        (name, b"")
        for name in (
            b"accept-language accept-ranges accept access-control-allow-origin age allow "
            b"authorization cache-control content-disposition content-encoding content-language "
            b"content-length content-location content-range content-type cookie date etag expect "
            b"expires from host if-match if-modified-since if-none-match if-range "
            b"if-unmodified-since last-modified link location max-forwards proxy-authenticate "
            b"proxy-authorization range referer refresh retry-after server set-cookie "
            b"strict-transport-security transfer-encoding user-agent vary via www-authenticate"
        ).split()
    ),
)

# Appendix B: bits of each octet's code and of EOS. The code is canonical (section 5.2), so that the
# lengths say all of it.
_LENGTHS: Final = (
    *(13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28),
    *(28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28),
    *(6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6),
    *(5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10),
    *(13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7),
    *(7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6),
    *(15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5),
    *(6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28),
    *(20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23),
    *(24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24),
    *(22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23),
    *(21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23),
    *(26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25),
    *(19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27),
    *(20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23),
    *(26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26),
    30,
)
EOS: Final = 256


def _codes() -> dict[int, str]:
    codes: dict[int, str] = {}
    code, length = 0, 0
    for symbol in sorted(range(257), key=lambda each: (_LENGTHS[each], each)):
        code <<= _LENGTHS[symbol] - length
        length = _LENGTHS[symbol]
        codes[symbol] = format(code, f"0{length}b")
        code += 1
    return codes


CODES: Final = _codes()
_SYMBOLS: Final = {bits: symbol for symbol, bits in CODES.items()}


def huffman(data: Iterable[int], *, padding: str | None = None) -> bytes:
    """The octets (and ``EOS``) in Huffman's code; ``padding`` in place of the right one."""
    bits = "".join(CODES[each] for each in data)
    bits += "1" * (-len(bits) % 8) if padding is None else padding
    return int(bits or "0", 2).to_bytes(len(bits) // 8, "big")


def integer(value: int, prefix: int, first: int = 0) -> bytes:
    """An integer behind a prefix of so many bits (section 5.1); ``first`` has the bits before."""
    most = (1 << prefix) - 1
    if value < most:
        return bytes([first | value])
    out = bytearray([first | most])
    value -= most
    while value > 0x7F:
        out.append(0x80 | value & 0x7F)
        value >>= 7
    out.append(value)
    return bytes(out)


def string(data: bytes, *, coded: bool = False) -> bytes:
    """A string literal (section 5.2), in Huffman's code if told so."""
    if coded:
        data = huffman(data)
        return integer(len(data), 7, 0x80) + data
    return integer(len(data), 7) + data


How = Literal["plain", "kept", "never"]
HOWS: Final[tuple[How, ...]] = ("plain", "kept", "never")
_FIRST: Final[dict[str, tuple[int, int]]] = {"plain": (4, 0), "kept": (6, 0x40), "never": (4, 0x10)}


def literal(name: bytes | int, value: bytes, *, how: How = "plain", coded: bool = False) -> bytes:
    """A field as a literal (section 6.2).

    Args:
        name: of the field, or the index of an entry with the name.
        value: of the field.
        how: without indexing, kept in the dynamic table, or never indexed.
        coded: whether its strings are in Huffman's code.
    """
    prefix, first = _FIRST[how]
    if isinstance(name, int):
        return integer(name, prefix, first) + string(value, coded=coded)
    return bytes([first]) + string(name, coded=coded) + string(value, coded=coded)


def indexed(index: int) -> bytes:
    """A field by its index (section 6.1)."""
    return integer(index, 7, 0x80)


def table_size(size: int) -> bytes:
    """An update of the dynamic table's size (section 6.3)."""
    return integer(size, 5, 0x20)


def block(fields: Iterable[Field], *, how: How = "plain", coded: bool = False) -> bytes:
    """A header block of literals."""
    return b"".join(literal(name, value, how=how, coded=coded) for name, value in fields)


@dataclass(slots=True)
class Decoder:
    """Reads the header blocks of one direction of one connection.

    Raises:
        ValueError: a block is not one.
    """

    limit: int = 4096
    entries: deque[Field] = field(default_factory=deque)

    def fields(self, data: bytes) -> list[Field]:
        """The fields of the next block."""
        found: list[Field] = []
        at = 0
        while at < len(data):
            first = data[at]
            if first & 0x80:
                index, at = _integer(data, at, 7)
                found.append(self._at(index))
            elif first & 0xE0 == 0x20:
                if found:
                    raise ValueError("the table's size is changed after a field")
                self.limit, at = _integer(data, at, 5)
                self._evict()
            else:
                kept = bool(first & 0x40)
                index, at = _integer(data, at, 6 if kept else 4)
                name, at = (self._at(index)[0], at) if index else _string(data, at)
                value, at = _string(data, at)
                found.append((name, value))
                if kept:
                    self.entries.appendleft((name, value))
                    self._evict()
        return found

    def _at(self, index: int) -> Field:
        if not 1 <= index <= len(STATIC) + len(self.entries):
            raise ValueError(f"there is no entry {index}")
        if index <= len(STATIC):
            return STATIC[index - 1]
        return self.entries[index - len(STATIC) - 1]

    def _evict(self) -> None:
        # Section 4.1: 32 octets of an entry are for what it costs to keep it.
        while sum(len(name) + len(value) + 32 for name, value in self.entries) > self.limit:
            self.entries.pop()


def _integer(data: bytes, at: int, prefix: int) -> tuple[int, int]:
    most = (1 << prefix) - 1
    value = data[at] & most
    at += 1
    if value < most:
        return value, at
    shift = 0
    while True:
        value += (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if not data[at - 1] & 0x80:
            return value, at


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    coded = bool(data[at] & 0x80)
    size, at = _integer(data, at, 7)
    if at + size > len(data):
        raise ValueError("a string ends after its block")
    raw = data[at : at + size]
    return (_plain(raw) if coded else raw), at + size


def _plain(raw: bytes) -> bytes:
    out = bytearray()
    bits = ""
    for octet in raw:
        for bit in format(octet, "08b"):
            bits += bit
            symbol = _SYMBOLS.get(bits)
            if symbol is not None:
                if symbol == EOS:
                    raise ValueError("a string holds EOS")
                out.append(symbol)
                bits = ""
    if len(bits) > 7 or "0" in bits:
        raise ValueError("a string's padding is not EOS's beginning")
    return bytes(out)
