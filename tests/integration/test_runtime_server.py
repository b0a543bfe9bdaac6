from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from simcloud.errors import DeadlineExceeded, NotFound, NotReady, Overloaded, Unsupported
from simcloud.oip.pool import SERVICE_NAME as OIP
from simcloud.oip.pool import pool as oip_pool
from simcloud.rpc.auth import caller_of
from simcloud.rpc.channel import connect
from simcloud.rpc.deadline import remaining_s, timeout_from
from simcloud.rpc.server import (
    AddressInUse,
    RunningServer,
    ServerSettings,
    Service,
    running_server,
)
from simcloud.rpc.status import client_errors
from simcloud.telemetry import metrics, names, tracing
from simcloud.v1 import uploader_pb2
from support.eventually import eventually

_SERVICE = "test.Runtime"
_UPLOADER = uploader_pb2.DESCRIPTOR.services_by_name["UploaderService"].full_name

Unary = grpc.aio.UnaryUnaryMultiCallable[Any, Any]
Stream = grpc.aio.UnaryStreamMultiCallable[Any, Any]


class _Runtime:
    """A service of bytes with methods that wait, count and say who calls."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.waiting = 0
        self.cancelled = 0
        self.draining = asyncio.Event()
        self.downstream: grpc.aio.Channel | None = None

    async def echo(self, request: bytes, context: Any) -> bytes:
        return request

    async def wait(self, request: bytes, context: Any) -> bytes:
        self.waiting += 1
        try:
            await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.waiting -= 1
        return request

    async def caller(self, request: bytes, context: Any) -> bytes:
        return caller_of(context).encode()

    async def deadline(self, request: bytes, context: Any) -> bytes:
        return f"{remaining_s(context)} {timeout_from(context, at_most_s=2)}".encode()

    async def trace(self, request: bytes, context: Any) -> bytes:
        if self.downstream is not None:
            with tracing.span("ask downstream", {"hops": 1}):
                return await _unary(self.downstream, "Trace")
        current = tracing.current()
        assert current is not None
        return current.traceparent.encode()

    async def count(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        """Counts until it is told to drain, then says so as its last message."""
        yield b"0"
        await self.draining.wait()
        yield b"checkpoint"

    def add(self, server: grpc.aio.Server) -> None:
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            name: grpc.unary_unary_rpc_method_handler(behavior)
            for name, behavior in (
                ("Echo", self.echo),
                ("Wait", self.wait),
                ("Caller", self.caller),
                ("Deadline", self.deadline),
                ("Trace", self.trace),
            )
        }
        handlers["Count"] = grpc.unary_stream_rpc_method_handler(self.count)
        server.add_registered_method_handlers(_SERVICE, handlers)


async def _unary(
    channel: grpc.aio.Channel,
    method: str,
    request: bytes = b"",
    *,
    timeout_s: float | None = None,
    metadata: tuple[tuple[str, str], ...] = (),
) -> bytes:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        f"/{_SERVICE}/{method}"
    )
    return await call(request, timeout=timeout_s, metadata=metadata)


@asynccontextmanager
async def _serving(
    settings: ServerSettings | None = None, **options: Any
) -> AsyncIterator[tuple[_Runtime, RunningServer, grpc.aio.Channel]]:
    runtime = _Runtime()
    async with (
        running_server(
            settings or ServerSettings(),
            services=[Service(_SERVICE, runtime.add)],
            **options,
        ) as server,
        connect(server.address) as channel,
    ):
        yield runtime, server, channel


# Health.


def _check(channel: grpc.aio.Channel) -> Unary:
    return channel.unary_unary(
        "/grpc.health.v1.Health/Check",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )


def _watch(channel: grpc.aio.Channel) -> Stream:
    return channel.unary_stream(
        "/grpc.health.v1.Health/Watch",
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )


async def test_health_is_by_service() -> None:
    async with _serving() as (_, server, channel):
        check = _check(channel)
        for name in ("", _SERVICE):
            response = await check(health_pb2.HealthCheckRequest(service=name))
            assert response.status == health_pb2.HealthCheckResponse.SERVING
        server.health.set_serving(_SERVICE, False)
        response = await check(health_pb2.HealthCheckRequest(service=_SERVICE))
        assert response.status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(NotFound), client_errors():
            await check(health_pb2.HealthCheckRequest(service="no.Such"))


async def test_a_watch_hears_every_change_and_does_not_hold_the_drain() -> None:
    seen: list[int] = []
    runtime = _Runtime()
    async with connect_later() as holder, asyncio.TaskGroup() as group:
        async with running_server(
            ServerSettings(drain_s=60), services=[Service(_SERVICE, runtime.add)]
        ) as server:
            channel = holder.enter(server.address)

            async def watch() -> None:
                async for response in _watch(channel)(health_pb2.HealthCheckRequest()):
                    seen.append(response.status)

            group.create_task(watch())
            await eventually(lambda: seen == [health_pb2.HealthCheckResponse.SERVING])
            started = asyncio.get_running_loop().time()
        assert asyncio.get_running_loop().time() - started < 10
    assert seen == [
        health_pb2.HealthCheckResponse.SERVING,
        health_pb2.HealthCheckResponse.NOT_SERVING,
    ]


class _Holder:
    """Keeps a channel open beyond the server's life."""

    def __init__(self, stack: contextlib.AsyncExitStack) -> None:
        self._stack = stack

    def enter(self, address: str) -> grpc.aio.Channel:
        channel = connect(address)
        self._stack.push_async_callback(channel.close)
        return channel


@asynccontextmanager
async def connect_later() -> AsyncIterator[_Holder]:
    async with contextlib.AsyncExitStack() as stack:
        yield _Holder(stack)


# Reflection.


async def _reflect(
    channel: grpc.aio.Channel, version: str, *requests: Any
) -> list[reflection_pb2.ServerReflectionResponse]:
    call: grpc.aio.StreamStreamMultiCallable[Any, Any] = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    return [response async for response in call(iter(requests))]


def _pool_of(files: Iterable[bytes]) -> descriptor_pool.DescriptorPool:
    """A pool of files that come in any order."""
    waiting = {
        file.name: file for file in map(descriptor_pb2.FileDescriptorProto.FromString, files)
    }
    made = descriptor_pool.DescriptorPool()
    while waiting:
        name = next(
            name for name, file in waiting.items() if not waiting.keys() & set(file.dependency)
        )
        made.Add(waiting.pop(name))
    return made


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_shows_the_default_and_the_private_pool(version: str) -> None:
    services = [Service(_UPLOADER, lambda _: None), Service(OIP, lambda _: None)]
    asks = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        *(
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
            for symbol in (_UPLOADER, OIP, "grpc.health.v1.Health")
        ),
    ]
    async with (
        running_server(ServerSettings(), services=services, extra_pools=[oip_pool()]) as server,
        connect(server.address) as channel,
    ):
        listed, *found = await _reflect(channel, version, *asks)
    listed_names = {each.name for each in listed.list_services_response.service}
    assert {_UPLOADER, OIP, "grpc.health.v1.Health"} <= listed_names
    client = _pool_of(
        data
        for response in found
        for data in response.file_descriptor_response.file_descriptor_proto
    )
    assert client.FindServiceByName(OIP).methods_by_name["ModelInfer"].input_type.full_name == (
        "inference.ModelInferRequest"
    )
    assert "UploadShard" in client.FindServiceByName(_UPLOADER).methods_by_name
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindFileContainingSymbol(OIP)


# Limits.


async def test_more_rpcs_than_the_limit_are_told_to_come_back() -> None:
    refused = metrics.value_of(names.RPC_REFUSED)
    async with (
        _serving(ServerSettings(max_concurrent_rpcs=1)) as (runtime, _, channel),
        asyncio.TaskGroup() as group,
    ):
        first = group.create_task(_unary(channel, "Wait", b"x"))
        await eventually(lambda: runtime.waiting == 1)
        with pytest.raises(Overloaded, match="max_concurrent_rpcs") as caught, client_errors():
            await _unary(channel, "Echo")
        assert caught.value.retry_after_s == 0.5
        # Health is not an RPC that counts.
        await _check(channel)(health_pb2.HealthCheckRequest())
        runtime.release.set()
        assert await first == b"x"
        assert await _unary(channel, "Echo", b"y") == b"y"
    assert metrics.value_of(names.RPC_REFUSED) == refused + 1


async def test_a_unary_call_without_deadline_has_the_servers() -> None:
    async with _serving(ServerSettings(unary_timeout_s=0.05)) as (runtime, _, channel):
        with pytest.raises(DeadlineExceeded, match="unary_timeout_s"), client_errors():
            await _unary(channel, "Wait")
        assert (runtime.waiting, runtime.cancelled) == (0, 1)


async def test_a_callers_deadline_cancels_the_method() -> None:
    async with _serving() as (runtime, _, channel):
        with pytest.raises(DeadlineExceeded), client_errors():
            await _unary(channel, "Wait", timeout_s=0.05)
        await eventually(lambda: runtime.cancelled == 1)


async def test_a_caller_that_goes_away_cancels_the_method() -> None:
    async with _serving() as (runtime, _, channel):
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            f"/{_SERVICE}/Wait"
        )
        running = call(b"")
        await eventually(lambda: runtime.waiting == 1)
        running.cancel()
        await eventually(lambda: runtime.cancelled == 1)


async def test_what_is_left_of_a_deadline_is_given_on() -> None:
    async with _serving() as (_, _, channel):
        left, given = (await _unary(channel, "Deadline", timeout_s=1.5)).decode().split()
        # gRPC converts between clocks, which costs some milliseconds.
        assert 1 < float(given) < float(left) < 1.6
        assert (await _unary(channel, "Deadline")).decode() == "None 2"


async def test_an_unknown_method_is_unimplemented_and_names_no_metric() -> None:
    async with _serving() as (_, _, channel):
        with (
            pytest.raises(Unsupported, match=r"no method /test.Runtime/Nothing here"),
            client_errors(),
        ):
            await _unary(channel, "Nothing")
    text = metrics.exposition().decode()
    assert "Nothing" not in text
    assert 'method="unknown"' in text


async def test_a_message_above_the_limit_is_refused() -> None:
    limit = 64 * 1024
    async with _serving(ServerSettings(max_message_bytes=limit)) as (_, _, channel):
        assert len(await _unary(channel, "Echo", b"x" * (limit - 100))) == limit - 100
        with pytest.raises(Overloaded, match="larger than max"), client_errors():
            await _unary(channel, "Echo", b"x" * (limit + 1))


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
    async with _serving(settings) as (_, server, channel):
        assert server.metrics_port is not None
        await _unary(channel, "Echo")
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
    async with _serving(settings) as (_, server, _channel):
        assert server.metrics_port is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", server.metrics_port)
        with contextlib.suppress(ConnectionError):
            for _ in range(64):
                writer.write(b"x" * 1024)
                await writer.drain()
            assert await reader.read() == b""
        writer.close()


# Drain.


async def test_a_drain_lets_streams_checkpoint_and_refuses_new_calls() -> None:
    order: list[str] = []

    @asynccontextmanager
    async def pool() -> AsyncIterator[None]:
        order.append("pool open")
        yield
        order.append("pool closed")

    runtime = _Runtime()
    server_left = asyncio.Event()
    drain_told = asyncio.Event()
    may_checkpoint = asyncio.Event()

    async def on_drain() -> None:
        order.append("told to drain")
        drain_told.set()
        await may_checkpoint.wait()
        runtime.draining.set()

    messages: list[bytes] = []
    async with connect_later() as holder, asyncio.TaskGroup() as group:
        started = asyncio.Event()
        addresses: list[str] = []

        async def serve() -> None:
            async with running_server(
                ServerSettings(drain_s=20),
                services=[Service(_SERVICE, runtime.add)],
                background=pool(),
                on_drain=on_drain,
            ) as server:
                addresses.append(server.address)
                started.set()
                await server_left.wait()

        group.create_task(serve())
        await started.wait()
        channel, late = holder.enter(addresses[0]), holder.enter(addresses[0])
        await _unary(late, "Echo")

        async def read() -> None:
            call: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(
                f"/{_SERVICE}/Count"
            )
            async for message in call(b""):
                messages.append(message)
            order.append("stream ended")

        group.create_task(read())
        await eventually(lambda: messages == [b"0"])
        server_left.set()
        await drain_told.wait()
        with pytest.raises(NotReady), client_errors():
            await _unary(late, "Echo", timeout_s=5)
        may_checkpoint.set()
    assert messages == [b"0", b"checkpoint"]
    assert order == ["pool open", "told to drain", "stream ended", "pool closed"]


async def test_what_does_not_end_within_the_drain_is_cut() -> None:
    runtime = _Runtime()
    async with connect_later() as holder, asyncio.TaskGroup() as group:

        async def call(channel: grpc.aio.Channel) -> None:
            with pytest.raises(NotReady, match="shutting down"), client_errors():
                await _unary(channel, "Wait")

        async with running_server(
            ServerSettings(drain_s=0.1), services=[Service(_SERVICE, runtime.add)]
        ) as server:
            group.create_task(call(holder.enter(server.address)))
            await eventually(lambda: runtime.waiting == 1)
    assert runtime.cancelled == 1


async def test_a_drain_call_that_fails_or_hangs_does_not_keep_the_rest_from_stopping() -> None:
    async def fails() -> None:
        raise RuntimeError("in on_drain")

    async def hangs() -> None:
        await asyncio.Event().wait()

    for on_drain in (fails, hangs):
        async with _serving(ServerSettings(drain_s=0.1), on_drain=on_drain) as (_, _, channel):
            assert await _unary(channel, "Echo", b"x") == b"x"


# Addresses.


async def test_a_taken_port_is_named_with_the_way_out() -> None:
    async with _serving() as (_, server, _channel):
        settings = ServerSettings(listen=server.address)
        with pytest.raises(
            AddressInUse, match=f"{server.address} is in use: choose another with --listen or free"
        ):
            async with running_server(settings, services=[]):
                pass


async def test_a_taken_metrics_port_is_named_with_the_way_out() -> None:
    settings = ServerSettings(metrics_listen="127.0.0.1:0")
    async with _serving(settings) as (_, server, _channel):
        taken = ServerSettings(metrics_listen=f"127.0.0.1:{server.metrics_port}")
        with pytest.raises(AddressInUse, match="--metrics-listen or free it"):
            async with running_server(taken, services=[]):
                pass


async def test_a_unix_socket_is_an_address(tmp_path: Path) -> None:
    async with _serving(ServerSettings(listen=f"unix:{tmp_path}/s")) as (_, server, channel):
        assert server.address == f"unix:{tmp_path}/s"
        assert await _unary(channel, "Echo", b"x") == b"x"


async def test_a_wildcard_address_is_reachable_by_loopback() -> None:
    async with _serving(ServerSettings(listen="0.0.0.0:0")) as (_, server, channel):
        assert server.address == f"127.0.0.1:{server.port}"
        assert await _unary(channel, "Echo", b"x") == b"x"


# TLS.
