"""One request from admission to answer: whom it may go to, slot, attempt, at most one retry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TypeAlias

from simcloud.clock import Clock
from simcloud.concurrency.retry import Backoff, RetryBudget
from simcloud.errors import DeadlineExceeded, NotReady, Overloaded
from simcloud_inference_router.background import Background
from simcloud_inference_router.batching.former import BatchFormer
from simcloud_inference_router.catalog import ModelEntry
from simcloud_inference_router.codecs.base import TensorCodec
from simcloud_inference_router.routing.canary import Canary
from simcloud_inference_router.routing.door import Door
from simcloud_inference_router.routing.hedging import Hedging, Outcome, Race
from simcloud_inference_router.routing.roster import Grant, Roster
from simcloud_inference_router.routing.routed_target import RoutedTarget, TargetSnapshot
from simcloud_inference_router.routing.sessions import Sessions
from simcloud_inference_router.routing.shadow import Shadow
from simcloud_inference_router.statistics import CallTrace, ModelCounts
from simcloud_inference_router.targets.base import Failure, Invocation, TargetAnswer
from simcloud_inference_router.targets.in_span import in_span

MAX_ATTEMPTS = 2
"""The first and one retry."""

MAX_PAUSE_S = 5.0
"""A target that asks for a longer pause is not waited for: the caller is told."""


Layout: TypeAlias = tuple[str, str, tuple[int, ...]]
"""A tensor's name, datatype and shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedModel:
    """A model with its door and what its traffic is allowed."""

    entry: ModelEntry
    door: Door
    retries: RetryBudget
    codec: TensorCodec | None
    """How its tensors travel; None: it takes none."""
    sessions: Sessions
    hedging: Hedging | None = None
    canary: Canary | None = None
    shadow: Shadow | None = None
    batches: BatchFormer | None = None
    """Where its requests wait for company; None: each is sent by itself."""
    counts: ModelCounts = field(default_factory=ModelCounts)
    """What became of its requests."""
    layouts: dict[tuple[Layout, ...], int] = field(default_factory=dict)
    """Inputs that fit its signature, and their batch size: requests repeat them."""

    @property
    def roster(self) -> Roster:
        """Its targets but for the shadow."""
        return self.door.roster

    @property
    def targets(self) -> tuple[RoutedTarget, ...]:
        """Its targets, the shadow last."""
        if self.shadow is None:
            return self.roster.targets
        return (*self.roster.targets, self.shadow.target)

    def snapshot(self) -> tuple[TargetSnapshot, ...]:
        """Its targets as they are now, the shadow last."""
        if self.shadow is None:
            return self.door.snapshot()
        return (*self.door.snapshot(), self.shadow.snapshot())


@dataclass(frozen=True, slots=True)
class Sealed:
    """What is sent, once nobody joins any more."""

    invocation: Invocation
    deadline: float | None
    """Latest moment on the clock that somebody waits for it."""


Seal: TypeAlias = Callable[[float], Sealed]
"""Makes what is sent when a target has a slot for it, at that moment on the clock."""


@dataclass(slots=True)
class _Request:
    """One request on its way."""

    model: RoutedModel
    invocation: Invocation
    trace: CallTrace
    caller: str
    deadline: float | None
    patient: bool
    priority: int
    canary_value: str
    begun: float
    seal: Seal | None = None
    mask: int = 0
    """Of the targets that it may go to now."""
    failures: int = 0
    """Attempts that failed; those that found a target scaled to zero not counted."""


class Dispatcher:
    """Carries invocations to targets.

    Args:
        clock: for deadlines and timings.
        backoff: pause before a retry at the same target.
        random: where its jitter comes from.
        background: where second attempts run.
    """

    def __init__(
        self, *, clock: Clock, backoff: Backoff, random: Random, background: Background
    ) -> None:
        self._clock = clock
        self._backoff = backoff
        self._random = random
        self._background = background

    async def call(
        self,
        model: RoutedModel,
        invocation: Invocation,
        *,
        deadline: float | None,
        patient: bool,
        trace: CallTrace,
        caller: str = "",
        priority: int = 0,
        canary_value: str = "",
        seal: Seal | None = None,
    ) -> TargetAnswer:
        """A target's answer.

        Retries once where the mapping table allows it and the model's budget has something left, at
        another target if there is one, never after a timeout. A request whose deadline has passed
        reaches no target. Cancelling closes the connection to the target.

        Args:
            model: whom to ask.
            invocation: what to send.
            deadline: latest moment on the clock; None: the target's own timeout alone.
            patient: whether to wait for a slot when the queue is full.
            trace: filled in.
            caller: whose requests these are: callers are served in turn, sessions are theirs.
            priority: OIP's; 1 goes first.
            canary_value: of the parameter that the canary draws by; empty: there is none.
            seal: makes what is sent in place of ``invocation`` when the first slot is there; what
                it raises ends the request, and nothing was sent.

        Raises:
            InvalidRequest: the body is larger than any target takes.
            PreconditionFailed: the session has ended.
            SimcloudError: what the mapping table says.
        """
        request = _Request(
            model,
            invocation,
            trace,
            caller,
            deadline,
            patient,
            priority,
            canary_value,
            self._clock.monotonic(),
            seal,
        )
        request.mask = _mask(request)
        last: Failure | None = None
        now = request.begun
        while True:
            try:
                if request.deadline is not None and now >= request.deadline:
                    raise model.door.too_late(now - request.begun)
                grant = model.door.enter(request.mask, now)
                if grant is None:
                    grant = await self._wait(request, now)
            except (Overloaded, DeadlineExceeded, NotReady) as exc:
                # No slot for the retry: the caller learns why the first attempt failed.
                raise (last.error if last is not None else exc) from None
            if request.seal is not None:
                self._seal(request, grant, request.seal)
            if last is not None:
                grant.target.counts.retries += 1
            if model.hedging is None:
                outcome = await self._ask(request, grant, trace)
            else:
                outcome = await self._race(request, grant, model.hedging)
            if isinstance(outcome, TargetAnswer):
                _answered(request, outcome)
                return outcome
            # Where nothing was done and the target is coming, it waits with the others, unpaid.
            if not (outcome.no_capacity and model.entry.cold_start is not None):
                last = outcome
                await self._again(request, grant, outcome)
            now = self._clock.monotonic()

    async def _wait(self, request: _Request, now: float) -> Grant:
        try:
            return await request.model.door.wait(
                request.mask,
                caller=request.caller,
                priority=request.priority,
                patient=request.patient,
                deadline=request.deadline,
                held_since=request.begun,
            )
        finally:
            # Whether a slot came or not: those who waited in vain waited too.
            request.trace.queue_s += self._clock.monotonic() - now

    def _seal(self, request: _Request, grant: Grant, seal: Seal) -> None:
        """Makes what is sent; when there is nothing, the slot is given back."""
        try:
            sealed = seal(grant.entered_at)
        except BaseException:
            request.model.door.leave(grant, None, self._clock.monotonic())
            raise
        request.seal = None
        request.invocation, request.deadline = sealed.invocation, sealed.deadline
        # Making it was not the target's time.
        grant.entered_at = self._clock.monotonic()

    async def _ask(self, request: _Request, grant: Grant, trace: CallTrace) -> Outcome:
        """Asks once, and gives the slot back whatever becomes of it."""
        model, invocation = request.model, request.invocation
        entry = grant.target.entry
        outcome: Outcome | None = None
        try:
            trace.target = entry.name
            timeout_s = entry.timeout_s
            if request.deadline is not None:
                left_s = request.deadline - grant.entered_at
                if left_s <= 0:
                    raise _unsent(entry.name)
                if left_s < timeout_s:
                    timeout_s = grant.patience_s = left_s
            if not trace.attempts:
                # What was shed is no request here: retries are a share of what was asked.
                model.retries.record_request()
            trace.attempts += 1
            trace.request_bytes += len(invocation.body)
            grant.sent = True
            asked = in_span(grant.target.target, model=model.entry.name, attempt=trace.attempts)
            outcome = await asked.invoke(invocation, timeout_s=timeout_s)
        finally:
            now = self._clock.monotonic()
            if grant.sent:
                trace.target_s += now - grant.entered_at
                if model.hedging is not None and not isinstance(outcome, Failure):
                    model.hedging.observe(now - grant.entered_at)
            model.door.leave(grant, outcome, now)
        if isinstance(outcome, TargetAnswer):
            trace.response_bytes += len(outcome.body)
            if outcome.variant:
                trace.target = f"{entry.name}/{outcome.variant}"
        return outcome

    async def _race(self, request: _Request, grant: Grant, hedging: Hedging) -> Outcome:
        """Asks once, and once more elsewhere when that is late."""
        roster, invocation, trace = request.model.roster, request.invocation, request.trace
        first = self._ask(request, grant, trace)
        if invocation.session or invocation.on_part is not None or grant.probe:
            return await first
        hedging.record_request()
        delay_s = hedging.delay_s
        if delay_s is None:
            return await first
        trace_of_second = CallTrace(attempts=1)
        other: RoutedTarget | None = None

        async def second() -> Outcome | None:
            nonlocal other
            mask = roster.mask_for(len(invocation.body)) & ~grant.target.bit
            now = self._clock.monotonic()
            other = roster.choose_open(mask, now)
            if other is None or not hedging.try_spend():
                return None
            other.counts.hedges += 1
            return await self._ask(request, roster.grant(other, now), trace_of_second)

        race = Race(second, background=self._background)
        try:
            outcome = await race.run(first, delay_s=delay_s)
        finally:
            trace.hedges += trace_of_second.attempts - 1
            trace.attempts += trace_of_second.attempts - 1
            trace.request_bytes += trace_of_second.request_bytes
        if race.won:
            assert other is not None
            other.counts.hedges_won += 1
            trace.hedges_won += 1
            trace.target = trace_of_second.target
            trace.response_bytes += trace_of_second.response_bytes
        return outcome

    async def _again(self, request: _Request, grant: Grant, failure: Failure) -> None:
        """Waits as long as a retry should, and says where it may go.

        Raises:
            SimcloudError: the failure's, when there is no retry.
        """
        request.failures += 1
        if request.failures >= MAX_ATTEMPTS or not _may_be_sent_again(request, failure):
            raise failure.error
        mask, elsewhere = _elsewhere(request, grant)
        pause_s = 0.0
        if not elsewhere:
            if failure.no_capacity:
                raise failure.error
            pause_s = self._backoff.delay_s(
                request.failures - 1, self._random, retry_after_s=failure.pause_s
            )
        if pause_s > MAX_PAUSE_S:
            raise failure.error
        deadline = request.deadline
        if deadline is not None and self._clock.monotonic() + pause_s >= deadline:
            raise failure.error
        if not request.model.retries.try_spend():
            request.trace.budget_exhausted = True
            raise failure.error
        request.trace.retries += 1
        request.mask = mask
        if pause_s:
            await asyncio.sleep(pause_s)


def _mask(request: _Request) -> int:
    """Mask of the targets that a new request may go to."""
    model = request.model
    roster = model.roster
    size = len(request.invocation.body)
    mask = roster.mask_for(size)
    if request.invocation.session:
        target = model.sessions.target_of(
            request.caller,
            request.invocation.session,
            session_id=request.invocation.session_id,
            mask=mask,
            now=request.begun,
        )
        return target.session_bit
    canary = model.canary
    if canary is None or not canary.wants(request.caller, request.canary_value):
        return mask
    # Its requests wait for it like others for theirs. While it is out, drained, or has more waiting
    # than may, they are served as if there were none.
    its_own = canary.target.bit & roster.fitting(size)
    there = roster.is_there(its_own, request.begun) and (
        request.patient or model.door.has_room(its_own)
    )
    return its_own if there else mask


def _elsewhere(request: _Request, grant: Grant) -> tuple[int, bool]:
    """Where a retry may go, and whether that is another target than the one that failed."""
    if request.invocation.session:
        return request.mask, False
    # A canary's failures are not its callers': they go to an ordinary target.
    ordinary = request.model.roster.mask_for(len(request.invocation.body))
    rest = request.model.roster.elsewhere(ordinary, grant.target)
    return rest, not rest & grant.target.bit


def _may_be_sent_again(request: _Request, failure: Failure) -> bool:
    """By the mapping table; what belongs to a session only when nothing of it was done."""
    if failure.no_capacity:
        return not request.invocation.session
    return failure.retry and (failure.shrink or not request.invocation.session)


def _answered(request: _Request, answer: TargetAnswer) -> None:
    model, invocation = request.model, request.invocation
    if invocation.session:
        if answer.closed_session:
            model.sessions.end(request.caller, invocation.session)
    elif model.shadow is not None and invocation.on_part is None:
        # A variant's name is not the target's, which may have a slash of its own.
        variant = f"/{answer.variant}" if answer.variant else ""
        primary = request.trace.target.removesuffix(variant)
        model.shadow.offer(invocation, answer, primary=primary)


def _unsent(target: str) -> DeadlineExceeded:
    message = f"the deadline passed before target {target} was asked; nothing was sent"
    return DeadlineExceeded(message, target=target)
