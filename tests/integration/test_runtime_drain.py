"""How a server ends: what is told, what may finish, what is cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from simcloud.errors import NotReady
from simcloud.rpc.server import ServerSettings, running_server
from simcloud.rpc.status import client_errors
from support.eventually import eventually
from support.runtime_service import (
    RUNTIME,
    Runtime,
    call_unary,
    health_watch,
    lasting_channels,
    serving_runtime,
)


async def test_a_watch_hears_every_change_and_does_not_hold_the_drain() -> None:
    seen: list[int] = []
    runtime = Runtime()
    async with lasting_channels() as holder, asyncio.TaskGroup() as group:
        async with running_server(ServerSettings(drain_s=60), services=[runtime.service]) as server:
            channel = holder.to(server.address)

            async def watch() -> None:
                async for response in health_watch(channel)(health_pb2.HealthCheckRequest()):
                    seen.append(response.status)

            group.create_task(watch())
            await eventually(lambda: seen == [health_pb2.HealthCheckResponse.SERVING])
            started = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - started < 10
    assert seen == [
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    ]


async def test_a_drain_lets_streams_checkpoint_and_refuses_new_calls() -> None:
    order: list[str] = []

    @asynccontextmanager
    async def pool() -> AsyncIterator[None]:
        order.append("pool open")
        yield
        order.append("pool closed")

    runtime = Runtime()
    # As the server sees it: its caller may hear of the end after the pool is closed.
    runtime.on_checkpoint = partial(order.append, "stream ended")
    server_left = asyncio.Event()
    drain_told = asyncio.Event()
    may_checkpoint = asyncio.Event()

    async def on_drain() -> None:
        order.append("told to drain")
        drain_told.set()
        await may_checkpoint.wait()
        runtime.draining.set()

    messages: list[bytes] = []
    async with lasting_channels() as holder, asyncio.TaskGroup() as group:
        started = asyncio.Event()
        addresses: list[str] = []

        async def serve() -> None:
            async with running_server(
                ServerSettings(drain_s=20),
                services=[runtime.service],
                background=pool(),
                on_drain=on_drain,
            ) as server:
                addresses.append(server.address)
                started.set()
                await server_left.wait()

        group.create_task(serve())
        await started.wait()
        channel, late = holder.to(addresses[0]), holder.to(addresses[0])
        await call_unary(late, "Echo")

        async def read() -> None:
            call: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
                f"/{RUNTIME}/Count"
            )
            async for message in call(b""):
                messages.append(message)

        group.create_task(read())
        await eventually(lambda: messages == [b"0"])
        server_left.set()
        await drain_told.wait()
        with pytest.raises(NotReady), client_errors():
            await call_unary(late, "Echo", timeout_s=5)
        may_checkpoint.set()
    assert messages == [b"0", b"checkpoint"]
    assert order == ["pool open", "told to drain", "stream ended", "pool closed"]


async def test_what_does_not_end_within_the_drain_is_cut() -> None:
    runtime = Runtime()
    async with lasting_channels() as holder, asyncio.TaskGroup() as group:

        async def call(channel: grpc.aio.Channel) -> None:
            with pytest.raises(NotReady, match="shutting down"), client_errors():
                await call_unary(channel, "Wait")

        async with running_server(
            ServerSettings(drain_s=0.1), services=[runtime.service]
        ) as server:
            group.create_task(call(holder.to(server.address)))
            await eventually(lambda: runtime.waiting == 1)
    assert runtime.cancelled == 1


async def test_a_drain_call_that_fails_or_hangs_does_not_keep_the_rest_from_stopping() -> None:
    async def fails() -> None:
        raise RuntimeError("in on_drain")

    async def hangs() -> None:
        await asyncio.Event().wait()

    for on_drain in (fails, hangs):
        async with serving_runtime(ServerSettings(drain_s=0.1), on_drain=on_drain) as (
            _,
            _,
            channel,
        ):
            assert await call_unary(channel, "Echo", b"x") == b"x"
