"""Credit of one stream: the share of the process's byte budget that its client may fill."""

from __future__ import annotations

from simcloud.concurrency import ByteBudget, ByteLease
from simcloud.errors import InvalidRequest


class StreamCredit:
    """What a client may have sent, backed by leases of the one budget.

    A stream's base lease is a part and the largest frame: with it every part can be filled, stored
    and freed, so no stream waits for ever and none holds half a part that can't finish. What more
    it leases, one part at a time and only when nobody waits, lets it receive while it stores; it is
    given back as soon as somebody waits. Bytes held never exceed the leases: credit in total is
    what was freed plus what is leased.
    """

    def __init__(self, budget: ByteBudget, *, part_size_bytes: int, max_extra_parts: int) -> None:
        """Makes a stream's credit, none yet.

        Args:
            budget: the process's.
            part_size_bytes: what is leased beyond the base at a time.
            max_extra_parts: how often.
        """
        self._budget = budget
        self._step = min(part_size_bytes, budget.limit)
        self._max_extra = max_extra_parts
        self._base: ByteLease | None = None
        self._extra: list[ByteLease] = []
        self._received = 0
        self._freed = 0
        self._granted = 0

    @property
    def granted(self) -> int:
        """Payload bytes that the client may have sent in total."""
        return self._granted

    @property
    def received(self) -> int:
        """Payload bytes that it has sent in total."""
        return self._received

    @property
    def leased(self) -> int:
        """Bytes of the budget held now."""
        base = self._base.size if self._base is not None else 0
        return base + sum(lease.size for lease in self._extra)

    def admit(self, base: ByteLease) -> int:
        """Takes over the base lease; returns the credit in total."""
        self._base = base
        return self._grant()

    def charge(self, payload_bytes: int) -> None:
        """Counts what the client sent.

        Raises:
            InvalidRequest: it was not granted that much.
        """
        total = self._received + payload_bytes
        if total > self._granted:
            raise InvalidRequest(
                "frame", f"{total} payload bytes were sent and {self._granted} granted: wait"
            )
        self._received = total

    def free(self, payload_bytes: int) -> int:
        """A part left memory; returns the credit in total."""
        self._freed += payload_bytes
        spare = self._freed + self.leased - self._granted
        while self._extra and self._budget.waiting and spare >= self._extra[-1].size:
            lease = self._extra.pop()
            spare -= lease.size
            lease.release()
        if self._extra and self._budget.waiting:
            # Kept back until it makes up the next lease: a part's payload is less than the part,
            # and who waits must not wait for ever for the difference. The base stays granted.
            return self._granted
        return self._grant()

    def grow(self) -> int:
        """Leases another part if nobody waits for memory; returns the credit in total."""
        if self._base is not None and len(self._extra) < self._max_extra:
            lease = self._budget.try_acquire(self._step)
            if lease is not None:
                self._extra.append(lease)
        return self._grant()

    def restart(self) -> int:
        """Everything received was dropped: credit counts from zero. Returns the new credit."""
        self._received = self._freed = self._granted = 0
        return self._grant()

    def close(self) -> None:
        """Gives everything back. Idempotent."""
        if self._base is not None:
            self._base.release()
        for lease in self._extra:
            lease.release()
        self._extra.clear()

    def _grant(self) -> int:
        self._granted = max(self._granted, self._freed + self.leased)
        return self._granted
