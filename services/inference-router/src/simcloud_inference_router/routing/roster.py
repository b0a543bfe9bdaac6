"""The targets of one model: which may be asked, and what each outcome changes about that; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log

from simcloud.errors import DeadlineExceeded, InvalidRequest, NotFound
from simcloud_inference_router.model_options import TrafficOptions
from simcloud_inference_router.routing.choice import (
    choose,
    choose_ejected,
    choose_where_all_are_open,
    tiers_of,
)
from simcloud_inference_router.routing.hashing import place_of
from simcloud_inference_router.routing.health import is_targets_fault
from simcloud_inference_router.routing.routed_target import RoutedTarget, State
from simcloud_inference_router.targets.base import Failure, TargetAnswer


class Grant:
    """The right to ask a target once; given back by ``Door.leave``."""

    __slots__ = ("entered_at", "in_flight", "patience_s", "probe", "sent", "target")

    def __init__(self, target: RoutedTarget, now: float, *, probe: bool) -> None:
        self.target = target
        self.entered_at = now
        self.in_flight = target.in_flight
        """Requests at the target, this one included."""
        self.probe = probe
        """Whether it is to show that the target is back, or there."""
        self.sent = False
        """Whether the target was asked."""
        self.patience_s = float("inf")
        """Seconds that its caller has; a target that takes longer is not to blame."""


class Roster:
    """The targets of one model and whether they are in the traffic.

    A request has a mask: bits of the targets that it may go to.

    Args:
        targets: ordinary ones, and the canary.
        options: when targets are taken out, and whether cold ones are waited for.
        draw: uniform in [0, 1); for the choice between targets.
    """

    def __init__(
        self,
        targets: Sequence[RoutedTarget],
        *,
        options: TrafficOptions,
        draw: Callable[[], float],
    ) -> None:
        self.targets = tuple(targets)
        for index, each in enumerate(self.targets):
            each.place(index)
        self._draw = draw
        self._outlier = options.outlier
        self._cold_start = options.cold_start
        self._tiers = tiers_of(self.targets)
        self.shut = sum(each.state is not State.OPEN for each in self.targets)
        """Targets that are not open."""
        self.ordinary = sum(each.bit for each in self.targets if each.role == "ordinary")
        """Mask of the targets that any request may go to."""
        self.everyone = sum(each.bit for each in self.targets)
        """Mask of all of them."""
        self.smallest_limit = min(each.entry.max_request_bytes for each in self.targets)
        """Largest body that every target takes."""
        self.max_request_bytes = max(
            (each.entry.max_request_bytes for each in self.targets if each.bit & self.ordinary),
            default=0,
        )
        """Largest body that some ordinary target takes."""

    def target(self, name: str) -> RoutedTarget:
        """The target of that name.

        Raises:
            NotFound: there is none.
        """
        for each in self.targets:
            if each.name == name:
                return each
        known = ", ".join(each.name for each in self.targets)
        raise NotFound(f"there is no target {name!r}; the model has: {known}", target=name)

    def mask_for(self, size: int) -> int:
        """Mask of the ordinary targets that take a body.

        Raises:
            InvalidRequest: none does.
        """
        if size <= self.smallest_limit:
            return self.ordinary
        mask = self.fitting(size) & self.ordinary
        if not mask:
            ordinary = (each for each in self.targets if each.bit & self.ordinary)
            largest = max(ordinary, key=lambda each: each.entry.max_request_bytes)
            raise InvalidRequest(
                "",
                f"the request to target {largest.name} would be {size} bytes; it takes at most "
                f"{self.max_request_bytes}: send a smaller batch or picture",
            )
        return mask

    def fitting(self, size: int) -> int:
        """Mask of the targets that take a body, the canary among them."""
        return sum(each.bit for each in self.targets if size <= each.entry.max_request_bytes)

    def elsewhere(self, mask: int, failed: RoutedTarget) -> int:
        """``mask`` without a target that failed; unchanged when no other one is open."""
        rest = mask & ~failed.bit
        return rest if self.is_open(rest) else mask

    def takes(self, mask: int) -> bool:
        """Whether a target of the mask is not drained."""
        return any(each.accepts & mask for each in self.targets)

    def is_open(self, mask: int) -> bool:
        """Whether a target of the mask is in the traffic, full as it may be."""
        return any(each.accepts & mask and each.state is State.OPEN for each in self.targets)

    def is_there(self, mask: int, now: float) -> bool:
        """Whether a target of the mask is in the traffic or due for a probe."""
        return any(each.accepts & mask and each.is_there(now) for each in self.targets)

    def room(self, mask: int) -> int:
        """How many may wait for a mask's targets; for those that are not ejected, if there are."""
        takers = [each for each in self.targets if each.accepts & mask]
        there = [each for each in takers if each.state is not State.EJECTED]
        return sum(each.queue_room for each in there or takers)

    def next_probe_at(self, now: float) -> float | None:
        """When a target that is shut may be probed next; None: none will."""
        due = [
            each.shut_until
            for each in self.targets
            if each.state is not State.OPEN and not each.probing and each.shut_until > now
        ]
        return min(due, default=None)

    def choose(self, mask: int, now: float) -> RoutedTarget | None:
        """A target with room; None: none has any.

        Those that were taken out are asked when nothing else of the mask is in the traffic.
        """
        if not self.shut:
            target = choose_where_all_are_open(self._tiers[0], mask, self._draw, now)
            return target or choose(self._tiers, mask, now, self._draw)
        target = choose(self._tiers, mask, now, self._draw)
        return target or choose_ejected(self._tiers, mask, now, self._draw)

    def choose_open(self, mask: int, now: float) -> RoutedTarget | None:
        """A target with room that is no probe; None: none is."""
        target = choose(self._tiers, mask, now, self._draw)
        return target if target is not None and target.state is State.OPEN else None

    def place(
        self, mask: int, key: str, now: float, *, also_shut: bool = False
    ) -> RoutedTarget | None:
        """The target for a key to stay with, whether or not it has a slot now; None: none is there.

        Of the lowest tier with one; by rendezvous hashing with the catalogue's weights, so that
        every replica finds the same one as long as it sees the same targets (Thaler and
        Ravishankar 1998).

        Args:
            mask: of the targets in question.
            key: what stays.
            now: seconds.
            also_shut: whether to look at those that are drained or out of the traffic as well.
        """
        for tier in self._tiers:
            there = [
                each
                for each in tier
                if (also_shut and each.bit & mask) or (each.accepts & mask and each.is_there(now))
            ]
            if there:
                return max(there, key=lambda each: _pull(each, key))
        return None

    def grant(self, target: RoutedTarget, now: float) -> Grant:
        """Takes a slot of a target that has room."""
        target.in_flight += 1
        target.counts.begun(now)
        probe = target.state is not State.OPEN
        if probe:
            target.probing = True
            target.counts.probes += 1
        return Grant(target, now, probe=probe)

    def learn(self, grant: Grant, outcome: TargetAnswer | Failure | None, now: float) -> bool:
        """Gives a slot back and learns from what became of it.

        Args:
            grant: used once.
            outcome: None when it was given up.
            now: seconds.

        Returns:
            Whether more than this one slot may have come free.
        """
        target = grant.target
        target.in_flight -= 1
        target.counts.ended(now, now - grant.entered_at if grant.sent else None)
        if grant.probe:
            target.probing = False
        if isinstance(outcome, TargetAnswer):
            target.limit.succeeded(grant.in_flight)
            target.latency.observe(now - grant.entered_at, now)
            self._answered(grant, now)
        elif outcome is not None:
            return self._failed(grant, outcome, now) or grant.probe
        elif grant.sent:
            target.counts.failures += now - grant.entered_at >= grant.patience_s
            self._slow(grant, now)
        return grant.probe

    def _answered(self, grant: Grant, now: float) -> None:
        target = grant.target
        target.health.answered(now)
        # An ejected target's late answers to what it was asked before say nothing new.
        if target.state is State.COLD or (grant.probe and target.state is State.EJECTED):
            self._open(target, now)

    def _slow(self, grant: Grant, now: float) -> None:
        """After no answer: a quick end says nothing about the speed, a slow one does."""
        latency = grant.target.latency
        took_s = now - grant.entered_at
        if took_s > latency.value(now):
            latency.observe(took_s, now)

    def _failed(self, grant: Grant, failure: Failure, now: float) -> bool:
        """Whether the target's state changed."""
        target = grant.target
        target.counts.failures += 1
        took_s = now - grant.entered_at
        if failure.shrink:
            target.limit.overloaded(sent_at=grant.entered_at, now=now)
        self._slow(grant, now)
        if failure.no_capacity and self._cold_start is not None:
            self._cool(target, now, self._cold_start.probe_every_s)
            return True
        # A caller's own short time says nothing about the target; a thousandth for the clocks.
        if isinstance(failure.error, DeadlineExceeded) and took_s >= grant.patience_s * 0.999:
            return False
        if not is_targets_fault(failure.error):
            shut = self.shut
            self._answered(grant, now)
            return self.shut != shut
        if target.state is State.COLD:
            # It is up and failing: no longer a matter of capacity.
            self._open(target, now)
        should_go = target.health.failed(now)
        if target.state is State.EJECTED:
            # Its probe failed. What was sent while nothing else was there counts no second time.
            if grant.probe and now >= target.shut_until:
                self._eject(target, now)
        elif should_go and self._may_eject(target):
            self.shut += 1
            self._eject(target, now)
        return target.state is State.EJECTED

    def _may_eject(self, target: RoutedTarget) -> bool:
        if not self._outlier.max_ejected:
            return False
        out = sum(each.state is State.EJECTED for each in self.targets)
        if out >= max(int(self._outlier.max_ejected * len(self.targets)), 1):
            return False
        return self.is_open(self.ordinary & ~target.bit)

    def _eject(self, target: RoutedTarget, now: float) -> None:
        target.state = State.EJECTED
        target.shut_until = now + target.health.taken_out(now)
        target.counts.ejections += 1

    def _cool(self, target: RoutedTarget, now: float, pause_s: float) -> None:
        if target.state is State.OPEN:
            self.shut += 1
        if target.state is not State.COLD:
            target.state = State.COLD
            target.counts.cold_starts += 1
            target.shut_until = now + pause_s
        elif now >= target.shut_until:
            # Not by the answers to what was sent before it was known to be cold.
            target.shut_until = now + pause_s

    def _open(self, target: RoutedTarget, now: float) -> None:
        target.state = State.OPEN
        target.health.returned(now)
        self.shut -= 1


def _pull(target: RoutedTarget, key: str) -> float:
    return (target.entry.weight or 1.0) / -log(place_of(key, target.name))
