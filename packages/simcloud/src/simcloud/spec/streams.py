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
STRATIFIED_BITS = 20
"""Up to 2**20 consecutive frames are spread evenly."""


class RandomStream:
    """The draws of one name in one frame.

    Args:
        seed: the spec's seed.
        frame: frame index.
        name: full name of the value, for example ``camera.main.eye.x``.
    """

    __slots__ = ("_key", "_next", "_words", "frame", "name", "seed")

    def __init__(self, *, seed: int, frame: int, name: str) -> None:
        self.seed = seed
        self.frame = frame
        self.name = name
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


class StratifiedStream(RandomStream):
    """Draws that cover [0, 1) evenly over consecutive frames: one is taken in each frame.

    Of the frames ``[k * 2**m, (k + 1) * 2**m)`` exactly one falls into each of the 2**m equal parts
    of [0, 1), for every m up to 20, as with van der Corput's sequence; but which one falls where is
    drawn anew in every block, so that pairs of names cover the plane as independent draws do.

    Digit d after the binary point is bit d of the frame index, flipped by the first bit of the
    stream ``stratified.<d>.<digits before, as a number>.<name>`` in the "frame" ``frame >> d + 1``.
    That can be undone from the last digit of a block to its first, so no part gets two frames. The
    place within the finest part is the name's own random word.
    """

    __slots__ = ()

    def uniform(self) -> float:
        """The frame's point in [0, 1); every value is exact."""
        point = 0
        for digit in range(STRATIFIED_BITS):
            name = f"stratified.{digit}.{point}.{self.name}"
            above = self.frame >> digit + 1
            flip = RandomStream(seed=self.seed, frame=above, name=name).word() >> 63
            point = point << 1 | (self.frame >> digit & 1) ^ flip
        finer_bits = 53 - STRATIFIED_BITS
        return (point << finer_bits | self.word() >> (64 - finer_bits)) * 2.0**-53
