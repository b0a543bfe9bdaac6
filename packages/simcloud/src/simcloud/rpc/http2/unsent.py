"""What a server's callers have asked for and do not take, all connections together."""

from __future__ import annotations

import asyncio
from typing import Any

from simcloud.rpc.http2 import frames
from simcloud.rpc.http2.ledger import Entry, Ledger
from simcloud.rpc.http2.limits import Limits


class Unsent(Ledger):
    """Messages that callers have asked for and not taken.

    A connection that has taken nothing since the oldest of them was made is closed; of one that
    has, so many calls end as is needed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        super().__init__("http2_unsent", loop, limits)

    def keep(self, call: Any, size: int) -> None:
        """A message has to wait. It counts until all of it has left: it is one piece of memory."""
        entry = self.entries.get(call)
        if entry is not None:
            self.hold(call, entry.size + size)
        else:
            self.hold(call, size).sent = call.connection.sender.sent_bytes

    def is_late(self, entry: Entry, now: float) -> bool:
        """As ``Ledger.is_late``."""
        return entry.since <= now - self.limits.patience_s

    def end(self, entry: Entry) -> None:
        """As ``Ledger.end``, or its connection with it."""
        call, connection = entry.call, entry.call.connection
        took_nothing = connection.sender.sent_bytes == entry.sent
        if took_nothing and self.is_late(entry, self._loop.time()):
            connection.fail(
                frames.ENHANCE_YOUR_CALM, "it takes no answers, and the memory for them is full"
            )
        else:
            connection.calls.cut(call)
