"""Who is next: a model's waiting requests, fair to callers, in O(1); pure."""

from __future__ import annotations

from collections import OrderedDict

FIRST, ORDINARY = 0, 1
"""The two priorities."""

FIRST_IN_A_ROW = 7
"""Requests of the first priority that go before one of the ordinary must."""


def level_of(priority: int) -> int:
    """The level of an OIP request's `priority`, where lower is sooner and 0 the default.

    There are two: 1 goes first, everything else is ordinary.
    """
    return FIRST if priority == 1 else ORDINARY


class Ticket:
    """One that waits."""

    __slots__ = ("caller", "level", "mask", "patient", "queued")

    def __init__(self, *, caller: str, level: int, mask: int, patient: bool) -> None:
        self.caller = caller
        self.level = level
        self.mask = mask
        """Bits of the targets that it may go to."""
        self.patient = patient
        """Whether it is a stream's."""
        self.queued = False
        """Whether it is in the queue."""


class _Lane:
    """Tickets for the same targets: callers in turn, each caller's own in order."""

    __slots__ = ("callers", "waiting")

    def __init__(self) -> None:
        self.callers: OrderedDict[str, OrderedDict[Ticket, None]] = OrderedDict()
        self.waiting = 0

    def push(self, ticket: Ticket) -> None:
        tickets = self.callers.get(ticket.caller)
        if tickets is None:
            tickets = self.callers[ticket.caller] = OrderedDict()
        tickets[ticket] = None
        self.waiting += 1

    def pop(self) -> Ticket:
        caller = next(iter(self.callers))
        tickets = self.callers[caller]
        ticket, _ = tickets.popitem(last=False)
        if tickets:
            self.callers.move_to_end(caller)
        else:
            del self.callers[caller]
        self.waiting -= 1
        return ticket

    def remove(self, ticket: Ticket) -> None:
        tickets = self.callers[ticket.caller]
        del tickets[ticket]
        if not tickets:
            del self.callers[ticket.caller]
        self.waiting -= 1


class _Line:
    """Tickets of one kind and priority; lanes that a target may serve are served in turn."""

    __slots__ = ("lanes", "waiting")

    def __init__(self) -> None:
        self.lanes: OrderedDict[int, _Lane] = OrderedDict()
        self.waiting = 0

    def push(self, ticket: Ticket) -> None:
        lane = self.lanes.get(ticket.mask)
        if lane is None:
            lane = self.lanes[ticket.mask] = _Lane()
        lane.push(ticket)
        self.waiting += 1

    def pop(self, bits: int, *, exact: bool) -> Ticket | None:
        lanes = self.lanes
        mask = next((each for each in lanes if (each == bits if exact else each & bits)), None)
        if mask is None:
            return None
        lane = lanes[mask]
        ticket = lane.pop()
        if lane.waiting:
            self.lanes.move_to_end(mask)
        else:
            del self.lanes[mask]
        self.waiting -= 1
        return ticket

    def remove(self, ticket: Ticket) -> None:
        lane = self.lanes[ticket.mask]
        lane.remove(ticket)
        if not lane.waiting:
            del self.lanes[ticket.mask]
        self.waiting -= 1


class _Kind:
    """Unary requests, or frames: the first priority first, but never for ever."""

    __slots__ = ("_in_a_row", "lines")

    def __init__(self) -> None:
        self.lines = (_Line(), _Line())
        self._in_a_row = 0

    @property
    def waiting(self) -> int:
        return self.lines[FIRST].waiting + self.lines[ORDINARY].waiting

    def pop(self, bits: int, *, exact: bool) -> Ticket | None:
        first, ordinary = self.lines
        if first.waiting and self._in_a_row < FIRST_IN_A_ROW:
            ticket = first.pop(bits, exact=exact)
            if ticket is not None:
                self._in_a_row = self._in_a_row + 1 if ordinary.waiting else 0
                return ticket
        ticket = ordinary.pop(bits, exact=exact)
        if ticket is None:
            return first.pop(bits, exact=exact)
        self._in_a_row = 0
        return ticket


class FairQueue:
    """The waiting requests of one model.

    * Unary requests and frames of streams are served in turn while both wait.
    * Within each, priority 1 goes first, but for every eighth.
    * Within each, callers are served in turn, whatever number each has waiting.

    A target serves those whose ``mask`` has one of its bits. All is O(1) in the number waiting, and
    linear in the number of different masks, which is one but for requests that not all targets can
    take. What is popped or removed leaves nothing behind.
    """

    __slots__ = ("_frames", "_frames_are_next", "_unary", "waiting")

    def __init__(self) -> None:
        self._unary = _Kind()
        self._frames = _Kind()
        self._frames_are_next = False
        self.waiting = 0
        """All that wait."""

    @property
    def unary(self) -> int:
        """Unary requests that wait."""
        return self._unary.waiting

    def unary_for(self, mask: int) -> int:
        """Unary requests that wait for exactly these targets."""
        return sum(
            lane.waiting for line in self._unary.lines if (lane := line.lanes.get(mask)) is not None
        )

    def masks(self) -> set[int]:
        """The different sets of targets that someone waits for."""
        return {
            mask
            for kind in (self._unary, self._frames)
            for line in kind.lines
            for mask in line.lanes
        }

    def push(self, ticket: Ticket) -> None:
        """Puts a ticket at the end of its caller's."""
        ticket.queued = True
        self.waiting += 1
        self._kind(ticket).lines[ticket.level].push(ticket)

    def pop(self, bits: int, *, exact: bool = False) -> Ticket | None:
        """Takes the next out.

        Args:
            bits: of a target; those whose mask has one of them may go there.
            exact: those whose mask is exactly ``bits``.
        """
        kinds = (
            (self._frames, self._unary) if self._frames_are_next else (self._unary, self._frames)
        )
        for kind in kinds:
            ticket = kind.pop(bits, exact=exact)
            if ticket is not None:
                self._frames_are_next = kind is self._unary
                ticket.queued = False
                self.waiting -= 1
                return ticket
        return None

    def remove(self, ticket: Ticket) -> None:
        """Takes a ticket out that no longer waits; does nothing when it is out already."""
        if ticket.queued:
            ticket.queued = False
            self.waiting -= 1
            self._kind(ticket).lines[ticket.level].remove(ticket)

    def _kind(self, ticket: Ticket) -> _Kind:
        return self._frames if ticket.patient else self._unary
