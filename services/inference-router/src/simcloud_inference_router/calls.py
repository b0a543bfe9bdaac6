"""What a gRPC context tells about a call."""

from __future__ import annotations

from typing import Any

import grpc.aio

from simcloud.clock import Clock
from simcloud.rpc.auth import caller_of
from simcloud.rpc.deadline import timeout_from
from simcloud.telemetry import tracing
from simcloud_inference_router.router import Call


def call_of(context: grpc.aio.ServicerContext[Any, Any], *, clock: Clock, patient: bool) -> Call:
    """Who calls, until when, and within which trace.

    Args:
        context: the RPC's.
        clock: what the deadline is told on.
        patient: whether it waits for a slot when the queue is full.

    Raises:
        DeadlineExceeded: the caller's time is up already.
    """
    left_s = timeout_from(context)
    return Call(
        caller=caller_of(context),
        deadline=None if left_s is None else clock.monotonic() + left_s,
        traceparent=trace.traceparent if (trace := tracing.current()) is not None else "",
        patient=patient,
    )
