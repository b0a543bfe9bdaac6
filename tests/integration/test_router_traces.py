"""One trace through the router's process and the container's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from simcloud.oip.service import Stub
from simcloud.oip.tensors import fill_request, new
from simcloud.rpc.channel import connect
from simcloud.telemetry import tracing
from support.eventually import eventually
from support.fleet import OK, Fleet, Step, fleet
from support.model_server import ModelServer
from support.otlp_collector import Collector, collector
from support.router_site import router_process

MODEL = "efficientnet-lite0"
KEPT, NOT_KEPT = "0af7651916cd43dd8448eb211c80319c", "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = "b7ad6b7169203331"


def test_a_callers_trace_has_the_routers_spans_and_the_containers_line(tmp_path: Path) -> None:
    one_model = {"ENDPOINTS": f"{MODEL}={MODEL}", "DEFAULT_MODEL": MODEL, "WORKERS": "1"}
    with collector() as collected, ModelServer(environment=one_model) as container:
        settings = {"OTLP_ENDPOINT": collected.url}
        with router_process(tmp_path, container, settings=settings) as address:
            asyncio.run(_ask(address))
        # The router has ended, and exported what it had before that.
        not_kept, kept = _invocations(container)
    # Whoever decided that it is not kept is still the parent of what we ask.
    assert (not_kept["trace_id"], not_kept["parent_span_id"]) == (NOT_KEPT, CALLER)
    server, attempt = _spans(collected)
    assert server.parent_span_id.hex() == CALLER
    assert attempt.parent_span_id == server.span_id
    assert _attributes(attempt) == {"model": MODEL, "target": MODEL, "attempt": 1}
    assert (kept["trace_id"], kept["parent_span_id"]) == (KEPT, attempt.span_id.hex())


async def test_each_attempt_is_a_span_and_one_that_failed_says_so() -> None:
    with collector() as collected:
        tracing.configure("router", collected.url)
        try:
            async with fleet(["a", "b"], seed=1) as running:
                for member in running.members.values():
                    # The first of both is refused, whoever gets it.
                    member.step = lambda _: OK if _seen(running) > 1 else Step(503)
                tracing.begin_trace(tracing.TraceContext(KEPT, CALLER, sampled=True))
                await running.ask()
                tracing.begin_trace(tracing.TraceContext(NOT_KEPT, CALLER, sampled=False))
                await running.ask()
            await tracing.shutdown()
        finally:
            tracing.configure("router")
    first, second = sorted(collected.spans, key=lambda span: _attributes(span)["attempt"])
    assert {span.name for span in collected.spans} == {"invoke target"}
    assert {span.trace_id.hex() for span in collected.spans} == {KEPT}
    assert {span.parent_span_id.hex() for span in collected.spans} == {CALLER}
    assert {_attributes(span)["target"] for span in collected.spans} == {"a", "b"}
    assert (first.status.code, second.status.code) == (first.status.STATUS_CODE_ERROR, 0)
    assert "503" in first.status.message


async def test_a_shadows_copy_is_a_span_of_its_own_beside_the_attempts() -> None:
    shadow = {"target": "next", "sample": 1.0, "compare": "detections"}
    with collector() as collected:
        tracing.configure("router", collected.url)
        try:
            async with fleet(["a", "next"], seed=1, shadow=shadow) as running:
                tracing.begin_trace(tracing.TraceContext(KEPT, CALLER, sampled=True))
                await running.ask()
                copies = running.model.shadow
                assert copies is not None
                await eventually(lambda: running["next"].seen == 1 and not copies.under_way)
            await tracing.shutdown()
        finally:
            tracing.configure("router")
    of_target = {_attributes(span)["target"]: span for span in collected.spans}
    assert len(collected.spans) == 2
    assert _attributes(of_target["a"]) == {"model": "det", "target": "a", "attempt": 1}
    assert _attributes(of_target["next"]) == {"model": "det", "target": "next", "shadow": True}
    assert {span.parent_span_id.hex() for span in collected.spans} == {CALLER}


def _seen(running: Fleet) -> int:
    return sum(member.seen for member in running.members.values())


async def _ask(address: str) -> None:
    async with connect(address) as channel:
        for traceparent in (f"00-{NOT_KEPT}-{CALLER}-00", f"00-{KEPT}-{CALLER}-01"):
            request = new("ModelInferRequest")
            request.model_name = MODEL
            fill_request(request, [("image", np.zeros((1, 32, 32, 3), np.uint8))])
            metadata = (("traceparent", traceparent),)
            await Stub(channel).ModelInfer(request, timeout=60, metadata=metadata)


def _invocations(container: ModelServer) -> list[Mapping[str, Any]]:
    lines = [json.loads(line) for line in container.log().splitlines()]
    return [line for line in lines if line["event"] == "invocation"]


def _spans(collected: Collector) -> tuple[Any, Any]:
    """The RPC's span and the attempt's; there is no other."""
    assert collected.services == {"inference-router"}
    assert {span.trace_id.hex() for span in collected.spans} == {KEPT}
    by_name = {span.name: span for span in collected.spans}
    assert len(by_name) == len(collected.spans)
    return by_name["inference.GRPCInferenceService/ModelInfer"], by_name["invoke target"]


def _attributes(span: Any) -> dict[str, str | int]:
    return {
        each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes
    }
