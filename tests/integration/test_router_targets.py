from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from simcloud.clock import SYSTEM_CLOCK
from simcloud.errors import (
    AnswerLost,
    DeadlineExceeded,
    InvalidRequest,
    NotReady,
    Overloaded,
    SimcloudError,
    TargetError,
)
from simcloud.oip.pool import OipMessage
from simcloud.oip.tensors import new
from simcloud.rpc.status import client_errors
from support.eventually import eventually
from support.router import RunningRouter, model, running_router, settings_for, write_catalog
from support.scripted_endpoint import Reply, ScriptedEndpoint, error, scripted_endpoint
from support.stale import any_kept_connection_is_idle, no_connection_is_idle

TRITON = "application/vnd.sagemaker-triton.binary+json"


def tensor_reply(values: bytes = struct.pack("<4f", 1, 2, 3, 4)) -> Reply:
    entry = {
        "name": "y",
        "datatype": "FP32",
        "shape": [1, 4],
        "parameters": {"binary_data_size": len(values)},
    }
    header = json.dumps({"outputs": [entry]}).encode()
    return Reply(200, header + values, {"content-type": f"{TRITON};json-header-size={len(header)}"})


def infer_request(**changes: object) -> OipMessage:
    request = new("ModelInferRequest")
    request.model_name = "det"
    request.id = "req-1"
    request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    request.raw_input_contents.append(struct.pack("<4f", 5, 6, 7, 8))
    return request


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    async with scripted_endpoint() as running:
        running.default = tensor_reply()
        yield running


@pytest.fixture
async def router(endpoint: ScriptedEndpoint, tmp_path: Path) -> AsyncIterator[RunningRouter]:
    catalog = write_catalog(tmp_path, model())
    async with running_router(settings_for(catalog, endpoint.url)) as running:
        yield running


async def infer(router: RunningRouter, timeout_s: float = 10) -> OipMessage:
    with client_errors():
        return await router.oip.ModelInfer(infer_request(), timeout=timeout_s)


async def test_a_request_goes_out_as_tritons_binary_form_signed_and_named(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with client_errors():
        response = await router.oip.ModelInfer(
            infer_request(), timeout=10, metadata=(("traceparent", trace),)
        )
    assert list(response.raw_output_contents) == [struct.pack("<4f", 1, 2, 3, 4)]
    (seen,) = endpoint.seen
    headers = {name.lower(): value for name, value in seen.headers.items()}
    assert seen.path == "/endpoints/det/invocations"
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
    assert headers["x-amzn-sagemaker-inference-id"] == "req-1"
    assert (
        "traceparent=00-0af7651916cd43dd8448eb211c80319c-"
        in (headers["x-amzn-sagemaker-custom-attributes"])
    )
    size = int(headers["content-type"].removeprefix(f"{TRITON};json-header-size="))
    header = json.loads(seen.body[:size])
    assert header["inputs"][0]["parameters"] == {"binary_data_size": 16}
    assert seen.body[size:] == struct.pack("<4f", 5, 6, 7, 8)


async def test_what_selects_within_an_endpoint_travels_in_its_headers(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    target = {
        "name": "det",
        "kind": "sagemaker",
        "endpoint": "det",
        "variant": "blue",
        "component": "part",
        "target_model": "m.tar.gz",
    }
    catalog = write_catalog(tmp_path, model(targets=[target]))
    async with running_router(settings_for(catalog, endpoint.url)) as router:
        await infer(router)
    headers = {name.lower(): value for name, value in endpoint.seen[0].headers.items()}
    assert headers["x-amzn-sagemaker-target-variant"] == "blue"
    assert headers["x-amzn-sagemaker-inference-component"] == "part"
    assert headers["x-amzn-sagemaker-target-model"] == "m.tar.gz"
    signed = headers["authorization"]
    assert "x-amzn-sagemaker-target-variant" in signed


async def test_a_plain_container_is_asked_without_a_signature(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    target = {"name": "det", "kind": "container", "url": endpoint.url}
    catalog = write_catalog(tmp_path, model(targets=[target]))
    async with running_router(settings_for(catalog, "")) as router:
        await infer(router)
    assert endpoint.seen[0].path == "/invocations"
    assert "Authorization" not in endpoint.seen[0].headers


@pytest.mark.parametrize(
    "first",
    [
        error(429, "ThrottlingException"),
        error(500, "InternalFailure"),
        error(503, "ServiceUnavailable"),
        error(530, "InternalDependencyException"),
    ],
)
async def test_one_retry_cures_what_the_table_says(
    router: RunningRouter, endpoint: ScriptedEndpoint, first: Reply
) -> None:
    endpoint.replies.append(first)
    await infer(router)
    assert len(endpoint.seen) == 2
    (counts,) = await router.client.statistics("det")
    assert (counts.requests, counts.succeeded, counts.retries) == (1, 1, 1)


async def test_a_kept_connection_that_had_been_closed_is_no_matter(
    router: RunningRouter, endpoint: ScriptedEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    any_kept_connection_is_idle(monkeypatch)
    endpoint.replies.extend([tensor_reply(), Reply(hang_up=True)])
    for _ in range(2):
        await infer(router)
    assert len(endpoint.seen) == 3


@pytest.mark.parametrize("warm", [False, True])
async def test_what_ends_one_container_is_not_handed_to_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warm: bool
) -> None:
    no_connection_is_idle(monkeypatch)
    async with scripted_endpoint() as one, scripted_endpoint() as other:
        places = {"one": one, "other": other}
        targets = [
            {"name": name, "kind": "container", "url": place.url} for name, place in places.items()
        ]
        catalog = write_catalog(tmp_path, model(targets=targets))
        async with running_router(settings_for(catalog, "")) as router:
            for place in places.values():
                place.default = tensor_reply()
            # Both are asked, one after the other, so each has a connection that is kept alive.
            while warm and not (one.seen and other.seen):
                await infer(router)
            before = len(one.seen) + len(other.seen)
            for place in places.values():
                place.default = Reply(hang_up=True)
            with pytest.raises(AnswerLost, match="not asked again, since it may have worked on"):
                await infer(router)
        assert len(one.seen) + len(other.seen) == before + 1


@pytest.mark.parametrize(
    "reply",
    [error(400, "ValidationError"), error(504, ""), error(403, "AccessDeniedException")],
)
async def test_what_the_table_does_not_retry_is_asked_once(
    router: RunningRouter, endpoint: ScriptedEndpoint, reply: Reply
) -> None:
    endpoint.replies.append(reply)
    with pytest.raises(SimcloudError):
        await infer(router)
    assert len(endpoint.seen) == 1


async def test_two_failures_are_the_callers(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    endpoint.default = error(503, "ServiceUnavailable", "down")
    with pytest.raises(NotReady, match="down"):
        await infer(router)
    assert len(endpoint.seen) == 2


async def test_retries_end_with_the_budget(endpoint: ScriptedEndpoint, tmp_path: Path) -> None:
    endpoint.default = error(500, "InternalFailure")
    catalog = write_catalog(tmp_path, model())
    settings = settings_for(
        catalog, endpoint.url, retry={"ratio": 0.2, "floor_per_s": 0.0, "base_s": 0.001}
    )
    async with running_router(settings) as router:
        for _ in range(20):
            with pytest.raises(TargetError):
                await infer(router)
    assert len(endpoint.seen) == 24


async def test_a_timeout_is_never_retried(endpoint: ScriptedEndpoint, tmp_path: Path) -> None:
    endpoint.default = Reply(hold=asyncio.Event())
    target = {"name": "det", "kind": "sagemaker", "endpoint": "det", "timeout_s": 0.1}
    catalog = write_catalog(tmp_path, model(targets=[target]))
    asked = 0
    async with running_router(settings_for(catalog, endpoint.url)) as router:
        while not endpoint.seen:
            # Again when a busy machine took all of the time before anything was sent.
            asked += 1
            with pytest.raises(DeadlineExceeded, match="did not answer within"):
                await infer(router)
        await eventually(lambda: endpoint.disconnected == len(endpoint.seen))
    assert len(endpoint.seen) <= asked


async def test_a_cancelled_call_reaches_the_endpoint(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    endpoint.default = Reply(hold=asyncio.Event())
    call = router.oip.ModelInfer(infer_request(), timeout=30)
    waiting = asyncio.ensure_future(call)
    await eventually(lambda: endpoint.in_flight == 1)
    waiting.cancel()
    await eventually(lambda: endpoint.disconnected == 1)
    await eventually(lambda: router.router.models["det"].door.in_flight == 0)
    with pytest.raises(asyncio.CancelledError):
        await waiting
    counts = router.router.models["det"].counts
    await eventually(lambda: counts.failed == {"CANCELLED": 1})


async def test_nobody_listening_is_unavailable_and_shrinks_the_limit(tmp_path: Path) -> None:
    async with scripted_endpoint() as gone:
        url = gone.url
    catalog = write_catalog(tmp_path, model())
    async with running_router(settings_for(catalog, url)) as router:
        with pytest.raises(NotReady, match="can't be reached"):
            await infer(router)
        assert router.router.models["det"].door.limit < 8


async def test_beyond_limit_and_queue_requests_are_refused_and_the_rest_is_answered(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    hold = asyncio.Event()
    answer = tensor_reply()
    endpoint.default = Reply(200, answer.body, answer.headers, hold)
    catalog = write_catalog(tmp_path, model())
    limiter = {"start": 2, "maximum": 2}
    async with running_router(settings_for(catalog, endpoint.url, limiter=limiter)) as router:
        door = router.router.models["det"].door
        calls = [asyncio.ensure_future(infer(router)) for _ in range(4)]
        await eventually(lambda: (door.in_flight, door.waiting, endpoint.in_flight) == (2, 2, 2))
        with pytest.raises(Overloaded) as refused:
            await infer(router)
        assert refused.value.retry_after_s == 0.5
        # A deadline that passes in the queue never reaches the endpoint.
        hold.set()
        for call in calls:
            await call
    assert endpoint.peak == 2
    assert len(endpoint.seen) == 4


async def test_a_deadline_that_passes_in_the_queue_never_reaches_the_endpoint(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    hold = asyncio.Event()
    answer = tensor_reply()
    endpoint.default = Reply(200, answer.body, answer.headers, hold)
    catalog = write_catalog(tmp_path, model())
    limiter = {"start": 1, "maximum": 1}
    async with running_router(settings_for(catalog, endpoint.url, limiter=limiter)) as router:
        first = asyncio.ensure_future(infer(router))
        await eventually(lambda: endpoint.in_flight == 1)
        begun = SYSTEM_CLOCK.monotonic()
        with pytest.raises(DeadlineExceeded):
            await infer(router, timeout_s=0.1)
        assert SYSTEM_CLOCK.monotonic() - begun < 5
        hold.set()
        await first
    assert len(endpoint.seen) == 1


async def test_a_request_above_the_targets_limit_is_refused_unsent(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    target = {"name": "det", "kind": "sagemaker", "endpoint": "det", "max_request_bytes": 20}
    catalog = write_catalog(tmp_path, model(targets=[target]))
    async with running_router(settings_for(catalog, endpoint.url)) as router:
        with pytest.raises(InvalidRequest, match="at most 20"):
            await infer(router)
    assert endpoint.seen == []


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"<html>"),
        Reply(200, b"{}", {"content-type": "text/html"}),
        Reply(200, b'{"outputs":[]}'),
        tensor_reply(b"short"),
        Reply(200, b"{}", {"content-type": f"{TRITON};json-header-size=99"}),
    ],
)
async def test_an_answer_that_is_none_is_the_targets_error(
    router: RunningRouter, endpoint: ScriptedEndpoint, reply: Reply
) -> None:
    endpoint.default = reply
    with pytest.raises(TargetError) as caught:
        await infer(router)
    assert caught.value.code is grpc.StatusCode.INTERNAL
    assert len(endpoint.seen) == 1


async def test_an_answer_above_the_limit_is_not_read(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    endpoint.default = Reply(200, bytes(4096))
    catalog = write_catalog(tmp_path, model())
    settings = settings_for(catalog, endpoint.url, max_answer_bytes=1024)
    async with running_router(settings) as router:
        with pytest.raises(TargetError, match="larger than 1024"):
            await infer(router)


async def test_refused_credentials_are_renewed_once_and_the_request_sent_again(
    endpoint: ScriptedEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "credentials"

    def write_key(key: str) -> None:
        shared.write_text(f"[default]\naws_access_key_id={key}\naws_secret_access_key=s\n")

    write_key("OLD")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(shared))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    catalog = write_catalog(tmp_path, model())
    settings = settings_for(catalog, endpoint.url, sagemaker={})
    async with running_router(settings) as router:
        await infer(router)
        write_key("NEW")
        endpoint.replies.append(error(403, "ExpiredTokenException"))
        await infer(router)
    keys = [seen.headers["Authorization"].split("Credential=")[1][:3] for seen in endpoint.seen]
    assert keys == ["OLD", "OLD", "NEW"]
