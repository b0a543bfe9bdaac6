"""One request from admission to answer: size, queue, attempt, at most one budgeted retry."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random

from simcloud.clock import Clock
from simcloud.concurrency.retry import Backoff, RetryBudget
from simcloud.errors import DeadlineExceeded, InvalidRequest, Overloaded
from simcloud_inference_router.catalog import ModelEntry, TargetEntry
from simcloud_inference_router.codecs.base import TensorCodec
from simcloud_inference_router.metrics import ModelMetrics
from simcloud_inference_router.routing.queue import Gate, Slot
from simcloud_inference_router.statistics import CallTrace
from simcloud_inference_router.targets.base import Failure, Invocation, Target, TargetAnswer

MAX_ATTEMPTS = 2
"""The first and one retry."""

MAX_PAUSE_S = 5.0
"""A target that asks for a longer pause is not waited for: the caller is told."""


@dataclass(frozen=True, slots=True)
class RoutedTarget:
    """A target with its door."""

    entry: TargetEntry
    target: Target
    gate: Gate


@dataclass(frozen=True, slots=True)
class RoutedModel:
    """A model with its target and what it may spend on retries."""

    entry: ModelEntry
    target: RoutedTarget
    retries: RetryBudget
    metrics: ModelMetrics
    codec: TensorCodec | None
    """How its tensors travel; None: it takes none."""


class Dispatcher:
    """Carries invocations to targets.

    Args:
        clock: for deadlines and timings.
        backoff: pause before the retry.
        random: where its jitter comes from.
    """

    def __init__(self, *, clock: Clock, backoff: Backoff, random: Random) -> None:
        self._clock = clock
        self._backoff = backoff
        self._random = random

    async def call(
        self,
        model: RoutedModel,
        invocation: Invocation,
        *,
        deadline: float | None,
        patient: bool,
        trace: CallTrace,
    ) -> TargetAnswer:
        """The target's answer.

        Retries once where the mapping table allows it and the model's budget has something left,
        never after a timeout. A request whose deadline has passed reaches no target. Cancelling
        closes the connection to the target.

        Args:
            model: whom to ask.
            invocation: what to send.
            deadline: latest moment on the clock; None: the target's own timeout alone.
            patient: whether to wait for a slot when the target's queue is full.
            trace: filled in.

        Raises:
            InvalidRequest: the body is larger than the target takes.
            SimcloudError: what the mapping table says.
        """
        routed = model.target
        trace.target = routed.entry.name
        _check_size(routed.entry, len(invocation.body))
        last: Failure | None = None
        while True:
            try:
                outcome = await self._attempt(model, invocation, deadline, patient, trace)
            except (Overloaded, DeadlineExceeded) as exc:
                # No slot for the retry: the caller learns why the first attempt failed.
                raise (last.error if last is not None else exc) from None
            if isinstance(outcome, TargetAnswer):
                return outcome
            last = outcome
            if not await self._may_retry(model, outcome, deadline, trace):
                raise outcome.error

    async def _attempt(
        self,
        model: RoutedModel,
        invocation: Invocation,
        deadline: float | None,
        patient: bool,
        trace: CallTrace,
    ) -> TargetAnswer | Failure:
        routed = model.target
        slot = routed.gate.slot(deadline=deadline, patient=patient)
        try:
            async with slot:
                return await self._ask(model, invocation, deadline, slot, trace)
        finally:
            # Whether a slot came or not: those who waited in vain waited too.
            trace.queue_s += slot.waited_s

    async def _ask(
        self,
        model: RoutedModel,
        invocation: Invocation,
        deadline: float | None,
        slot: Slot,
        trace: CallTrace,
    ) -> TargetAnswer | Failure:
        routed = model.target
        begun = slot.entered_at
        timeout_s = routed.entry.timeout_s
        if deadline is not None:
            timeout_s = min(timeout_s, deadline - begun)
        if timeout_s <= 0:
            name = routed.entry.name
            message = f"the deadline passed before target {name} was asked; nothing was sent"
            raise DeadlineExceeded(message, target=name)
        if not trace.attempts:
            # What was shed is no request here: retries are a share of what the target was asked.
            model.retries.record_request()
        trace.attempts += 1
        trace.request_bytes += len(invocation.body)
        try:
            outcome = await routed.target.invoke(invocation, timeout_s=timeout_s)
        finally:
            trace.target_s += self._clock.monotonic() - begun
        slot.outcome = outcome
        if isinstance(outcome, TargetAnswer):
            trace.response_bytes += len(outcome.body)
            if outcome.variant:
                trace.target = f"{routed.entry.name}/{outcome.variant}"
        return outcome

    async def _may_retry(
        self, model: RoutedModel, failure: Failure, deadline: float | None, trace: CallTrace
    ) -> bool:
        if not failure.retry or trace.attempts >= MAX_ATTEMPTS:
            return False
        pause_s = self._backoff.delay_s(
            trace.attempts - 1, self._random, retry_after_s=failure.pause_s
        )
        if pause_s > MAX_PAUSE_S:
            return False
        if deadline is not None and self._clock.monotonic() + pause_s >= deadline:
            return False
        if not model.retries.try_spend():
            return False
        await asyncio.sleep(pause_s)
        return True


def _check_size(target: TargetEntry, size: int) -> None:
    if size > target.max_request_bytes:
        raise InvalidRequest(
            "",
            f"the request to target {target.name} would be {size} bytes; it takes at most "
            f"{target.max_request_bytes}: send a smaller batch or picture",
        )
