"""Bytes that are no message of their method: whose fault it is, and that nobody else notices."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from simcloud.rpc.channel import connect
from simcloud.rpc.http2 import Http2Server, Limits
from support.http2_probe import SERVERS, Site, probe_site

pytestmark = pytest.mark.asyncio(loop_scope="module")

# A field's key, and nothing behind it.
TORN = b"\x0a"
WATCH = "/grpc.health.v1.Health/Watch"
CHECK = "/grpc.health.v1.Health/Check"
LIMITS = Limits(max_message_bytes=1 << 20, max_streams=64, keepalive_s=30, keepalive_timeout_s=10)
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=SERVERS)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with probe_site(request.param) as running:
        yield running


async def unary(channel: grpc.aio.Channel, data: bytes) -> Any:
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(CHECK)
    return await method(data, timeout=20)


async def one_way(channel: grpc.aio.Channel, data: bytes) -> Any:
    method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(WATCH)
    return [each async for each in method(data, timeout=20)]


async def both_ways(channel: grpc.aio.Channel, data: bytes) -> Any:
    method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(REFLECTION)
    return [each async for each in method(iter((data,)), timeout=20)]


@pytest.mark.parametrize("call", [unary, one_way, both_ways])
async def test_bytes_that_are_no_message_are_the_callers_fault(site: Site, call: Any) -> None:
    async with connect(site.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(channel, TORN)
        assert await unary(channel, b"")
    code, details = refused.value.code(), refused.value.details() or ""
    if site.is_ours:
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert details.startswith("the request can't be read: ")
    else:
        # gRPC's own server can't tell them from a bug.
        assert code in {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL}


def has_a_bug(_: bytes) -> bytes:
    raise LookupError("of the server's own")


async def never_called(request: bytes, context: Any) -> bytes:
    raise AssertionError


async def test_a_deserializer_with_a_bug_is_the_servers_fault() -> None:
    server = Http2Server(limits=LIMITS)
    handler: Any = grpc.unary_unary_rpc_method_handler(never_called, request_deserializer=has_a_bug)
    server.add_registered_method_handlers("grpc.health.v1.Health", {"Check": handler})
    port = server.add_port("127.0.0.1:0")
    await server.start()
    async with connect(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await unary(channel, b"")
    await server.stop(0)
    assert refused.value.code() is grpc.StatusCode.INTERNAL
    assert "of the server's own" not in (refused.value.details() or "")
