"""Bytes that a server's calls hold, all connections together, and who gives way first."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from simcloud.concurrency import BudgetStatistics, count_as_budget
from simcloud.rpc.http2.limits import Limits
from simcloud.telemetry.logging import get_logger

if TYPE_CHECKING:
    from simcloud.rpc.http2.connection import Connection
    from simcloud.rpc.http2.context import Context

_log = get_logger(__name__)

# When the memory is full, it is freed down to here.
_LOW: Final = 15 / 16

NAMED_PEERS: Final = 5
"""In one line of the log."""


@dataclass(slots=True)
class Entry:
    """What one call holds."""

    call: Context
    since: float
    """By the loop's clock: when it began to, or when something of it was last taken."""
    size: int = 0
    sent: int = 0
    """What its connection had sent by then, bytes."""
    moved: float = field(init=False)
    """When its caller was last seen to go on."""
    come: int = 0
    """What had come of it by then, bytes."""

    def __post_init__(self) -> None:
        self.moved = self.since


class Ledger(ABC):
    """Bytes that calls hold, and which of them are to give way when there are too many.

    First those that have held theirs for longer than ``patience_s`` through their callers' fault,
    the longest first. Where there is none, the latest calls of the connection that holds most: so
    that those under way come to their end, and who asks for little is not in the way of who asks
    for much.

    Args:
        name: as metrics have it.
        loop: of the server.
        limits: of its memory.
    """

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        self.limits = limits
        self.most = max(limits.memory_bytes, 4 * limits.max_message_bytes)
        """Of ``size``; what one turn of the loop receives may come on top."""
        self.size = 0
        self.entries: dict[Context, Entry] = {}
        self.of_connections: dict[Connection, int] = {}
        """Sums of ``entries``."""
        self._name = name
        self._loop = loop
        self._peak = 0
        self._relieving = False
        count_as_budget(self)

    def statistics(self) -> BudgetStatistics:
        """Figures now."""
        return BudgetStatistics(self._name, self.most, self.size, self._peak, self.waiters)

    @property
    def waiters(self) -> int:
        """Calls that wait for room."""
        return 0

    def hold(self, call: Context, size: int) -> Entry:
        """A call holds so many bytes from now on."""
        entry = self.entries.get(call)
        if entry is None:
            entry = self.entries[call] = Entry(call, self._loop.time())
        self._count(call, size - entry.size)
        entry.size = size
        self._peak = max(self._peak, self.size)
        if self.size > self.most and not self._relieving:
            # Not at once: who holds more is in the midst of something.
            self._relieving = True
            self._loop.call_soon(self._relieve)
        return entry

    def free(self, call: Any) -> None:  # Of the senders' streams, which are the calls.
        """A call holds nothing any more."""
        entry = self.entries.pop(call, None)
        if entry is not None:
            self._count(call, -entry.size)

    def _count(self, call: Context, more: int) -> None:
        self.size += more
        connection, sums = call.connection, self.of_connections
        sums[connection] = total = sums.get(connection, 0) + more
        if not total:
            del sums[connection]

    def _relieve(self) -> None:
        self._relieving = False
        if self.size <= self.most:
            return
        late = self._late(self._loop.time())
        sums = dict(self.of_connections)
        rest = sorted(
            self.entries.values(),
            key=lambda entry: (-sums[entry.call.connection], -entry.call.opened_at),
        )
        self._end([*late, *rest], enough=lambda: self.size <= _LOW * self.most)

    def _late(self, now: float) -> list[Entry]:
        late = [entry for entry in self.entries.values() if self.is_late(entry, now)]
        return sorted(late, key=lambda entry: entry.since)

    def _end(self, entries: Iterable[Entry], *, enough: Callable[[], bool]) -> None:
        ended, peers = 0, dict.fromkeys([""])
        for entry in entries:
            if enough():
                break
            if entry.call in self.entries:  # It may have gone with another's connection.
                self.end(entry)
                ended += 1
                peers[entry.call.peer()] = None
        if ended:
            _log.warning(
                "calls were ended: they held memory that others need",
                memory=self._name,
                calls=ended,
                peers=list(peers)[1 : NAMED_PEERS + 1],
            )

    @abstractmethod
    def is_late(self, entry: Entry, now: float) -> bool:
        """Whether its caller has had the time to let go of it."""

    @abstractmethod
    def end(self, entry: Entry) -> None:
        """Ends the call, which frees what it holds."""
