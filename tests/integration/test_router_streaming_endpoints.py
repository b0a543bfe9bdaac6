"""Endpoints that answer in parts: joined for one answer, or an answer for each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import grpc
import pytest

from simcloud.errors import DeadlineExceeded, NotReady, SimcloudError, TargetError, Unsupported
from simcloud.oip.pool import OipMessage
from simcloud.oip.tensors import join_bytes, new, split_bytes
from simcloud.rpc.status import client_errors
from support.eventually import eventually
from support.router import RunningRouter, model, running_router, settings_for, write_catalog
from support.scripted_endpoint import Invocation
from support.streaming_endpoint import StreamingEndpoint, exception, part, streaming_endpoint


def text_model(name: str, **changes: object) -> dict[str, object]:
    """A model that takes a body and says text."""
    target = {"name": name, "kind": "sagemaker_stream", "endpoint": name}
    more = changes.pop("target", {})
    assert isinstance(more, dict)
    return model(
        name,
        **{
            "tensor_codec": "bytes",
            "max_batch_size": 0,
            "inputs": [{"name": "prompt", "datatype": "BYTES", "shape": [1]}],
            "outputs": [{"name": "text", "datatype": "BYTES", "shape": [1]}],
            "targets": [{**target, **more}],
            **changes,
        },
    )


@pytest.fixture
async def endpoint() -> AsyncIterator[StreamingEndpoint]:
    async with streaming_endpoint() as running:
        yield running


@pytest.fixture
async def router(endpoint: StreamingEndpoint, tmp_path: Path) -> AsyncIterator[RunningRouter]:
    catalog = write_catalog(
        tmp_path,
        text_model("whole"),
        text_model("parts", decoupled=True),
        text_model("lines", decoupled=True, target={"part_framing": "lines"}),
        text_model("short", decoupled=True, target={"timeout_s": 0.2}),
    )
    settings = settings_for(catalog, endpoint.url, max_answer_bytes=4096)
    async with running_router(settings) as running:
        yield running


def asks(name: str, request_id: str = "1") -> OipMessage:
    request = new("ModelInferRequest")
    request.model_name, request.id = name, request_id
    request.inputs.add(name="prompt", datatype="BYTES", shape=[1])
    request.raw_input_contents.append(join_bytes([b'{"prompt":"hi"}']))
    return request


def says(endpoint: StreamingEndpoint, *pieces: bytes) -> None:
    async def body(_: Invocation) -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    endpoint.body = body


def text(response: OipMessage) -> bytes:
    (element,) = split_bytes(response.raw_output_contents[0])
    return element


async def infer(router: RunningRouter, name: str) -> OipMessage:
    with client_errors():
        return await router.oip.ModelInfer(asks(name), timeout=10)


async def stream(router: RunningRouter, requests: Sequence[OipMessage]) -> list[OipMessage]:
    async def each() -> AsyncIterator[OipMessage]:
        for request in requests:
            yield request

    with client_errors():
        return [response async for response in router.oip.ModelStreamInfer(each(), timeout=10)]


async def test_parts_are_joined_for_a_model_that_answers_once(
    router: RunningRouter, endpoint: StreamingEndpoint
) -> None:
    data = part(b"Hello, ") + part(b"world")
    # Cut anywhere: what arrives together says nothing.
    says(endpoint, data[:5], data[5:40], data[40:])
    assert text(await infer(router, "whole")) == b"Hello, world"
    (answer,) = await stream(router, [asks("whole", "7")])
    assert (answer.infer_response.id, text(answer.infer_response)) == ("7", b"Hello, world")
    assert endpoint.seen[0].path == "/endpoints/whole/invocations-response-stream"
    headers = {name.lower(): value for name, value in endpoint.seen[0].headers.items()}
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256")
    assert "x-amzn-sagemaker-custom-attributes" in headers
    assert headers["x-amzn-sagemaker-inference-id"] == "1"


async def test_each_part_is_an_answer_as_it_comes(
    router: RunningRouter, endpoint: StreamingEndpoint
) -> None:
    first_read = asyncio.Event()

    async def body(_: Invocation) -> AsyncIterator[bytes]:
        yield part(b"one")
        await first_read.wait()
        yield part(b"two") + part(b"three")

    endpoint.body = body
    request = asks("parts", "5")
    request.parameters["triton_enable_empty_final_response"].bool_param = True

    async def requests() -> AsyncIterator[OipMessage]:
        yield request

    got: list[OipMessage] = []
    async for response in router.oip.ModelStreamInfer(requests(), timeout=10):
        got.append(response.infer_response)
        first_read.set()
    assert [text(each) for each in got[:3]] == [b"one", b"two", b"three"]
    assert [each.id for each in got] == ["5"] * 4
    finals = [each.parameters["triton_final_response"].bool_param for each in got]
    assert finals == [False, False, False, True]
    assert len(got[3].outputs) == 0
    (counts,) = await router.client.statistics("parts")
    assert (counts.requests, counts.succeeded) == (1, 1)


async def test_without_being_asked_for_no_empty_answer_follows_the_parts(
    router: RunningRouter, endpoint: StreamingEndpoint
) -> None:
    says(endpoint, part(b"one"), part(b"two"))
    got = await stream(router, [asks("parts", "1"), asks("parts", "2")])
    by_id = {"1": [], "2": []}  # type: dict[str, list[bytes]]
    for each in got:
        by_id[each.infer_response.id].append(text(each.infer_response))
    assert by_id == {"1": [b"one", b"two"], "2": [b"one", b"two"]}
    config = new("ModelConfigRequest")
    config.name = "parts"
    answer = await router.oip.ModelConfig(config)
    assert answer.config.model_transaction_policy.decoupled


async def test_lines_are_answers_wherever_the_parts_end(
    router: RunningRouter, endpoint: StreamingEndpoint
) -> None:
    says(endpoint, part(b'{"a":1}\n{"b"'), part(b":2}\r\n\n"), part(b"last"))
    got = await stream(router, [asks("lines")])
    assert [text(each.infer_response) for each in got] == [b'{"a":1}', b'{"b":2}', b"last"]
    with pytest.raises(Unsupported, match="use ModelStreamInfer"):
        await infer(router, "lines")


@pytest.mark.parametrize(
    ("pieces", "expected", "words"),
    [
        (
            [exception("ModelStreamError", "too long", "ModelInvocationTimeExceeded")],
            DeadlineExceeded,
            "too long",
        ),
        ([part(b"x"), exception("ModelStreamError", "gone", "StreamBroken")], NotReady, "gone"),
        ([part(b"x"), exception("InternalStreamFailure", "oops")], TargetError, "oops"),
        ([part(b"x")[:-3]], TargetError, "bytes into a message"),
        ([part(b"x")[:-1] + b"\x00"], TargetError, "CRC-32"),
        ([b"\x00" * 64], TargetError, "CRC-32|bytes of headers"),
        ([part(bytes(3000)), part(bytes(3000))], TargetError, "larger than 4096"),
    ],
)
async def test_a_stream_that_breaks_off_is_its_requests_error_and_never_retried(
    router: RunningRouter,
    endpoint: StreamingEndpoint,
    pieces: list[bytes],
    expected: type[SimcloudError],
    words: str,
) -> None:
    says(endpoint, *pieces)
    with pytest.raises(expected, match=words):
        await infer(router, "whole")
    assert len(endpoint.seen) == 1


async def test_an_error_after_parts_is_in_band_and_the_stream_goes_on(
    router: RunningRouter, endpoint: StreamingEndpoint
) -> None:
    says(endpoint, part(b"one"), exception("ModelStreamError", "gone", "StreamBroken"))
    got = await stream(router, [asks("parts", "1")])
    assert text(got[0].infer_response) == b"one"
    assert "gone" in got[1].error_message
    assert got[1].infer_response.id == "1"
    assert len(endpoint.seen) == 1


async def endless(_: Invocation) -> AsyncIterator[bytes]:
    """More than the way to a caller who takes nothing has room for, and that at once."""
    while True:
        yield part(bytes(4000)) * 64
        await asyncio.sleep(0)


async def test_time_that_is_up_while_the_client_takes_nothing_is_told_when_it_does(
    router: RunningRouter, endpoint: StreamingEndpoint
) -> None:
    endpoint.body = endless
    counts = router.router.models["short"].counts
    asked = 0

    def is_over() -> bool:
        return endpoint.disconnected > 0 or (counts.requests == asked and not endpoint.seen)

    while not endpoint.disconnected:
        # Again when a busy machine took all of the time before anything was sent.
        asked += 1
        call = router.oip.ModelStreamInfer(iter([asks("short")]), timeout=60)
        await eventually(is_over)
    got = [response async for response in call]
    assert "did not answer within" in got[-1].error_message
    assert [each.error_message for each in got[:-1]] == [""] * (len(got) - 1)
    assert await call.code() is grpc.StatusCode.OK


async def test_an_endless_stream_ends_with_its_timeout_and_a_client_that_left_closes_it(
    router: RunningRouter, endpoint: StreamingEndpoint
) -> None:
    endpoint.body = endless
    while not endpoint.seen:
        # Again when a busy machine took all of the time before anything was sent.
        got = await stream(router, [asks("short")])
        assert "did not answer within" in got[-1].error_message
    await eventually(lambda: endpoint.disconnected == len(endpoint.seen))
    left = endpoint.disconnected
    call = router.oip.ModelStreamInfer(iter([asks("parts")]), timeout=10)
    await call.read()
    call.cancel()
    await eventually(lambda: endpoint.disconnected == left + 1)
    assert await call.code() is grpc.StatusCode.CANCELLED
