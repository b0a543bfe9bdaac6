"""Copies of some requests for a target whose answers nobody gets, only compared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from simcloud.clock import Clock
from simcloud.telemetry.logging import get_logger
from simcloud_inference_router.background import Background
from simcloud_inference_router.codecs.base import TensorCodec
from simcloud_inference_router.model_options import ShadowOptions
from simcloud_inference_router.routing.compare import Compared, Incomparable, compare
from simcloud_inference_router.routing.roster import Roster
from simcloud_inference_router.routing.routed_target import RoutedTarget, TargetSnapshot
from simcloud_inference_router.targets.base import Invocation, TargetAnswer

_log = get_logger(__name__)


@dataclass(slots=True)
class ShadowCounts:
    """What became of the copies since the process began."""

    sent: int = 0
    dropped: int = 0
    """Not sent, since as many as may be were under way, or the shadow takes no such body."""
    agreed: int = 0
    differed: int = 0
    failed: int = 0
    """Without an answer."""
    incomparable: int = 0
    """Answered in another form than the model's."""
    matched: int = 0
    """Detections, rows or numbers that both have."""
    missing: int = 0
    """Of the answers that were given, those that the shadow's don't have."""
    extra: int = 0
    """Of the shadow's, those that the answers that were given don't have."""


class Shadow:
    """The shadow of a model.

    The caller has its answer before a copy is sent, and nothing of a copy is counted as the
    caller's. Copies under way are bounded by ``max_in_flight`` and the shadow's own limit.

    Args:
        options: how many, and what is compared.
        roster: the shadow alone: its limit and its health are its own.
        codec: the model's, for tensors.
        background: where copies run.
        clock: for timings.
        draw: uniform in [0, 1).
    """

    def __init__(
        self,
        options: ShadowOptions,
        *,
        roster: Roster,
        codec: TensorCodec | None,
        background: Background,
        clock: Clock,
        draw: Callable[[], float],
    ) -> None:
        self.counts = ShadowCounts()
        self.options = options
        self._roster = roster
        self._codec = codec
        self._background = background
        self._clock = clock
        self._draw = draw
        self._under_way = 0

    @property
    def target(self) -> RoutedTarget:
        """Who is asked."""
        return self._roster.targets[0]

    def snapshot(self) -> TargetSnapshot:
        """The target as it is now."""
        return self.target.snapshot(self._clock.monotonic())

    @property
    def under_way(self) -> int:
        """Copies that are not yet compared."""
        return self._under_way

    def offer(self, invocation: Invocation, answer: TargetAnswer) -> None:
        """A request that was answered; returns at once, and never raises."""
        if self._draw() >= self.options.sample:
            return
        fits = len(invocation.body) <= self.target.entry.max_request_bytes
        if self._under_way >= self.options.max_in_flight or not fits:
            self.counts.dropped += 1
            return

        async def copy() -> None:
            await self._copy(invocation, answer)

        self._under_way += 1
        self._background.start(copy, name="shadow").add_done_callback(self._ended)

    def _ended(self, _task: asyncio.Task[None]) -> None:
        # A callback, since a task that is cancelled before its first step runs no ``finally``.
        self._under_way -= 1

    async def _copy(self, invocation: Invocation, answer: TargetAnswer) -> None:
        now = self._clock.monotonic()
        target = self._roster.choose(self._roster.everyone, now)
        if target is None:
            self.counts.dropped += 1
            return
        self.counts.sent += 1
        grant = self._roster.grant(target, now)
        grant.sent = True
        outcome = None
        try:
            outcome = await target.target.invoke(invocation, timeout_s=target.entry.timeout_s)
        finally:
            self._roster.learn(grant, outcome, self._clock.monotonic())
        if not isinstance(outcome, TargetAnswer):
            self.counts.failed += 1
            return
        try:
            # In a thread: a large answer takes milliseconds, in which nobody would be served.
            compared = await asyncio.to_thread(self._compare, answer, outcome)
        except Incomparable as exc:
            self.counts.incomparable += 1
            if self.counts.incomparable == 1:
                # The others are most likely alike; they are counted.
                _log.warning(
                    "a shadow's answer can't be compared", target=target.name, why=str(exc)
                )
            return
        self._count(compared)

    def _compare(self, answer: TargetAnswer, shadow: TargetAnswer) -> Compared:
        options = self.options
        return compare(
            answer,
            shadow,
            what=options.compare,
            tolerance=options.tolerance,
            codec=self._codec,
        )

    def _count(self, compared: Compared) -> None:
        counts = self.counts
        if compared.agree:
            counts.agreed += 1
        else:
            counts.differed += 1
        counts.matched += compared.matched
        counts.missing += compared.missing
        counts.extra += compared.extra
