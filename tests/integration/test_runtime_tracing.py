from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from simcloud.rpc.channel import connect
from simcloud.rpc.server import ServerSettings, Service, running_server
from simcloud.telemetry import tracing
from support.otlp_collector import Collector, collector

_TRACE = "0af7651916cd43dd8448eb211c80319c"
_SPAN = "b7ad6b7169203331"


class _Hop:
    """Asks the next one; answers with the trace context that the last one saw."""

    def __init__(self, downstream: grpc.aio.Channel | None = None) -> None:
        self.downstream = downstream

    async def trace(self, request: bytes, context: Any) -> bytes:
        if self.downstream is not None:
            with tracing.span("ask downstream", {"hops": 1}):
                return await _trace(self.downstream)
        current = tracing.current()
        assert current is not None
        return f"{current.traceparent} {current.state}".encode()

    def add(self, server: grpc.aio.Server) -> None:
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(
            self.trace
        )
        server.add_registered_method_handlers("test.Hop", {"Trace": handler})


async def _trace(channel: grpc.aio.Channel, *metadata: tuple[str, str]) -> bytes:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary("/test.Hop/Trace")
    return await call(b"", metadata=metadata)


@asynccontextmanager
async def _two_hops() -> AsyncIterator[grpc.aio.Channel]:
    """A channel to a service that calls a second one."""
    async with (
        running_server(ServerSettings(), services=[Service("test.Hop", _Hop().add)]) as last,
        connect(last.address) as between,
        running_server(
            ServerSettings(), services=[Service("test.Hop", _Hop(between).add)]
        ) as first,
        connect(first.address) as channel,
    ):
        yield channel


async def test_a_callers_trace_goes_through_without_an_exporter() -> None:
    async with _two_hops() as channel:
        answer = await _trace(
            channel, ("traceparent", f"00-{_TRACE}-{_SPAN}-01"), ("tracestate", "vendor=1")
        )
    assert answer.decode() == f"00-{_TRACE}-{_SPAN}-01 vendor=1"


@pytest.mark.parametrize("header", [None, "garbage", f"00-{'0' * 32}-{_SPAN}-01"])
async def test_without_a_valid_context_a_trace_begins(header: str | None) -> None:
    async with _two_hops() as channel:
        metadata = () if header is None else (("traceparent", header),)
        version, trace_id, span_id, flags = (await _trace(channel, *metadata)).decode().split("-")
    assert (version, flags.strip()) == ("00", "00")
    assert int(trace_id, 16) > 0
    assert int(span_id, 16) > 0
    assert trace_id != _TRACE


async def test_a_context_given_by_hand_wins_over_the_current_one() -> None:
    async with _two_hops() as channel:
        tracing.begin_trace()
        answer = await _trace(channel, ("traceparent", f"00-{_TRACE}-{_SPAN}-00"))
    assert answer.decode().startswith(f"00-{_TRACE}")


@asynccontextmanager
async def _collecting(sampling_ratio: float) -> AsyncIterator[Collector]:
    with collector() as running:
        tracing.configure("hop", running.url, sampling_ratio=sampling_ratio)
        try:
            yield running
            await tracing.shutdown()
        finally:
            tracing.configure("hop")


async def test_spans_are_exported_as_one_tree() -> None:
    async with _collecting(1.0) as collected, _two_hops() as channel:
        await _trace(channel)
        await tracing.shutdown()
        spans = {(span.name, span.kind): span for span in collected.spans}
    assert collected.services == {"hop"}
    assert len(collected.spans) == 3
    child = next(span for (name, _), span in spans.items() if name == "ask downstream")
    servers = [span for span in collected.spans if span.name == "test.Hop/Trace"]
    assert len(servers) == 2
    outer = next(span for span in servers if span.span_id == child.parent_span_id)
    inner = next(span for span in servers if span is not outer)
    assert inner.parent_span_id == child.span_id
    assert {span.trace_id for span in collected.spans} == {outer.trace_id}
    assert {each.key: each.value.string_value for each in inner.attributes} | {
        "client.address": ""
    } == {
        "rpc.system.name": "grpc",
        "rpc.method": "test.Hop/Trace",
        "rpc.response.status_code": "OK",
        "client.address": "",
    }


async def test_a_caller_decides_what_is_kept() -> None:
    async with _collecting(0.0) as collected, _two_hops() as channel:
        await _trace(channel)
        await _trace(channel, ("traceparent", f"00-{_TRACE}-{_SPAN}-00"))
        await _trace(channel, ("traceparent", f"00-{_TRACE}-{_SPAN}-01"))
        await tracing.shutdown()
        assert len(collected.spans) == 3
    assert {span.trace_id.hex() for span in collected.spans} == {_TRACE}
