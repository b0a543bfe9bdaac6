"""What callers and operators see of several targets: over gRPC, and at the metrics endpoint."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from simcloud.client.router import RouterClient
from simcloud.errors import InvalidRequest, NotFound, NotReady, Overloaded
from simcloud.oip.tensors import new
from simcloud.rpc.channel import connect
from simcloud.rpc.server import running_server
from simcloud.rpc.status import client_errors
from simcloud.telemetry import metrics
from simcloud.telemetry.names import Metric
from simcloud_inference_router.metrics import (
    EJECTIONS,
    REQUEST_BYTES,
    REQUESTS,
    RESPONSE_BYTES,
    RETRY_BALANCE,
    SHADOW,
    TARGET_BUSY,
    TARGET_COST,
    TARGET_REQUESTS,
    TARGET_STATE,
)
from simcloud_inference_router.services import services
from simcloud_inference_router.settings import RouterSettings
from support.eventually import eventually
from support.fleet import Step, fleet
from support.router import model, running_router, settings_for, write_catalog
from support.scripted_endpoint import scripted_endpoint

MANY = 400


async def test_targets_and_counts_are_told_as_they_are() -> None:
    targets: dict[str, dict[str, object]] = {name: {} for name in ("a", "b", "far", "new", "next")}
    targets["b"]["weight"], targets["far"]["tier"] = 2.0, 2
    targets["b"]["usd_per_hour"] = 7200.0
    canary = {"target": "new", "percent": 50}
    copies = {"target": "next", "sample": 1.0, "compare": "detections"}
    async with fleet(targets, seed=1, canary=canary, shadow=copies) as running:
        for member in running.members.values():
            member.step = Step(delay_s=0.002)
        running["a"].step = Step(503)
        outcomes = await running.ask_many(MANY, at_once=24)
        assert outcomes.answered == MANY
        shadow = running.model.shadow
        assert shadow is not None
        await eventually(lambda: shadow.under_way == 0)
        settings = RouterSettings(catalog=Path("unused"))
        async with (
            running_server(settings, services=services(running.router), name="router") as server,
            connect(server.address) as channel,
        ):
            client = RouterClient(channel)
            (described,) = await client.list_models()
            (counts,) = await client.statistics("det")
        told = {each.name: each for each in described.targets}
        assert [each.role for each in described.targets] == [
            *["ordinary"] * 3,
            *("canary", "shadow"),
        ]
        assert {name: each.tier for name, each in told.items() if each.tier} == {"far": 2}
        assert (told["b"].weight, told["b"].ready, told["b"].ejected) == (2.0, True, False)
        assert (told["a"].ready, told["a"].ejected) == (False, True)
        assert counts.canary_requests == running["new"].seen
        assert counts.retries == running["a"].seen
        assert counts.shadow is not None
        assert counts.shadow.target == "next"
        assert counts.shadow.sent + counts.shadow.dropped == MANY
        assert counts.shadow.agreed == counts.shadow.sent

        def value(metric: Metric, **labels: str) -> float:
            return metrics.value_of(metric, {"model": "det", **labels})

        assert value(REQUESTS, outcome="OK") == MANY
        assert value(TARGET_REQUESTS, target="a") == running["a"].seen
        assert value(EJECTIONS, target="a") == 1
        assert value(TARGET_STATE, target="a", state="ejected") == 1
        assert (
            sum(
                value(SHADOW, target="next", primary=each, outcome="agreed")
                for each in shadow.by_primary
            )
            == counts.shadow.agreed
        )
        assert value(REQUEST_BYTES) == counts.request_bytes > 0
        assert value(RESPONSE_BYTES) == counts.response_bytes > 0
        assert value(RETRY_BALANCE) > 0
        assert value(TARGET_COST, target="b") == 2 * value(TARGET_BUSY, target="b") > 0
        text = metrics.exposition().decode()
        seen = f'model="det",target="b"}} {running["b"].seen}.0'
        assert f"simcloud_router_target_attempt_seconds_count{{{seen}" in text
        assert 'simcloud_router_target_estimated_cost_usd_total{model="det",target="a"}' not in text
        assert 'simcloud_router_target_duration_seconds_count{model="det"} 400.0' in text
        assert 'simcloud_router_queue_duration_seconds_bucket{le="+Inf",model="det"} 400.0' in text
        assert 'simcloud_router_retry_budget_exhausted_total{model="det"} 0.0' in text
    assert 'model="det"' not in metrics.exposition().decode(), "gone with the router"


async def test_priority_1_overtakes_and_a_wrong_one_is_refused(tmp_path: Path) -> None:
    async with scripted_endpoint() as endpoint:
        endpoint.hold = asyncio.Event()
        settings = settings_for(
            write_catalog(tmp_path, model()), endpoint.url, limiter={"start": 2, "maximum": 2}
        )
        async with running_router(settings) as router:
            door = router.router.models["det"].door

            async def infer(name: str, priority: int | str | None = None) -> None:
                request = new("ModelInferRequest")
                request.model_name, request.id = "det", name
                request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
                request.raw_input_contents.append(bytes(16))
                if isinstance(priority, int):
                    request.parameters["priority"].uint64_param = priority
                elif priority is not None:
                    request.parameters["priority"].string_param = priority
                with client_errors():
                    await router.oip.ModelInfer(request, timeout=30)

            with pytest.raises(InvalidRequest, match="priority"):
                await infer("wrong", "high")
            calls: list[asyncio.Future[None]] = []
            for name, priority in [("1", None), ("2", None), ("late", 2), ("first", 1)]:
                calls.append(asyncio.ensure_future(infer(name, priority)))
                await eventually(lambda: door.in_flight + door.waiting == len(calls))
            with pytest.raises(Overloaded):
                await infer("too many")
            endpoint.hold.set()
            # What the endpoint says is no answer in tensors; the order is what is looked at.
            await asyncio.wait(calls)
            seen = [
                {name.lower(): value for name, value in each.headers.items()}[
                    "x-amzn-sagemaker-inference-id"
                ]
                for each in endpoint.seen
            ]
            assert sorted(seen[:2]) == ["1", "2"]
            assert seen[2:] == ["first", "late"]
            assert all(call.exception() is not None for call in calls)


async def test_an_operator_drains_a_target_while_requests_go_on() -> None:
    async with fleet(["a", "b"], seed=3) as running:
        (door,) = running.router.served.doors_of("b")
        with pytest.raises(NotFound, match="there is no target 'x'; there are: a, b"):
            running.router.served.doors_of("x")
        for member in running.members.values():
            member.step = Step(delay_s=0.001)
        # All of it goes to the one, whichever seems faster, and then in its midst to the other.
        door.drain("b")
        asking = asyncio.ensure_future(running.ask_many(1000, at_once=16))
        await eventually(lambda: running["a"].seen > 50)
        door.undrain("b")
        door.drain("a")
        seen = running["a"].seen
        outcomes = await asking
        assert outcomes.answered == 1000
        # What was on its way to it arrives.
        assert running["a"].seen <= seen + 16
        assert running["a"].seen + running["b"].seen == 1000
        door.drain("b")
        with pytest.raises(NotReady, match="drained"):
            await running.ask()
        door.undrain("a")
        assert (await running.ask_many(100)).targets == {"a": 100}
