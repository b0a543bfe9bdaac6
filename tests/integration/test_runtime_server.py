"""A server's limits, its metrics and its addresses."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from pathlib import Path

import grpc.aio
import pytest
from grpc_health.v1 import health_pb2

from simcloud.errors import DeadlineExceeded, Overloaded, Unsupported
from simcloud.rpc.calls import Call
from simcloud.rpc.server import AddressInUse, ServerSettings, running_server
from simcloud.rpc.status import client_errors
from simcloud.telemetry import metrics, names
from support.eventually import eventually
from support.runtime_service import RUNTIME, call_unary, health_check, serving_runtime


async def test_more_rpcs_than_the_limit_are_told_to_come_back() -> None:
    refused = metrics.value_of(names.RPC_REFUSED)
    async with (
        serving_runtime(ServerSettings(max_concurrent_rpcs=1)) as (runtime, _, channel),
        asyncio.TaskGroup() as group,
    ):
        first = group.create_task(call_unary(channel, "Wait", b"x"))
        await eventually(lambda: runtime.waiting == 1)
        with pytest.raises(Overloaded, match="max_concurrent_rpcs") as caught, client_errors():
            await call_unary(channel, "Echo")
        assert caught.value.retry_after_s == 0.5
        # Health is not an RPC that counts.
        await health_check(channel)(health_pb2.HealthCheckRequest())
        runtime.release.set()
        assert await first == b"x"
        assert await call_unary(channel, "Echo", b"y") == b"y"
    assert metrics.value_of(names.RPC_REFUSED) == refused + 1


async def test_a_unary_call_without_deadline_has_the_servers() -> None:
    async with serving_runtime(ServerSettings(unary_timeout_s=0.05)) as (runtime, _, channel):
        with pytest.raises(DeadlineExceeded, match="unary_timeout_s"), client_errors():
            await call_unary(channel, "Wait")
        assert (runtime.waiting, runtime.cancelled) == (0, 1)


async def test_a_callers_deadline_cancels_the_method() -> None:
    async with serving_runtime() as (runtime, _, channel):
        with pytest.raises(DeadlineExceeded), client_errors():
            # Time enough to arrive there on a busy machine: else nothing is cancelled.
            await call_unary(channel, "Wait", timeout_s=3)
        await eventually(lambda: runtime.cancelled == 1)


async def test_a_caller_that_goes_away_cancels_the_method() -> None:
    async with serving_runtime() as (runtime, _, channel):
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            f"/{RUNTIME}/Wait"
        )
        running = call(b"")
        await eventually(lambda: runtime.waiting == 1)
        running.cancel()
        await eventually(lambda: runtime.cancelled == 1)


async def test_what_is_left_of_a_deadline_is_given_on() -> None:
    async with serving_runtime() as (_, _, channel):
        left, given = (await call_unary(channel, "Deadline", timeout_s=30)).decode().split()
        # gRPC converts between clocks, which costs some milliseconds.
        assert 15 < float(given) < float(left) < 30.1
        assert (await call_unary(channel, "Deadline")).decode() == "None 60"


async def test_what_a_call_held_goes_with_it_and_waits_for_no_garbage_collector() -> None:
    def alive() -> int:
        return sum(isinstance(each, Call) for each in gc.get_objects())

    async with serving_runtime() as (_, _, channel):
        gc.collect()
        gc.disable()
        try:
            before = alive()
            for _ in range(20):
                await call_unary(channel, "Echo")
                await health_check(channel)(health_pb2.HealthCheckRequest())
            await eventually(lambda: alive() <= before)
        finally:
            gc.enable()


async def test_an_unknown_method_is_unimplemented_and_names_no_metric() -> None:
    async with serving_runtime() as (_, _, channel):
        with (
            pytest.raises(Unsupported, match=r"no method /test.Runtime/Nothing here"),
            client_errors(),
        ):
            await call_unary(channel, "Nothing")
    text = metrics.exposition().decode()
    assert "Nothing" not in text
    assert 'method="unknown"' in text


async def test_a_message_above_the_limit_is_refused() -> None:
    limit = 64 * 1024
    async with serving_runtime(ServerSettings(max_message_bytes=limit)) as (_, _, channel):
        assert len(await call_unary(channel, "Echo", b"x" * (limit - 100))) == limit - 100
        with pytest.raises(Overloaded, match="larger than max"), client_errors():
            await call_unary(channel, "Echo", b"x" * (limit + 1))


# Metrics.


async def _http(port: int, request: str) -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{request}\r\nHost: x\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


async def test_metrics_and_health_are_on_http() -> None:
    settings = ServerSettings(metrics_listen="127.0.0.1:0")
    async with serving_runtime(settings) as (_, server, channel):
        assert server.metrics_port is not None
        await call_unary(channel, "Echo")
        status, body = await _http(server.metrics_port, "GET /metrics HTTP/1.1")
        assert status == 200
        assert (
            'rpc_server_call_duration_seconds_count{code="OK",method="Echo",'
            'service="test.Runtime"}' in body
        )
        assert "process_resident_memory_bytes" in body
        assert await _http(server.metrics_port, "GET /healthz HTTP/1.1") == (200, "ok\n")
        server.health.set_serving("", False)
        assert (await _http(server.metrics_port, "GET /healthz?x=1 HTTP/1.1"))[0] == 503
        assert (await _http(server.metrics_port, "GET /other HTTP/1.1"))[0] == 404
        assert (await _http(server.metrics_port, "POST /metrics HTTP/1.1"))[0] == 405
        assert (await _http(server.metrics_port, "HEAD /metrics HTTP/1.1")) == (200, "")


async def test_an_endless_http_request_is_cut_off() -> None:
    settings = ServerSettings(metrics_listen="127.0.0.1:0")
    async with serving_runtime(settings) as (_, server, _channel):
        assert server.metrics_port is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", server.metrics_port)
        with contextlib.suppress(ConnectionError):
            for _ in range(64):
                writer.write(b"x" * 1024)
                await writer.drain()
            assert await reader.read() == b""
        writer.close()


# Addresses.


async def test_a_taken_port_is_named_with_the_way_out() -> None:
    async with serving_runtime() as (_, server, _channel):
        settings = ServerSettings(listen=server.address)
        with pytest.raises(
            AddressInUse, match=f"{server.address} is in use: choose another with --listen or free"
        ):
            async with running_server(settings, services=[]):
                pass


async def test_a_taken_metrics_port_is_named_with_the_way_out() -> None:
    settings = ServerSettings(metrics_listen="127.0.0.1:0")
    async with serving_runtime(settings) as (_, server, _channel):
        taken = ServerSettings(metrics_listen=f"127.0.0.1:{server.metrics_port}")
        with pytest.raises(AddressInUse, match="--metrics-listen or free it"):
            async with running_server(taken, services=[]):
                pass


async def test_a_unix_socket_is_an_address(tmp_path: Path) -> None:
    async with serving_runtime(ServerSettings(listen=f"unix:{tmp_path}/s")) as (_, server, channel):
        assert server.address == f"unix:{tmp_path}/s"
        assert await call_unary(channel, "Echo", b"x") == b"x"


async def test_a_wildcard_address_is_reachable_by_loopback() -> None:
    async with serving_runtime(ServerSettings(listen="0.0.0.0:0")) as (_, server, channel):
        assert server.address == f"127.0.0.1:{server.port}"
        assert await call_unary(channel, "Echo", b"x") == b"x"
