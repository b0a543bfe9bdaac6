"""A method that keeps a TaskGroup open across what it yields, struck in the middle of a write."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from typing import Any, Literal

import grpc
import grpc.aio
import pytest

from simcloud.errors import NotFound
from simcloud.rpc.channel import connect
from simcloud.rpc.server import ServerSettings, Service, running_server
from simcloud.rpc.status import client_errors
from simcloud.telemetry import names
from simcloud.telemetry.metrics import REGISTRY
from support.eventually import eventually

_SERVICE = "test.Groups"
_MESSAGE = bytes(1 << 20)
"""A caller that does not read has room for a few at most."""


class _Groups:
    """Its method waits nowhere but in the writes of what it yields."""

    def __init__(self) -> None:
        self.fail = asyncio.Event()
        self.ended = asyncio.Event()

    async def endless(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._child())
                while True:
                    yield _MESSAGE
        finally:
            self.ended.set()

    async def _child(self) -> None:
        await self.fail.wait()
        raise NotFound("the scene has gone")

    def add(self, server: grpc.aio.Server) -> None:
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_stream_rpc_method_handler(
            self.endless
        )
        server.add_registered_method_handlers(_SERVICE, {"Endless": handler})


async def _to_its_end(call: grpc.aio.UnaryStreamCall[bytes, bytes]) -> None:
    while await call.read() is not grpc.aio.EOF:
        pass


def _ended_as(code: str) -> float:
    labels = {"service": _SERVICE, "method": "Endless", "code": code}
    return REGISTRY.get_sample_value(f"{names.RPC_DURATION.name}_count", labels) or 0.0


@pytest.mark.parametrize("transport", ["grpc", "http2"])
async def test_failure_is_the_caller_s_to_see_and_a_cancel_is_a_cancel(
    transport: Literal["grpc", "http2"],
) -> None:
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    groups = _Groups()
    settings = ServerSettings(transport=transport)
    cancelled, not_found = _ended_as("CANCELLED"), _ended_as("NOT_FOUND")
    async with (
        running_server(settings, services=[Service(_SERVICE, groups.add)]) as server,
        connect(server.address) as channel,
    ):
        endless: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
            f"/{_SERVICE}/Endless"
        )
        call = endless(b"")
        assert await call.read() == _MESSAGE
        call.cancel()
        await groups.ended.wait()
        await eventually(lambda: _ended_as("CANCELLED") == cancelled + 1)

        groups.ended.clear()
        call = endless(b"")
        assert await call.read() == _MESSAGE
        groups.fail.set()
        await groups.ended.wait()
        with pytest.raises(NotFound, match="the scene has gone"), client_errors():
            await _to_its_end(call)
        await eventually(lambda: _ended_as("NOT_FOUND") == not_found + 1)
    del call
    gc.collect()
    assert reported == []
