"""How much of the caller's time is left, and what to give to calls made on its behalf."""

from __future__ import annotations

from typing import Any

import grpc.aio

from simcloud.errors import DeadlineExceeded

MARGIN_S = 0.005
"""Kept back for the answer's way home, so that the caller hears our error and not its own timer."""


def remaining_s(context: grpc.aio.ServicerContext[Any, Any]) -> float | None:
    """Seconds until the caller's deadline, 0 when it has passed, None when it set none."""
    remaining: float | None = context.time_remaining()
    return remaining


def timeout_from(
    context: grpc.aio.ServicerContext[Any, Any], *, at_most_s: float | None = None
) -> float | None:
    """Timeout for a call made on behalf of this one: what is left, at most ``at_most_s`` seconds.

    Returns:
        Seconds; None when neither the caller nor ``at_most_s`` sets a bound.

    Raises:
        DeadlineExceeded: nothing is left; there is no point in beginning.
    """
    remaining = remaining_s(context)
    if remaining is None:
        return at_most_s
    remaining -= MARGIN_S
    if remaining <= 0:
        raise DeadlineExceeded("the caller's deadline has passed; nothing was begun")
    return remaining if at_most_s is None else min(remaining, at_most_s)
