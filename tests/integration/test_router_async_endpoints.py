"""Endpoints that are asked through S3 and answer there, with a real S3 server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pytest
from aiohttp import web

from simcloud.client.router import Frame, Picture
from simcloud.clock import SYSTEM_CLOCK
from simcloud.errors import (
    DeadlineExceeded,
    InvalidRequest,
    NotReady,
    Overloaded,
    SimcloudError,
    TargetError,
)
from simcloud.oip.pool import OipMessage
from simcloud.oip.tensors import fill_request, new, output_arrays
from simcloud.rpc.status import client_errors
from simcloud.s3.client import open_client
from simcloud.s3.faults import Fault, FaultKind, plan_of
from simcloud.s3.objects import ObjectStore
from simcloud_inference_router.target_entry import TargetEntry
from simcloud_inference_router.targets.base import Invocation
from simcloud_inference_router.targets.factory import open_factory
from support.async_endpoint import AsyncEndpoint, Written, async_endpoint
from support.eventually import eventually
from support.router import RunningRouter, model, running_router, settings_for, write_catalog
from support.s3_proxy import running_proxy
from support.s3_server import S3Server
from support.scripted_endpoint import Invocation as Request
from support.scripted_endpoint import scripted_endpoint

TRITON = "application/vnd.sagemaker-triton.binary+json"


def echo(body: bytes, invocation: Request) -> Written:
    """Triton's answer; as the endpoint's object, without a content type that says its size."""
    headers = {name.lower(): value for name, value in invocation.headers.items()}
    size = int(headers["x-amzn-sagemaker-content-type"].rpartition("=")[2])
    outputs = [{**tensor, "name": "y"} for tensor in json.loads(body[:size])["inputs"]]
    return Written(json.dumps({"outputs": outputs}).encode() + body[size:])


@pytest.fixture
async def endpoint(store: ObjectStore, bucket: str) -> AsyncIterator[AsyncEndpoint]:
    async with async_endpoint(store, bucket) as running:
        running.model = echo
        yield running


@pytest.fixture
def target(bucket: str) -> dict[str, object]:
    return {
        "name": "det",
        "kind": "sagemaker_async",
        "endpoint": "det",
        "input_prefix": f"{bucket}/in",
        "output_prefix": f"{bucket}/out",
        "failure_prefix": f"{bucket}/failed",
        "inline_bytes": 1000,
        "poll_min_s": 0.02,
        "poll_max_s": 0.1,
    }


@pytest.fixture
async def router(
    endpoint: AsyncEndpoint, s3_server: S3Server, target: dict[str, object], tmp_path: Path
) -> AsyncIterator[RunningRouter]:
    catalog = write_catalog(
        tmp_path,
        model(targets=[target]),
        model("stored", targets=[{**target, "name": "stored", "inline_bytes": 0}]),
        model("tidy", targets=[{**target, "name": "tidy", "delete_output": True}]),
    )
    settings = settings_for(catalog, endpoint.url, s3=s3_server.settings)
    async with running_router(settings) as running:
        yield running


def asks(rows: int, name: str = "det") -> OipMessage:
    request = new("ModelInferRequest")
    request.model_name, request.id = name, "r-1"
    fill_request(request, [("x", np.arange(rows * 4, dtype=np.float32).reshape(rows, 4))])
    return request


async def infer(router: RunningRouter, request: OipMessage, timeout_s: float = 20) -> OipMessage:
    with client_errors():
        return await router.oip.ModelInfer(request, timeout=timeout_s)


async def keys(store: ObjectStore, bucket: str, prefix: str) -> list[str]:
    return [each.key async for each in store.list_keys(bucket, prefix)]


async def test_a_small_request_goes_inline_and_its_answer_is_read_from_s3(
    router: RunningRouter, endpoint: AsyncEndpoint, store: ObjectStore, bucket: str
) -> None:
    response = await infer(router, asks(2))
    assert output_arrays(response)["y"].tolist() == [[0, 1, 2, 3], [4, 5, 6, 7]]
    (seen,) = endpoint.seen
    headers = {name.lower(): value for name, value in seen.headers.items()}
    assert seen.path == "/endpoints/det/async-invocations"
    assert headers["x-amzn-sagemaker-inference-id"] == "r-1"
    assert 60 <= int(headers["x-amzn-sagemaker-requestttlseconds"]) <= 900
    assert "x-amzn-sagemaker-inputlocation" not in headers
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256")
    assert await keys(store, bucket, "out/") == ["out/1.out"]
    await infer(router, asks(2, "tidy"))
    assert await keys(store, bucket, "out/") == ["out/1.out"]


async def test_a_large_one_goes_through_s3_and_is_deleted_there(
    endpoint: AsyncEndpoint, s3_server: S3Server, bucket: str, tmp_path: Path, store: ObjectStore
) -> None:
    target = {
        "name": "big",
        "kind": "sagemaker_async",
        "endpoint": "big",
        "input_prefix": f"{bucket}/in",
        "output_prefix": f"{bucket}/out",
        "poll_min_s": 0.02,
        "failure_prefix": bucket,
    }
    catalog = write_catalog(tmp_path, model("big", max_batch_size=1 << 20, targets=[target]))
    settings = settings_for(catalog, endpoint.url, s3=s3_server.settings)
    async with running_router(settings) as router:
        # 7 MiB: more than a real-time endpoint takes.
        rows = (7 << 20) // 16
        response = await infer(router, asks(rows, "big"))
    assert output_arrays(response)["y"].shape == (rows, 4)
    assert endpoint.seen[0].body == b""
    assert len(endpoint.inputs) == 1
    assert endpoint.inputs[0].startswith("in/")
    assert await keys(store, bucket, "in/") == []


async def test_what_is_too_large_for_a_real_time_endpoint_goes_to_the_asynchronous_one(
    endpoint: AsyncEndpoint, s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    async with scripted_endpoint() as real_time:
        targets = [
            {
                "name": "now",
                "kind": "sagemaker",
                "endpoint": "now",
                "url": real_time.url,
                "max_request_bytes": 1000,
            },
            {
                "name": "later",
                "kind": "sagemaker_async",
                "endpoint": "later",
                "url": endpoint.url,
                "input_prefix": f"{bucket}/in",
                "output_prefix": f"{bucket}/out",
                "failure_prefix": f"{bucket}/failed",
                "poll_min_s": 0.02,
            },
        ]
        catalog = write_catalog(tmp_path, model(max_batch_size=10_000, targets=targets))
        async with running_router(settings_for(catalog, "", s3=s3_server.settings)) as router:
            for _ in range(4):
                response = await infer(router, asks(9000))
                assert output_arrays(response)["y"].shape == (9000, 4)
    assert (len(endpoint.inputs), len(real_time.seen)) == (4, 0)


@pytest.mark.parametrize(
    ("message", "more", "expected"),
    [
        ("boom", {}, TargetError),
        ("bad picture", {"OriginalStatusCode": 400}, InvalidRequest),
        ("Received server error (0) from primary: timed out", {}, DeadlineExceeded),
        ("Received server error (503) from primary", {}, NotReady),
    ],
)
async def test_a_failures_object_is_read_as_a_model_error(
    router: RunningRouter,
    endpoint: AsyncEndpoint,
    message: str,
    more: dict[str, object],
    expected: type[SimcloudError],
) -> None:
    endpoint.model = lambda body, seen: endpoint.failure(message, **more)
    with pytest.raises(expected, match=message[:12]):
        await infer(router, asks(1))


async def test_a_deadline_takes_back_what_waits_for_it(
    router: RunningRouter, endpoint: AsyncEndpoint, store: ObjectStore, bucket: str
) -> None:
    endpoint.hold.clear()
    asked = 0
    while not endpoint.seen:
        # Again when a busy machine took all of the time before the endpoint was asked.
        asked += 1
        with pytest.raises(DeadlineExceeded):
            await infer(router, asks(1, "stored"), timeout_s=1.5)
    assert len(endpoint.seen) <= asked

    async def taken_back() -> bool:
        return not await keys(store, bucket, "in/")

    await eventually(taken_back)
    # Its turn comes, and there is nothing to do: no inference for nobody.
    endpoint.hold.set()
    await eventually(lambda: endpoint.without_input == len(endpoint.seen))


Asks: TypeAlias = Callable[[Fault], AbstractAsyncContextManager[asyncio.Task[object]]]
"""A request whose input goes through an S3 that has this fault."""


@pytest.fixture
def asked_through(
    endpoint: AsyncEndpoint, s3_server: S3Server, target: dict[str, object], tmp_path: Path
) -> Asks:
    settings = settings_for(write_catalog(tmp_path), endpoint.url)
    entry = TargetEntry.model_validate({**target, "inline_bytes": 0})
    invocation = Invocation(b"much", "application/x-npy", "application/x-npy")

    @asynccontextmanager
    async def asked(fault: Fault) -> AsyncIterator[asyncio.Task[object]]:
        async with (
            running_proxy(s3_server.settings, plan=plan_of(fault)) as proxy,
            open_client(proxy.settings) as s3,
            open_factory(settings, s3=s3, clock=SYSTEM_CLOCK) as targets,
        ):
            yield asyncio.create_task(targets.make(entry).invoke(invocation, timeout_s=20))

    return asked


async def test_a_second_cancel_does_not_stop_what_the_first_takes_back(
    endpoint: AsyncEndpoint, store: ObjectStore, bucket: str, asked_through: Asks
) -> None:
    endpoint.hold.clear()
    slow = Fault("delete_objects", times=3)
    async with asked_through(slow) as asking:
        await eventually(lambda: endpoint.seen)
        # A target's time-out and its caller's cancel come a moment apart.
        asking.cancel()
        await slow.reached.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert await keys(store, bucket, "in/") == []
    assert slow.hits == 3


async def test_a_write_that_was_given_up_is_deleted_after_it_has_arrived(
    store: ObjectStore, bucket: str, asked_through: Asks
) -> None:
    late = Fault("put_object", kind=FaultKind.GATE_WITHIN)
    async with asked_through(late) as asking:
        await late.held.wait()
        asking.cancel()
        # Whoever deleted at once would have done so by now.
        await asyncio.wait([asking], timeout=0.5)
        late.gate.set()
        await late.done.wait()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert await keys(store, bucket, "in/") == []


async def test_pictures_are_answered_on_their_stream(
    router: RunningRouter, endpoint: AsyncEndpoint
) -> None:
    endpoint.model = lambda body, seen: Written(
        json.dumps({"size": len(body)}).encode(), "application/json"
    )

    async def frames() -> AsyncIterator[Frame]:
        for number in range(6):
            yield Frame(str(number), Picture("image/png", bytes(100 + 500 * number)))

    got = [answer async for answer in router.client.infer_frames("det", frames())]
    assert [json.loads(answer.body)["size"] for answer in got] == [
        100 + 500 * number for number in range(6)
    ]
    assert {answer.media_type for answer in got} == {"application/json"}


async def test_an_answer_elsewhere_than_the_catalogue_says_is_not_read(
    router: RunningRouter, endpoint: AsyncEndpoint
) -> None:
    endpoint.output_bucket = "somebody-elses"
    with pytest.raises(TargetError, match=r"OutputLocation .* is not below"):
        await infer(router, asks(1))


async def test_an_answer_above_the_limit_is_refused(
    endpoint: AsyncEndpoint, s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    endpoint.model = lambda body, seen: Written(bytes(5000), "application/json")
    target = {
        "name": "det",
        "kind": "sagemaker_async",
        "endpoint": "det",
        "input_prefix": bucket,
        "output_prefix": bucket,
        "poll_min_s": 0.02,
    }
    catalog = write_catalog(tmp_path, model(targets=[target]))
    settings = settings_for(catalog, endpoint.url, s3=s3_server.settings, max_answer_bytes=4096)
    async with running_router(settings) as router:
        with pytest.raises(TargetError, match="larger than 4096"):
            await infer(router, asks(1))


async def test_a_refused_submission_is_mapped_and_retried_as_the_table_says(
    router: RunningRouter, endpoint: AsyncEndpoint
) -> None:
    endpoint.refusal = web.json_response({"Message": "busy"}, status=503)
    await infer(router, asks(1))
    assert len(endpoint.seen) == 2
    headers = {"x-amzn-ErrorType": "ThrottlingException", "Retry-After": "60"}
    endpoint.refusal = web.json_response({"Message": "slow"}, status=429, headers=headers)
    with pytest.raises(Overloaded, match="slow"):
        await infer(router, asks(1))
