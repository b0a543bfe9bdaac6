from __future__ import annotations

import asyncio
import importlib
import inspect
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

import simcloud
from simcloud.errors import (
    AnswerLost,
    DeadlineExceeded,
    ErrorParts,
    InvalidRequest,
    NotFound,
    NotReady,
    Overloaded,
    PreconditionFailed,
    SimcloudError,
    StorageError,
    TargetError,
    Transient,
    Violation,
)
from simcloud.rpc.channel import connect
from simcloud.rpc.server import RunningServer, ServerSettings, Service, running_server
from simcloud.rpc.settings import TransportName
from simcloud.rpc.status import client_errors, error_classes

_SERVICE = "test.Failing"
_VIOLATIONS = (
    Violation(kind="SHARD_MISSING", subject="shards/000007", description="has no index"),
    Violation(kind="SHARD_MISSING", subject="shards/000009", description="has no tar"),
)


def _every_class() -> list[type[SimcloudError]]:
    root = Path(inspect.getfile(simcloud)).parent
    for path in sorted(root.rglob("*.py")):
        if '\n    reason = "' in path.read_text():
            importlib.import_module(
                ".".join(("simcloud", *path.relative_to(root).with_suffix("").parts))
            )
    return [kind for kind in error_classes() if kind.__module__.startswith("simcloud.")]


def _example(kind: type[SimcloudError]) -> SimcloudError:
    """One of each class, with every value it can carry."""
    if kind.__module__ != "simcloud.errors":
        # Their constructors take what they like; on the wire they are their family's.
        return kind.from_parts(_EVERYTHING)
    if issubclass(kind, InvalidRequest):
        return kind("spec.cameras[0].width", "is 1 or more, found 0; set it", found=0)
    if issubclass(kind, StorageError):
        return kind(
            "S3 said no", s3_code="SlowDown", http_status=503, request_id="R1", retry_after_s=1.5
        )
    if issubclass(kind, TargetError):
        return kind("CUDA", target="t", target_code="ModelError", http_status=424, request_id="R2")
    if issubclass(kind, PreconditionFailed):
        return kind("two shards are missing", violations=_VIOLATIONS, run="r")
    if issubclass(kind, Transient):
        return kind("come back later ⏳", retry_after_s=0.25, limit=4)
    return kind("what, where, what to do: naïve ☃", bucket="b", key="k")


_EVERYTHING = ErrorParts(
    message="what, where, what to do: naïve ☃",
    metadata={"s3_code": "SlowDown", "http_status": "503", "request_id": "R", "key": "k"},
    retry_after_s=1.25,
    violations=_VIOLATIONS,
)


class _Failing:
    """A service whose methods raise what they are told, in each of the shapes a method can have."""

    def __init__(self) -> None:
        self.error: BaseException = RuntimeError("not set")

    async def unary(self, request: bytes, context: Any) -> bytes:
        raise self.error

    async def unary_in_group(self, request: bytes, context: Any) -> bytes:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.unary(request, context))
        return b""

    async def stream(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"1"
        yield b"2"
        raise self.error

    async def both(self, requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request
            raise self.error

    async def collect(self, requests: AsyncIterator[bytes], context: Any) -> bytes:
        async for _ in requests:
            raise self.error
        return b""

    async def writer(self, request: bytes, context: Any) -> None:
        await context.write(b"1")
        raise self.error

    def add(self, server: grpc.aio.Server) -> None:
        handlers: dict[str, grpc.RpcMethodHandler[bytes, bytes]] = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "UnaryInGroup": grpc.unary_unary_rpc_method_handler(self.unary_in_group),
            "Stream": grpc.unary_stream_rpc_method_handler(self.stream),
            "Both": grpc.stream_stream_rpc_method_handler(self.both),
            "Collect": grpc.stream_unary_rpc_method_handler(self.collect),
            "Writer": grpc.unary_stream_rpc_method_handler(self.writer),
        }
        server.add_registered_method_handlers(_SERVICE, handlers)


async def _unary(channel: grpc.aio.Channel, path: str) -> bytes:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    return await call(b"")


async def _collect(channel: grpc.aio.Channel, path: str, into: list[bytes]) -> None:
    call: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
    async for message in call(b""):
        into.append(message)


async def _call(channel: grpc.aio.Channel, method: str) -> None:
    """Calls one of the methods, whatever its shape."""
    path = f"/{_SERVICE}/{method}"
    if method in {"Unary", "UnaryInGroup"}:
        await _unary(channel, path)
    elif method in {"Stream", "Writer"}:
        await _collect(channel, path, [])
    elif method == "Both":
        both: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(path)
        async for _ in both(iter([b"1"])):
            pass
    else:
        one: grpc.aio.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(path)
        await one(iter([b"1"]))


@pytest.fixture
async def failing() -> AsyncIterator[tuple[_Failing, grpc.aio.Channel]]:
    servicer = _Failing()
    async with (
        running_server(ServerSettings(), services=[Service(_SERVICE, servicer.add)]) as server,
        connect(server.address) as channel,
    ):
        yield servicer, channel


@pytest.mark.parametrize("method", ["Unary", "UnaryInGroup", "Stream", "Both", "Collect", "Writer"])
async def test_every_error_arrives_as_it_was_raised(
    failing: tuple[_Failing, grpc.aio.Channel], method: str
) -> None:
    servicer, channel = failing
    classes = _every_class()
    assert len(classes) > 20
    for kind in classes:
        servicer.error = _example(kind)
        with pytest.raises(SimcloudError) as caught, client_errors():
            await _call(channel, method)
        found = caught.value
        assert type(found) is kind
        assert found.reason == kind.reason
        assert found.parts() == servicer.error.parts()
        assert vars(found) == vars(servicer.error)
        cause = found.__cause__
        assert isinstance(cause, grpc.aio.AioRpcError)
        assert cause.code() is kind.code


_RETRIES = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{}],
                "retryPolicy": {
                    "maxAttempts": 3,
                    # Longer than the test may take: only what the server says is waited for.
                    "initialBackoff": "600s",
                    "maxBackoff": "600s",
                    "backoffMultiplier": 1,
                    "retryableStatusCodes": [
                        "UNAVAILABLE",
                        "RESOURCE_EXHAUSTED",
                        "DEADLINE_EXCEEDED",
                    ],
                },
            }
        ]
    }
)


@pytest.mark.parametrize("transport", ["grpc", "http2"])
@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (NotReady("later", retry_after_s=0.01), 3),
        (Overloaded("later", retry_after_s=0.0004), 3),
        (DeadlineExceeded("the target may still be at it"), 1),
        (AnswerLost("it may have been worked on"), 1),
    ],
)
async def test_a_clients_own_retries_wait_as_long_as_they_are_told_and_never_ask_for_some_again(
    transport: TransportName, error: SimcloudError, attempts: int
) -> None:
    asked = 0

    async def fails(request: bytes, context: Any) -> bytes:
        nonlocal asked
        asked += 1
        raise error

    def add(server: grpc.aio.Server) -> None:
        server.add_registered_method_handlers(
            "test.One", {"Call": grpc.unary_unary_rpc_method_handler(fails)}
        )

    settings = ServerSettings(transport=transport)
    options = [("grpc.enable_retries", 1), ("grpc.service_config", _RETRIES)]
    async with (
        running_server(settings, services=[Service("test.One", add)]) as server,
        grpc.aio.insecure_channel(server.address, options=options) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            async with asyncio.timeout(60):
                await _unary(channel, "/test.One/Call")
    assert (caught.value.code(), asked) == (error.code, attempts)


async def test_messages_before_an_error_arrive(
    failing: tuple[_Failing, grpc.aio.Channel],
) -> None:
    servicer, channel = failing
    servicer.error = NotFound("after two")
    messages: list[bytes] = []
    with pytest.raises(grpc.aio.AioRpcError):
        await _collect(channel, f"/{_SERVICE}/Stream", messages)
    assert messages == [b"1", b"2"]


@pytest.mark.parametrize("method", ["Unary", "UnaryInGroup", "Stream"])
async def test_an_unexpected_error_says_nothing_of_the_inside(
    failing: tuple[_Failing, grpc.aio.Channel], method: str
) -> None:
    servicer, channel = failing
    servicer.error = RuntimeError("the password is swordfish")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _call(channel, method)
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    details = caught.value.details() or ""
    assert f"internal error in {_SERVICE}/{method}" in details
    assert "trace_id" in details
    assert "swordfish" not in f"{details} {caught.value.trailing_metadata()}"


async def test_a_message_larger_than_trailers_is_cut(
    failing: tuple[_Failing, grpc.aio.Channel],
) -> None:
    servicer, channel = failing
    servicer.error = PreconditionFailed(
        "ü" * 20_000,
        violations=tuple(
            Violation(kind="K", subject=f"s{number}", description="d" * 200)
            for number in range(500)
        ),
        value="v" * 20_000,
    )
    with pytest.raises(PreconditionFailed) as caught, client_errors():
        await _call(channel, "Unary")
    assert caught.value.message.endswith("…")
    assert caught.value.violations[-1].kind == "MORE"


async def test_a_client_with_default_limits_reads_the_largest_error() -> None:
    servicer = _Failing()
    servicer.error = PreconditionFailed(
        "☃" * 20_000,
        violations=tuple(
            Violation(kind="K", subject=f"s{number}", description="d" * 200)
            for number in range(500)
        ),
    )
    async with (
        running_server(ServerSettings(), services=[Service(_SERVICE, servicer.add)]) as server,
        grpc.aio.insecure_channel(server.address) as channel,
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _unary(channel, f"/{_SERVICE}/Unary")
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION


Behavior = Callable[[bytes, Any], Any]


async def _one_method(behavior: Behavior) -> AsyncIterator[tuple[RunningServer, grpc.aio.Channel]]:
    def add(server: grpc.aio.Server) -> None:
        server.add_registered_method_handlers(
            "test.One", {"Call": grpc.unary_unary_rpc_method_handler(behavior)}
        )

    async with (
        running_server(ServerSettings(), services=[Service("test.One", add)]) as server,
        connect(server.address) as channel,
    ):
        yield server, channel


async def test_a_methods_own_abort_and_trailers_are_kept() -> None:
    async def aborts(request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("x-own", "1"),))
        async with asyncio.TaskGroup() as group:
            group.create_task(context.abort(grpc.StatusCode.OUT_OF_RANGE, "own words"))
        return b""

    async for _, channel in _one_method(aborts):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _unary(channel, "/test.One/Call")
        assert caught.value.code() is grpc.StatusCode.OUT_OF_RANGE
        assert caught.value.details() == "own words"


async def test_trailers_set_before_an_error_arrive_beside_its_details() -> None:
    async def fails(request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("x-own", "1"),))
        raise NotFound("gone")

    async for _, channel in _one_method(fails):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await _unary(channel, "/test.One/Call")
        assert ("x-own", "1") in tuple(caught.value.trailing_metadata())
