"""Until when a call may take, by its caller and by the server's limit."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio
import pytest

from simcloud.rpc.channel import connect
from simcloud.rpc.server import ServerSettings, Service, running_server
from simcloud_inference_router.calls import call_of
from support.clock import ManualClock

LIMIT_S = 60.0


async def _times(request: bytes, context: Any) -> bytes:
    """What the call has by the router, and by its caller."""
    clock = ManualClock()
    call = call_of(context, clock=clock, patient=False)
    assert call.deadline is not None
    return f"{call.deadline - clock.monotonic()} {context.time_remaining()}".encode()


def _add(server: grpc.aio.Server) -> None:
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(_times)
    server.add_registered_method_handlers("test.Times", {"Get": handler})


@pytest.mark.parametrize("transport", ["http2", "grpc"])
async def test_a_caller_that_waits_no_longer_than_the_limit_has_all_of_its_time(
    transport: Any,
) -> None:
    settings = ServerSettings(unary_timeout_s=LIMIT_S, transport=transport)
    async with (
        running_server(settings, services=[Service("test.Times", _add)]) as server,
        connect(server.address) as channel,
    ):
        get: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Times/Get")

        async def given(timeout_s: float | None) -> tuple[float, str]:
            has, remaining = (await get(b"", timeout=timeout_s)).decode().split()
            return float(has), remaining

        # What the server keeps back to say what the call was at, 1 s of 60, is not theirs to give.
        has, remaining = await given(LIMIT_S - 0.1)
        assert has > float(remaining) - 0.01
        assert await given(None) == (LIMIT_S - 1, "None")
        assert (await given(10 * LIMIT_S))[0] == LIMIT_S - 1
