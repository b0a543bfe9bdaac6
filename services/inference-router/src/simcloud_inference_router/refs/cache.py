"""Ranges of objects that were read, the least recently wanted ones dropped first; pure."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

ENTRY_BYTES = 512
"""Counted for each range beside its bytes: names and bookkeeping."""


@dataclass(frozen=True, slots=True)
class ObjectName:
    """An object, and which of its contents."""

    bucket: str
    key: str
    etag: str
    """As S3 gave it; empty: any."""


@dataclass(frozen=True, slots=True)
class Range:
    """Some bytes of an object."""

    begin: int
    end: int
    """The byte after the last."""


class RangeCache:
    """Bytes by object, ETag and range.

    An ETag names contents, so what is kept never goes stale. Ranges of objects without one are not
    kept: the next may be other bytes.

    Args:
        limit_bytes: most bytes kept; 0: none are.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._kept: OrderedDict[tuple[ObjectName, Range], bytes] = OrderedDict()
        self.size = 0
        """Bytes kept, ``ENTRY_BYTES`` for each range included."""

    def __len__(self) -> int:
        """Ranges kept."""
        return len(self._kept)

    def get(self, name: ObjectName, wanted: Range) -> bytes | None:
        """The bytes of a range, if they are kept."""
        if not self._kept:
            return None
        data = self._kept.get((name, wanted))
        if data is not None:
            self._kept.move_to_end((name, wanted))
        return data

    def put(self, name: ObjectName, found: Range, data: bytes) -> None:
        """Keeps a range, if it fits and has an ETag."""
        size = len(data) + ENTRY_BYTES
        if not name.etag or size > self._limit or (name, found) in self._kept:
            return
        self._kept[name, found] = data
        self.size += size
        while self.size > self._limit:
            _, dropped = self._kept.popitem(last=False)
            self.size -= len(dropped) + ENTRY_BYTES
