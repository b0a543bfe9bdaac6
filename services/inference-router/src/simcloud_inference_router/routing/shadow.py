"""Copies of some requests for a target whose answers nobody gets, only compared."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields

from simcloud.clock import Clock
from simcloud.telemetry.line_limit import LineLimit
from simcloud.telemetry.logging import get_logger
from simcloud_inference_router.background import Background
from simcloud_inference_router.codecs.base import TensorCodec
from simcloud_inference_router.model_options import ShadowOptions
from simcloud_inference_router.routing.compare import Compared, Incomparable, compare
from simcloud_inference_router.routing.roster import Roster
from simcloud_inference_router.routing.routed_target import RoutedTarget, TargetSnapshot
from simcloud_inference_router.target_entry import TargetEntry
from simcloud_inference_router.targets.base import MAX_ID_BYTES, Invocation, TargetAnswer
from simcloud_inference_router.targets.in_span import in_span

_log = get_logger(__name__)

LOG_EVERY_S = 1.0
"""Over time, one line about a pair of answers that differ in this time."""

LOG_AT_ONCE = 10
"""Such lines that may come at once after a pause."""


@dataclass(slots=True)
class ShadowCounts:
    """What became of the copies since the process began, of all or of those of one primary."""

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

    def add(self, other: ShadowCounts) -> None:
        """Adds up."""
        for each in fields(self):
            setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))


class Shadow:
    """The shadow of a model, compared with each of its primaries: the targets whose answers count.

    The caller has its answer before a copy is sent, and nothing of a copy is counted as the
    caller's. Copies under way are bounded by ``max_in_flight`` and the shadow's own limit.

    Args:
        model: name for the log.
        options: how many, and what is compared.
        primaries: names of the model's targets.
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
        model: str,
        primaries: Iterable[str],
        roster: Roster,
        codec: TensorCodec | None,
        background: Background,
        clock: Clock,
        draw: Callable[[], float],
    ) -> None:
        self.by_primary: dict[str, ShadowCounts] = {}
        """What became of the copies, by the name of the target that had answered; only of those
        that the model has now, since each is a label of the metrics."""
        self.options = options
        self._primaries = frozenset(primaries)
        self._of_others = ShadowCounts()
        self._model = model
        self._roster = roster
        self._codec = codec
        self._background = background
        self._clock = clock
        self._draw = draw
        self._under_way = 0
        self._lines = LineLimit(per_s=1 / LOG_EVERY_S, at_once=LOG_AT_ONCE)

    @property
    def counts(self) -> ShadowCounts:
        """What became of all copies, also of those for targets that the model has no more."""
        total = ShadowCounts()
        total.add(self._of_others)
        for each in self.by_primary.values():
            total.add(each)
        return total

    @property
    def target(self) -> RoutedTarget:
        """Who is asked."""
        return self._roster.targets[0]

    def adopt(self, entries: Iterable[TargetEntry]) -> None:
        """Takes over a new catalogue's entry of the target, which differs in its price at most.

        Args:
            entries: those of all the model's targets: the primaries from now on.
        """
        new = {each.name: each for each in entries}
        self.target.adopt(new[self.target.name], self._clock.monotonic())
        self._primaries = frozenset(new)
        for gone in self.by_primary.keys() - new.keys():
            self._of_others.add(self.by_primary.pop(gone))

    def snapshot(self) -> TargetSnapshot:
        """The target as it is now."""
        return self.target.snapshot(self._clock.monotonic())

    @property
    def under_way(self) -> int:
        """Copies that are not yet compared."""
        return self._under_way

    def offer(self, invocation: Invocation, answer: TargetAnswer, *, primary: str) -> None:
        """A request that was answered; returns at once, and never raises.

        Args:
            invocation: what was sent.
            answer: what the caller gets.
            primary: name of the target that gave it.
        """
        if self._draw() >= self.options.sample:
            return
        fits = len(invocation.body) <= self.target.entry.max_request_bytes
        if self._under_way >= self.options.max_in_flight or not fits:
            self._counts_of(primary).dropped += 1
            return
        pair = _Pair(invocation, answer, primary)

        async def copy() -> None:
            await self._copy(pair)

        self._under_way += 1
        self._background.start(copy, name="shadow").add_done_callback(self._ended)

    def _ended(self, _task: asyncio.Task[None]) -> None:
        # A callback, since a task that is cancelled before its first step runs no ``finally``.
        self._under_way -= 1

    def _counts_of(self, primary: str) -> ShadowCounts:
        """Where what becomes of a primary's copy is counted now; not to be kept over an await."""
        if primary not in self._primaries:
            # Gone while the copy was under way, or asked by a stream that began before.
            return self._of_others
        counts = self.by_primary.get(primary)
        if counts is None:
            counts = self.by_primary[primary] = ShadowCounts()
        return counts

    async def _copy(self, pair: _Pair) -> None:
        now = self._clock.monotonic()
        target = self._roster.choose(self._roster.everyone, now)
        if target is None:
            self._counts_of(pair.primary).dropped += 1
            return
        self._counts_of(pair.primary).sent += 1
        grant = self._roster.grant(target, now)
        grant.sent = True
        outcome = None
        asked = in_span(target.target, model=self._model, attempt=None)
        try:
            outcome = await asked.invoke(pair.invocation, timeout_s=target.entry.timeout_s)
        finally:
            self._roster.learn(grant, outcome, self._clock.monotonic())
        if not isinstance(outcome, TargetAnswer):
            self._counts_of(pair.primary).failed += 1
            return
        try:
            # In a thread: a large answer takes milliseconds, in which nobody would be served.
            compared = await asyncio.to_thread(self._compare, pair.answer, outcome)
        except Incomparable as exc:
            counts = self._counts_of(pair.primary)
            counts.incomparable += 1
            if counts.incomparable == 1:
                # The others are most likely alike; they are counted.
                _log.warning(
                    "a shadow's answer can't be compared",
                    model=self._model,
                    primary=pair.primary,
                    shadow=target.name,
                    why=str(exc),
                )
            return
        _count(self._counts_of(pair.primary), compared)
        if not compared.agree:
            self._tell(pair, compared)

    def _compare(self, answer: TargetAnswer, shadow: TargetAnswer) -> Compared:
        options = self.options
        return compare(
            answer,
            shadow,
            what=options.compare,
            tolerance=options.tolerance,
            codec=self._codec,
        )

    def _tell(self, pair: _Pair, compared: Compared) -> None:
        """A line by which a pair that differs can be found again, unless there were many."""
        if not self._lines.passes(self._clock.monotonic()):
            return
        left_out = self._lines.left_out()
        _log.info(
            "a shadow's answer differs",
            model=self._model,
            request_id=pair.invocation.request_id[:MAX_ID_BYTES],
            primary=pair.primary,
            shadow=self.target.name,
            matched=compared.matched,
            missing=compared.missing,
            extra=compared.extra,
            **({"lines_left_out": left_out} if left_out else {}),
        )


@dataclass(frozen=True, slots=True)
class _Pair:
    """A request and the answer that was given, for which the shadow's is wanted."""

    invocation: Invocation
    answer: TargetAnswer
    primary: str
    """Name of the target that gave it."""


def _count(counts: ShadowCounts, compared: Compared) -> None:
    if compared.agree:
        counts.agreed += 1
    else:
        counts.differed += 1
    counts.matched += compared.matched
    counts.missing += compared.missing
    counts.extra += compared.extra
