"""Whether a service can be reached, and what is said when it can't."""

from __future__ import annotations

import asyncio
import contextlib

import grpc
import grpc.aio

from simcloud.errors import NotReady, PreconditionFailed

_CONNECT_S = 10.0
_READY = grpc.ChannelConnectivity.READY
_FAILED = grpc.ChannelConnectivity.TRANSIENT_FAILURE


def unnamed(context: str, field: str) -> PreconditionFailed:
    """What is raised when a context names no address of a service."""
    return PreconditionFailed(
        f"context {context} names no {field}: set it with "
        f"`simcloud context set {context} {field}=host:port`"
    )


async def reached(
    channel: grpc.aio.Channel, *, what: str, target: str, patience_s: float, look: str
) -> None:
    """Connects.

    Raises:
        NotReady: it can't be reached; it is named with its address.
    """
    state = channel.get_state(try_to_connect=True)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(max(_CONNECT_S, patience_s)):
            while state is not _READY and (patience_s or state is not _FAILED):
                await channel.wait_for_state_change(state)
                state = channel.get_state(try_to_connect=True)
    if state is not _READY:
        raise NotReady(
            f"{what} can't be reached at {target}: start it, or correct the address "
            f"(`{look}` looks at all of them)"
        )
