"""Credit window of a stream: how much the other side may have sent in total.

One ledger, kept at both ends. The receiving end *grants*: it sends its running total over the wire
(totals, not differences, so that a repeated or reordered grant is harmless) and checks what arrives
against it. The sending end learns the totals by *update* and *takes* credit before it sends.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque

from simcloud.concurrency.channel import ChannelClosed


class CreditExceeded(Exception):
    """The other side sent more than it was granted."""

    def __init__(self, used: int, granted: int) -> None:
        super().__init__(f"{used} sent in total, {granted} granted")
        self.used = used
        self.granted = granted


class CreditWindow:
    """Cumulative credit of one direction of one stream, in whatever unit both ends agreed on.

    The unit (bytes, frames) and the start (0) are the stream's protocol. Nothing is bounded here:
    the receiving end bounds itself by what it grants.
    """

    def __init__(self, granted_total: int = 0) -> None:
        """Makes a window.

        Args:
            granted_total: credit both ends know of before the first message.
        """
        self._granted = granted_total
        self._used = 0
        self._closed = False
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def granted(self) -> int:
        """Credit granted in total."""
        return self._granted

    @property
    def used(self) -> int:
        """Credit taken, or charged, in total."""
        return self._used

    @property
    def available(self) -> int:
        """Credit granted and not used."""
        return self._granted - self._used

    @property
    def waiting(self) -> int:
        """Tasks that wait in ``take`` now."""
        return len(self._waiters)

    # Receiving end.

    def grant(self, amount: int) -> int:
        """Adds credit; returns the total, which is what the message to the other side carries.

        Raises:
            ValueError: ``amount`` is negative; credit is never taken back.
        """
        if amount < 0:
            raise ValueError(f"credit is never taken back, found {amount}")
        self.update(self._granted + amount)
        return self._granted

    def charge(self, amount: int) -> None:
        """Counts what the other side sent.

        Raises:
            CreditExceeded: it was not granted that much; a protocol error of the other side.
        """
        if self._used + amount > self._granted:
            raise CreditExceeded(self._used + amount, self._granted)
        self._used += amount

    # Sending end.

    def update(self, granted_total: int) -> None:
        """Learns the total that the other side granted; a smaller one than known is ignored."""
        if granted_total > self._granted:
            self._granted = granted_total
            self._wake()

    async def take(self, amount: int) -> None:
        """Takes credit for what is about to be sent, waiting until it is granted; in order.

        Atomic under cancellation: when this raises ``CancelledError`` nothing was taken.

        Raises:
            ChannelClosed: the window was closed, before or while waiting.
        """
        if self._closed:
            raise ChannelClosed("the credit window is closed")
        if not self._waiters and amount <= self.available:
            self._used += amount
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiter = (amount, turn)
        self._waiters.append(waiter)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                if not self._closed:
                    self._used -= amount
            else:
                with contextlib.suppress(ValueError):
                    self._waiters.remove(waiter)
            self._wake()
            raise
        if self._closed:
            raise ChannelClosed("the credit window was closed while waiting for credit")

    def restart(self, granted_total: int = 0) -> None:
        """Begins again at 0 used; those who wait go on waiting for the new credit."""
        self._granted = granted_total
        self._used = 0
        self._wake()

    def close(self) -> None:
        """The stream is over: those who wait get ``ChannelClosed``. Idempotent, never waits."""
        self._closed = True
        while self._waiters:
            _, turn = self._waiters.popleft()
            if not turn.done():
                turn.set_result(None)

    def _wake(self) -> None:
        while self._waiters:
            amount, turn = self._waiters[0]
            if not turn.done():
                if amount > self.available:
                    return
                self._used += amount
                turn.set_result(None)
            self._waiters.popleft()
