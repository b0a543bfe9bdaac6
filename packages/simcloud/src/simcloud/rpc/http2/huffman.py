"""Huffman code of header strings (RFC 7541, section 5.2 and appendix B), the reading side alone.

What we send is plain: it is made once, and an answer's few bytes are not worth the time.
"""

from __future__ import annotations

from typing import Final

# Appendix B gives code and length of each symbol, the last one being EOS. The code is canonical:
# within a length it counts up with the symbol, so that the lengths alone determine it.
_LENGTHS_TEXT: Final = """
13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28 28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28
6 10 10 12 13 6 8 11 10 10 8 11 8 6 6 6 5 5 5 6 6 6 6 6 6 6 7 8 15 6 12 10 13 6 7 7 7 7 7 7 7 7
7 7 7 7 7 7 7 7 7 7 7 7 7 7 8 7 8 13 19 13 14 6 15 5 6 5 6 5 6 6 6 5 7 7 6 6 6 5 6 7 6 5 5 6 7 7
7 7 7 15 11 14 13 28 20 22 20 20 22 22 22 23 22 23 23 23 23 23 24 23 24 24 22 23 24 23 23 23 23
21 22 23 22 23 23 24 22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23 21 21 22 21 23 22 23 23 20
22 22 22 23 22 22 23 26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25 19 21 26 27 27 26 27 24 21
21 26 26 28 27 27 27 20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23 26 27 26 26 27 27 27 27 27
28 27 27 27 27 27 26 30
"""
_LENGTHS: Final = tuple(int(length) for length in _LENGTHS_TEXT.split())
_EOS: Final = 256
# Section 5.2: padding is the most significant bits of EOS, which are ones, and less than a byte.
_MAX_PADDING_BITS: Final = 7


class HuffmanError(ValueError):
    """The bytes are no Huffman-coded string."""


def codes() -> list[tuple[int, int]]:
    """Code and its length in bits, by symbol; EOS is the last."""
    found = [(0, 0)] * len(_LENGTHS)
    code = length = 0
    for bits, symbol in sorted((bits, symbol) for symbol, bits in enumerate(_LENGTHS)):
        code <<= bits - length
        length = bits
        found[symbol] = (code, bits)
        code += 1
    return found


class _Tree:
    """The code as a tree: a node is a number, its two children are nodes or ``~symbol``."""

    def __init__(self) -> None:
        self.children: list[list[int]] = [[0, 0]]
        for symbol, (code, bits) in enumerate(codes()):
            self._add(symbol, code, bits)
        self.may_end = {0}
        node = 0
        for _ in range(_MAX_PADDING_BITS):
            node = self.children[node][1]
            self.may_end.add(node)

    def _add(self, symbol: int, code: int, bits: int) -> None:
        node = 0
        for shift in range(bits - 1, 0, -1):
            side = code >> shift & 1
            if not self.children[node][side]:
                self.children.append([0, 0])
                self.children[node][side] = len(self.children) - 1
            node = self.children[node][side]
        self.children[node][code & 1] = ~symbol

    def step(self, node: int, byte: int) -> tuple[int, bytes]:
        """Node after eight more bits, and the symbols that they completed.

        Raises:
            HuffmanError: EOS is among them.
        """
        symbols = bytearray()
        for shift in range(7, -1, -1):
            node = self.children[node][byte >> shift & 1]
            if node < 0:
                if ~node == _EOS:
                    raise HuffmanError("a string holds EOS")
                symbols.append(~node)
                node = 0
        return node, bytes(symbols)


_tree: Final = _Tree()
# Filled as strings need it, at most a step for each of 256 nodes and each byte.
_steps: Final[dict[int, tuple[int, bytes]]] = {}


def decode(data: bytes) -> bytes:
    """The string that was coded.

    Raises:
        HuffmanError: it holds EOS, or ends in what is no padding.
    """
    node, parts, steps = 0, [], _steps
    for byte in data:
        key = node << 8 | byte
        found = steps.get(key)
        if found is None:
            found = steps[key] = _tree.step(node, byte)
        node, symbols = found
        parts.append(symbols)
    if node not in _tree.may_end:
        raise HuffmanError("a string ends within a symbol")
    return b"".join(parts)
