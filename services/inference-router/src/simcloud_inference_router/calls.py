"""What a gRPC context tells about a call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc.aio

from simcloud.clock import Clock
from simcloud.errors import Cancelled
from simcloud.rpc.auth import caller_of
from simcloud.rpc.calls import current_call
from simcloud.rpc.deadline import timeout_from
from simcloud.telemetry import tracing
from simcloud_inference_router.router import Call


def call_of(context: grpc.aio.ServicerContext[Any, Any], *, clock: Clock, patient: bool) -> Call:
    """Who calls, until when (the caller's deadline or the server's limit), and in which trace.

    Args:
        context: the RPC's.
        clock: what the deadline is told on.
        patient: whether it waits for a slot when the queue is full.

    Raises:
        DeadlineExceeded: the caller's time is up already.
    """
    rpc = current_call()
    left_s = timeout_from(context, at_most_s=None if rpc is None else rpc.method.limit_s(context))
    return Call(
        caller=caller_of(context),
        deadline=None if left_s is None else clock.monotonic() + left_s,
        traceparent=trace.traceparent if (trace := tracing.current()) is not None else "",
        patient=patient,
        tell=rpc.tell if rpc is not None and rpc.log.enabled else None,
    )


Message = TypeVar("Message")


def writer_of(
    context: grpc.aio.ServicerContext[Any, Message],
) -> Callable[[Message], Awaitable[None]]:
    """What sends the messages of a stream; waits while its client takes none.

    Raises:
        Cancelled: on sending: the client has gone. gRPC says so by a failed operation when it
            waited for room, sooner than it cancels the call.
    """

    async def write(message: Message) -> None:
        try:
            await context.write(message)
        except grpc.aio.InternalError as exc:
            raise Cancelled("the client went away before it took all answers") from exc

    return write
