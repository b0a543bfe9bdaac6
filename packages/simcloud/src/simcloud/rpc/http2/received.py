"""What has come of a server's calls and nobody has taken, all connections together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import grpc

from simcloud.rpc.http2.ledger import NAMED_PEERS, Entry, Ledger
from simcloud.rpc.http2.limits import Limits
from simcloud.rpc.http2.messages import UNCOUNTED_BYTES, Inbox
from simcloud.telemetry.logging import get_logger

if TYPE_CHECKING:
    from simcloud.rpc.http2.connection import Connection
    from simcloud.rpc.http2.context import Context

_log = get_logger(__name__)

# What a message of no size costs: its object, and its place in the inbox.
_PER_MESSAGE_BYTES: Final = 64
# Windows beyond a stream's own take so much of the memory, so that there is room for what comes
# within those that all streams have.
_GRANTED: Final = 1 / 2
# Less than this in the time that a caller has is no progress.
_PROGRESS_BYTES: Final = 64 * 1024
# Looks for messages that stand still, within the time that they have.
_LOOKS: Final = 8
_FULL: Final = "the server's memory for requests is full (transport_memory_bytes): try again"


class Received(Ledger):
    """Messages that are not whole, or that nobody has taken, of more than a few KiB.

    A message that needs more than its stream's window gets it when there is room: that of the
    connection that holds least, and of its own the first; in turn with that which has waited
    longest, when that is longer than ``patience_s``. Whoever has a window and does not send gives
    way to those that wait.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: Limits) -> None:
        super().__init__("http2_received", loop, limits)
        # Who has waited longest comes first; with what it needs, and since when.
        self._waiting: dict[Context, tuple[int, float]] = {}
        self._longest_next = True
        # What calls may send beyond what they held by then, while the message is under way.
        self._granted: dict[Context, int] = {}
        self._granted_size = 0
        self._granting = False
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.TimerHandle | None = None

    @property
    def waiters(self) -> int:
        """Calls that wait for a window."""
        return len(self._waiting)

    # --- what comes and is taken ---

    def count(self, call: Context, inbox: Inbox) -> None:
        """More has come than was counted."""
        self._set(call, inbox, inbox.held)
        self.hold(call, inbox.held + _PER_MESSAGE_BYTES * len(inbox.messages))

    def _set(self, call: Context, inbox: Inbox, counted: int) -> None:
        inbox.counted = counted
        if inbox.on_taken is None:
            inbox.on_taken = partial(self._taken, call)

    def keep(self, call: Context) -> None:
        """A call's whole request has to wait until its caller takes answers."""
        request = call.request
        if request is not None and len(request) > UNCOUNTED_BYTES:
            call.request = None
            call.inbox = Inbox(self.limits.max_message_bytes, "identity")
            call.inbox.put(request)
            self.count(call, call.inbox)

    def _taken(self, call: Context, inbox: Inbox) -> None:
        self._granted_size -= self._granted.pop(call, 0)
        if inbox.held <= UNCOUNTED_BYTES:
            inbox.counted = UNCOUNTED_BYTES
            self.free(call)
        else:
            self.count(call, inbox)
            self._begins(self.entries[call], inbox)
            self._grant_soon()

    def _begins(self, entry: Entry, inbox: Inbox) -> None:
        entry.since = entry.moved = self._loop.time()
        entry.come = inbox.held

    def drop(self, call: Context) -> None:
        """A call has ended: what has come of it is of no use any more."""
        if call.inbox is not None:
            call.inbox.clear()
        self._waiting.pop(call, None)
        self.free(call)

    def free(self, call: Any) -> None:
        """A call holds nothing any more; who waits may have room now."""
        super().free(call)
        self._granted_size -= self._granted.pop(call, 0)
        self._grant_soon()

    # --- windows for messages larger than their streams' own ---

    def grants(self, call: Context, inbox: Inbox) -> bool:
        """Whether the message under way may come whole now; if not, it hears when it may."""
        needed = inbox.held + inbox.missing
        if needed <= inbox.counted:
            return True
        if call in self._waiting:
            return False
        if not self._waiting and self._has_room(call, needed):
            self._grant(call, inbox, needed)
            return True
        self._waiting[call] = needed, self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self.limits.patience_s, self._make_room)
        return False

    def _has_room(self, call: Context, needed: int) -> bool:
        if not self._granted:
            return True  # One may always go on.
        return (
            self._granted_size + self._charge(call, needed) <= _GRANTED * self.most
            and self.size + self._more(call, needed) <= self.most
        )

    def _more(self, call: Context, needed: int) -> int:
        """What a call will hold beyond what it does."""
        entry = self.entries.get(call)
        return needed if entry is None else needed - entry.size

    def _charge(self, call: Context, needed: int) -> int:
        """What of a message comes beyond its stream's own window."""
        entry, own = self.entries.get(call), self.limits.stream_window_bytes
        return max(0, needed - (own if entry is None else max(entry.size, own)))

    def _grant(self, call: Context, inbox: Inbox, needed: int) -> None:
        charge = self._charge(call, needed)
        self._granted[call] = self._granted.get(call, 0) + charge
        self._granted_size += charge
        self._set(call, inbox, needed)
        self._begins(self.hold(call, needed), inbox)

    def _grant_soon(self) -> None:
        if self._waiting and not self._granting:
            self._granting = True
            self._loop.call_soon(self._grant_waiting)

    def _grant_waiting(self) -> None:
        self._granting = False
        while self._waiting:
            call, needed = self._next()
            inbox = call.inbox
            assert inbox is not None
            if not self._has_room(call, needed):
                return  # The next one that lets go comes here again.
            del self._waiting[call]
            self._longest_next = not self._longest_next
            self._grant(call, inbox, needed)
            call.connection.taken(call, inbox)

    def _next(self) -> tuple[Context, int]:
        call = next(iter(self._waiting))
        needed, since = self._waiting[call]
        # Every other turn at most: else who comes with little would wait for all who want much.
        if self._longest_next and since <= self._loop.time() - self.limits.patience_s:
            return call, needed
        call = min(self._waiting, key=lambda call: self.of_connections.get(call.connection, 0))
        return call, self._waiting[call][0]

    def _make_room(self) -> None:
        self._timer = None
        if not self._waiting:
            return
        call, needed = self._next()
        late = self._that_help(self._late(self._loop.time()), call, needed)
        self._end(late, enough=lambda: self._has_room(call, needed))
        self._grant_soon()
        self._timer = self._loop.call_later(self.limits.patience_s, self._make_room)

    def _that_help(self, late: list[Entry], call: Context, needed: int) -> list[Entry]:
        """Those of them whose end makes room for a message; none when all of them do not."""
        granted = [entry for entry in late if entry.call in self._granted]
        beyond = self._granted_size + self._charge(call, needed) - _GRANTED * self.most
        over = self.size + self._more(call, needed) - self.most
        if beyond > 0:
            others = [entry for entry in late if entry.call not in self._granted]
            late = [*granted, *others] if over > 0 else granted
        if len(granted) == len(self._granted):
            return late  # One may always go on.
        beyond -= sum(self._granted[entry.call] for entry in granted)
        over -= sum(entry.size for entry in late)
        return [] if beyond > 0 or over > 0 else late

    def _late(self, now: float) -> list[Entry]:
        for entry in self.entries.values():
            if entry.moved <= now - self.limits.patience_s and _goes_on(entry):
                assert entry.call.inbox is not None
                entry.moved, entry.come = now, entry.call.inbox.held
        return super()._late(now)

    def is_late(self, entry: Entry, now: float) -> bool:
        """As ``Ledger.is_late``; what a servicer does not take is not its caller's fault."""
        call = entry.call
        if call in self._waiting:
            return False
        if _is_due(call):
            return entry.moved <= now - self.limits.patience_s
        return entry.since <= now - self.limits.untaken_s

    def end(self, entry: Entry) -> None:
        """As ``Ledger.end``; its caller may try again."""
        call = entry.call
        call.connection.calls.refuse(call, grpc.StatusCode.RESOURCE_EXHAUSTED, _FULL)

    # --- messages that stand still ---

    def watch(self, connections: Iterable[Connection]) -> None:
        """Ends calls whose messages don't come, from here on until ``unwatch``."""
        every_s = min(self.limits.request_s, self.limits.message_s) / _LOOKS
        self._watch = self._loop.call_later(every_s, self._look, connections)

    def unwatch(self) -> None:
        """There is no connection any more."""
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, connections: Iterable[Connection]) -> None:
        self.watch(connections)
        now = self._loop.time()
        late = {
            call: self.limits.request_s
            for connection in connections
            for call in connection.streams.values()
            if call.task is None
            and not call.remote_ended
            and not call.local_ended  # Its answer is under way, and Unsent's.
            and call.opened_at <= now - self.limits.request_s
        }
        for entry in self.entries.values():
            call = entry.call
            if entry.since <= now - self.limits.message_s and (
                call in self._waiting or (call.task is not None and _is_due(call))
            ):
                late.setdefault(call, self.limits.message_s)
        for call, after_s in late.items():
            self._expire(call, after_s)
        if late:
            peers = list(dict.fromkeys(call.peer() for call in late))[:NAMED_PEERS]
            _log.warning(
                "calls were ended: their requests did not come", calls=len(late), peers=peers
            )

    def _expire(self, call: Context, after_s: float) -> None:
        calls = call.connection.calls
        if call in self._waiting:
            calls.refuse(call, grpc.StatusCode.RESOURCE_EXHAUSTED, _FULL)
        elif call.stream_id in call.connection.streams:
            details = f"the request did not come whole within {after_s:g} s, the server's limit"
            calls.refuse(call, grpc.StatusCode.DEADLINE_EXCEEDED, details)


def _is_due(call: Context) -> bool:
    """Whether a call waits for its caller, who has to send more or to take answers."""
    return call.task is None or call.inbox is None or not call.inbox.messages


def _goes_on(entry: Entry) -> bool:
    """Whether enough has come of a call since it was last seen to go on, or all that was due."""
    inbox = entry.call.inbox
    if inbox is None:
        return False
    more = inbox.held - entry.come
    return more >= _PROGRESS_BYTES or (more > 0 and not inbox.partial)
