"""Reading many frames: neighbours by one GET."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAhead:
    """How much is read before it is asked for."""

    block_bytes: int = 8 << 20
    """Frames read together, about; a larger frame is a block of its own."""
    gap_bytes: int = 64 << 10
    """Bytes that are not wanted are read and dropped, when no more of them lie between two that
    are: below this a request costs more than the bytes."""
    buffer_bytes: int = 64 << 20
    """Bytes being fetched or waiting to be taken; one larger block is still read."""
    blocks: int = 8
    """Blocks in flight or waiting to be taken."""


@dataclass(frozen=True, slots=True)
class Span:
    """One GET: a range of an object."""

    begin: int
    end: int
    """The byte after the last."""


@dataclass(frozen=True, slots=True, eq=False)
class Fetched:
    """A range as it came."""

    begin: int
    data: memoryview


class Pieces:
    """Bytes of one object, cut from what was fetched of it.

    Args:
        fetched: ranges, ascending, that don't overlap.
    """

    def __init__(self, fetched: Sequence[Fetched]) -> None:
        self._fetched = fetched
        self._begins = [one.begin for one in fetched]

    def cut(self, offset: int, length: int) -> bytes:
        """``length`` bytes from ``offset`` on; they lie in one of the ranges."""
        one = self._fetched[bisect.bisect_right(self._begins, offset) - 1]
        return bytes(one.data[offset - one.begin : offset - one.begin + length])


def spans(
    pieces: Iterable[tuple[int, int]], gap_bytes: int, *, most_bytes: int | None = None
) -> list[Span]:
    """The fewest ranges of one object that hold all pieces and read over no gap larger than this.

    Args:
        pieces: first byte and the byte after the last of each, in any order.
        gap_bytes: largest gap.
        most_bytes: largest range of several pieces, each of which then lies in one of the ranges,
            and these may overlap; None: as large as it comes.
    """
    found: list[Span] = []
    for begin, end in sorted(pieces):
        if found and begin - found[-1].end <= gap_bytes:
            wider = Span(found[-1].begin, max(found[-1].end, end))
            if most_bytes is None or wider.end - wider.begin <= most_bytes or wider == found[-1]:
                found[-1] = wider
                continue
        found.append(Span(begin, end))
    return found
