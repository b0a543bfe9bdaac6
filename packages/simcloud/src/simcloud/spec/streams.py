"""Counter-based random bits: a value depends on (seed, frame index, name) and nothing else.

The bits are SHA-256 of ``simcloud/v1|<seed>|<frame>|<name>|<block>`` in UTF-8, cut into four 64-bit
big-endian words a block; the n-th draw is the n-th word. Whoever has the four strings has the bits,
in any language, on any machine, in any order: adding, removing or reordering other names changes
nothing.
"""

from __future__ import annotations

import hashlib
import struct

_WORDS_PER_BLOCK = 4


class RandomStream:
    """The draws of one name in one frame.

    Args:
        seed: the spec's seed.
        frame: frame index.
        name: full name of the value, for example ``camera.main.eye.x``.
    """

    __slots__ = ("_key", "_next", "_words")

    def __init__(self, *, seed: int, frame: int, name: str) -> None:
        self._key = f"simcloud/v1|{seed}|{frame}|{name}|"
        self._next = 0
        self._words: tuple[int, ...] = ()

    def word(self) -> int:
        """The next 64 random bits, as an integer in [0, 2**64)."""
        offset = self._next % _WORDS_PER_BLOCK
        if offset == 0:
            block = f"{self._key}{self._next // _WORDS_PER_BLOCK}".encode()
            self._words = struct.unpack(">4Q", hashlib.sha256(block).digest())
        self._next += 1
        return self._words[offset]

    def uniform(self) -> float:
        """The next draw in [0, 1): the upper 53 bits of a word, so that every value is exact."""
        return (self.word() >> 11) * 2.0**-53
