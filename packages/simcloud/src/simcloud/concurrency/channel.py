"""Bounded, closable hand-over between tasks of one event loop.

``asyncio.Queue`` can't be closed before Python 3.13 and loses nothing but tells nobody when the
other side has gone; this is trio's memory channel on asyncio.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Generic, Self, TypeVar, cast

T = TypeVar("T")

# What a waiting receiver is woken with when there is no item for it.
_NO_ITEM: Final = object()


class ChannelError(Exception):
    """Root of what a channel raises."""


class ChannelClosed(ChannelError):
    """You closed this end; it can't be used any more."""


class ChannelBroken(ChannelError):
    """The other side closed its end: nobody will receive what you send."""


class ChannelEnded(ChannelError):
    """The other side closed its end and everything it sent has been received."""


class ChannelWouldBlock(ChannelError):
    """There is no room, or nothing to receive, right now."""


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """A channel's figures.

    ``peak_buffered`` is the largest ``buffered`` so far; ``sent`` and ``received`` count items
    since the channel was opened (``sent - received`` = buffered or on the way to a receiver).
    """

    name: str
    capacity: int
    buffered: int
    peak_buffered: int
    sent: int
    received: int
    waiting_senders: int
    waiting_receivers: int
    send_open: bool
    receive_open: bool


class _State(Generic[T]):
    """What both ends share. No await between reading and changing it, so no lock is needed."""

    def __init__(self, capacity: int, name: str) -> None:
        self.capacity = capacity
        self.name = name
        self.buffer: deque[T] = deque()
        self.senders: deque[asyncio.Future[None]] = deque()
        self.receivers: deque[asyncio.Future[object]] = deque()
        # Senders which were told that there is room and have not run yet.
        self.granted = 0
        # Items given to a receiver which has not run yet: not buffered, not received.
        self.handed = 0
        self.send_open = True
        self.receive_open = True
        self.sent = 0
        self.received = 0
        self.peak = 0

    def room(self) -> int:
        # A cancelled receiver stays listed until its task runs.
        waiting = sum(not receiver.done() for receiver in self.receivers)
        return self.capacity + waiting - len(self.buffer) - self.granted

    def put(self, item: T) -> None:
        self.sent += 1
        self.hand_over(item, first=False)

    def hand_over(self, item: T, *, first: bool) -> None:
        while self.receivers:
            receiver = self.receivers.popleft()
            if not receiver.done():
                self.handed += 1
                receiver.set_result(item)
                return
        if not self.receive_open:
            return
        if first:
            self.buffer.appendleft(item)
        else:
            self.buffer.append(item)
        self.peak = max(self.peak, len(self.buffer))

    def wake_senders(self) -> None:
        while self.senders and (self.room() > 0 or not self.send_open or not self.receive_open):
            sender = self.senders.popleft()
            if not sender.done():
                self.granted += 1
                sender.set_result(None)

    def wake_receivers(self) -> None:
        while self.receivers:
            receiver = self.receivers.popleft()
            if not receiver.done():
                receiver.set_result(_NO_ITEM)

    def end_if_drained(self) -> None:
        if not self.send_open and not self.buffer and not self.handed:
            self.wake_receivers()


class SendEnd(Generic[T]):
    """The end that items go into. Any number of tasks may use it; its owner closes it once.

    ``with send:`` closes it at the end of the block.
    """

    __slots__ = ("_state",)

    def __init__(self, state: _State[T]) -> None:
        self._state = state

    async def send(self, item: T) -> None:
        """Hands ``item`` over, waiting while the channel is full; senders are served in order.

        Atomic under cancellation: when this raises ``CancelledError`` the item was not sent, when
        it returns it was.

        Raises:
            ChannelClosed: this end is closed, or was closed while waiting.
            ChannelBroken: the receiving end is closed, or was closed while waiting.
        """
        state = self._state
        self._check()
        if state.granted == 0 and not state.senders and state.room() > 0:
            state.put(item)
            return
        first = False
        while True:
            await self._wait_for_room(first=first)
            self._check()
            if state.room() > 0:
                state.put(item)
                return
            # The receiver for which there was room has been cancelled meanwhile: wait again, still
            # before those who came later.
            first = True

    def send_nowait(self, item: T) -> None:
        """Hands ``item`` over at once.

        Raises:
            ChannelWouldBlock: the channel is full.
            ChannelClosed: this end is closed.
            ChannelBroken: the receiving end is closed.
        """
        state = self._state
        self._check()
        if state.granted or state.senders or state.room() <= 0:
            raise ChannelWouldBlock(f"channel {state.name or 'without name'} is full")
        state.put(item)

    def close(self) -> None:
        """Ends the channel: what was sent can still be received. Idempotent, never waits."""
        state = self._state
        state.send_open = False
        state.wake_senders()
        state.end_if_drained()

    def statistics(self) -> ChannelStatistics:
        """The channel's figures now."""
        return _statistics(self._state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _check(self) -> None:
        if not self._state.send_open:
            raise ChannelClosed(f"send on the closed channel {self._state.name}".rstrip())
        if not self._state.receive_open:
            raise ChannelBroken(f"nobody receives from the channel {self._state.name}".rstrip())

    async def _wait_for_room(self, *, first: bool) -> None:
        state = self._state
        sender: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if first:
            state.senders.appendleft(sender)
        else:
            state.senders.append(sender)
        state.wake_senders()
        try:
            await sender
        except asyncio.CancelledError:
            if sender.done() and not sender.cancelled():
                state.granted -= 1
                state.wake_senders()
            else:
                _discard(state.senders, sender)
            raise
        state.granted -= 1


class ReceiveEnd(Generic[T]):
    """The end that items come out of: ``async for item in receive``.

    Any number of tasks may use it, each item goes to one of them; its owner closes it once.
    ``with receive:`` closes it at the end of the block.
    """

    __slots__ = ("_state",)

    def __init__(self, state: _State[T]) -> None:
        self._state = state

    async def receive(self) -> T:
        """The next item, waiting while there is none; receivers are served in order.

        Atomic under cancellation: when this raises ``CancelledError`` no item was taken.

        Raises:
            ChannelClosed: this end is closed, or was closed while waiting.
            ChannelEnded: the sending end is closed and every item has been received.
        """
        state = self._state
        while True:
            self._check()
            if state.buffer:
                return self._take()
            if not state.send_open and not state.handed:
                raise ChannelEnded(f"the channel {state.name} has ended")
            item = await self._wait_for_item()
            if item is not _NO_ITEM:
                state.handed -= 1
                state.received += 1
                state.end_if_drained()
                return cast("T", item)

    def receive_nowait(self) -> T:
        """The next item, if there is one in the buffer.

        Raises:
            ChannelWouldBlock: nothing is buffered.
            ChannelClosed: this end is closed.
            ChannelEnded: the sending end is closed and every item has been received.
        """
        state = self._state
        self._check()
        if state.buffer:
            return self._take()
        if not state.send_open:
            raise ChannelEnded(f"the channel {state.name} has ended")
        raise ChannelWouldBlock(f"channel {state.name or 'without name'} is empty")

    def close(self) -> None:
        """Drops what is buffered; whoever sends gets ``ChannelBroken``. Idempotent, never waits."""
        state = self._state
        state.receive_open = False
        state.buffer.clear()
        state.wake_senders()
        state.wake_receivers()

    def statistics(self) -> ChannelStatistics:
        """The channel's figures now."""
        return _statistics(self._state)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        try:
            return await self.receive()
        except ChannelEnded:
            raise StopAsyncIteration from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _check(self) -> None:
        if not self._state.receive_open:
            raise ChannelClosed(f"receive on the closed channel {self._state.name}".rstrip())

    def _take(self) -> T:
        state = self._state
        item = state.buffer.popleft()
        state.received += 1
        state.wake_senders()
        state.end_if_drained()
        return item

    async def _wait_for_item(self) -> object:
        state = self._state
        receiver: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        state.receivers.append(receiver)
        state.wake_senders()
        try:
            return await receiver
        except asyncio.CancelledError:
            if receiver.done() and not receiver.cancelled():
                item = receiver.result()
                if item is not _NO_ITEM:
                    # Handed to us and not taken: it is the next one again.
                    state.handed -= 1
                    state.hand_over(cast("T", item), first=True)
            else:
                _discard(state.receivers, receiver)
            raise


class open_channel(tuple[SendEnd[T], ReceiveEnd[T]]):  # noqa: N801 - it is used as a function
    """Opens a channel: ``send, receive = open_channel[Frame](4)``.

    It holds at most ``capacity`` items, and for a moment one more for each receiver that is
    cancelled with an item in its hands; 0 hands over from task to task. Each end is closed by the
    task that owns it; closing one tells the other. (A class, since functions take no type argument
    before Python 3.12.)

    Args:
        capacity: items that may be sent before someone receives them, 0 or more.
        name: under which its figures are exported as metrics; unnamed ones are not.
    """

    __slots__ = ()

    def __new__(cls, capacity: int, *, name: str = "") -> Self:
        """Makes the two ends."""
        if capacity < 0:
            raise ValueError(f"capacity must be 0 or more, found {capacity}")
        state: _State[T] = _State(capacity, name)
        _LIVE.add(cast("_State[object]", state))
        return super().__new__(cls, (SendEnd(state), ReceiveEnd(state)))


_LIVE: Final[weakref.WeakSet[_State[object]]] = weakref.WeakSet()


def channel_statistics() -> list[ChannelStatistics]:
    """Figures of every channel of this process that something still refers to."""
    return [_statistics(state) for state in list(_LIVE)]


def _discard(waiters: deque[asyncio.Future[T]], waiter: asyncio.Future[T]) -> None:
    with contextlib.suppress(ValueError):
        waiters.remove(waiter)


def _statistics(state: _State[T]) -> ChannelStatistics:
    return ChannelStatistics(
        name=state.name,
        capacity=state.capacity,
        buffered=len(state.buffer),
        peak_buffered=state.peak,
        sent=state.sent,
        received=state.received,
        waiting_senders=len(state.senders),
        waiting_receivers=len(state.receivers),
        send_open=state.send_open,
        receive_open=state.receive_open,
    )
