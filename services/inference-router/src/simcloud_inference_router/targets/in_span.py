"""A target asked within a span of a trace that is kept."""

from __future__ import annotations

from dataclasses import replace

from simcloud.telemetry import tracing
from simcloud_inference_router.targets.base import Failure, Invocation, Target, TargetAnswer

SPAN = "invoke target"


def in_span(target: Target, *, model: str, attempt: int | None) -> Target:
    """The target, as it is where no trace is kept; arguments as ``InSpan`` has them."""
    if tracing.recording():
        return InSpan(target, model=model, attempt=attempt)
    return target


class InSpan:
    """A target for one attempt, which is a span that what the target does is below.

    Args:
        target: who is asked.
        model: name of the model.
        attempt: number of the request's attempt, from 1; None: a copy for a shadow.
    """

    __slots__ = ("_attempt", "_model", "_target")

    def __init__(self, target: Target, *, model: str, attempt: int | None) -> None:
        self._target = target
        self._model = model
        self._attempt = attempt

    @property
    def name(self) -> str:
        """Name in the catalogue."""
        return self._target.name

    async def invoke(self, invocation: Invocation, *, timeout_s: float) -> TargetAnswer | Failure:
        """Asks once; the span of a failure says so, and what it was."""
        attributes: dict[str, tracing.AttributeValue] = {
            "model": self._model,
            "target": self._target.name,
        }
        if self._attempt is None:
            attributes["shadow"] = True
        else:
            attributes["attempt"] = self._attempt
        try:
            with tracing.span(SPAN, attributes):
                outcome = await self._target.invoke(_below(invocation), timeout_s=timeout_s)
                if isinstance(outcome, Failure):
                    raise _Failed(outcome)
        except _Failed as failed:
            return failed.failure
        return outcome


class _Failed(Exception):
    """Carries a failure out of a span, which knows errors by exceptions."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure.error))
        self.failure = failure


def _below(invocation: Invocation) -> Invocation:
    """The invocation with the current span as the target's parent."""
    current = tracing.current()
    if current is None:
        return invocation
    attributes = [pair for pair in invocation.attributes if pair[0] != "traceparent"]
    attributes.append(("traceparent", current.traceparent))
    return replace(invocation, attributes=attributes)
