"""A line for every request: of a unary call on the call's own, of streams one each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from simcloud.client.router import Frame, Picture
from simcloud.errors import DeadlineExceeded, NotFound, QuotaExceeded, TargetError
from simcloud.oip.pool import OipMessage
from simcloud.rpc.calls import REFUSALS_AT_ONCE
from simcloud.rpc.status import MAX_MESSAGE_BYTES
from simcloud.telemetry import metrics
from simcloud_inference_router.metrics import REQUESTS, TARGET_FAILURES
from simcloud_inference_router.targets.base import MAX_ID_BYTES
from support.eventually import eventually
from support.router import infer, model, row_request, running_router, settings_for, write_catalog
from support.scripted_endpoint import Reply, ScriptedEndpoint, error

Line = MutableMapping[str, Any]
ANSWER = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}'
BOTH = b'{"outputs":[{"name":"y","datatype":"FP32","shape":[2,4],"data":[1,2,3,4,5,6,7,8]}]}'
BROKEN = error(424, "ModelError", "broken")


def lines_of(lines: list[Line], method: str) -> tuple[list[Line], list[Line]]:
    """Lines of a method's calls, and of the requests within them."""
    of_method = [each for each in lines if each.get("rpc_method") == method]
    return (
        [each for each in of_method if each["event"] == "rpc"],
        [each for each in of_method if each["event"] == "request"],
    )


@pytest.mark.parametrize("transport", ["http2", "grpc"])
async def test_a_unary_call_has_one_line_that_says_where_it_went(
    endpoint: ScriptedEndpoint, tmp_path: Path, transport: str
) -> None:
    endpoint.replies.extend((Reply(body=ANSWER), BROKEN))
    catalog = write_catalog(tmp_path, json_model())
    settings = settings_for(catalog, endpoint.url, transport=transport)
    with capture_logs() as lines:
        async with running_router(settings) as router:
            await infer(router, row_request(request_id='a"1'))
            with pytest.raises(TargetError, match="broken"):
                await infer(router)
    (good, bad), requests = lines_of(lines, "ModelInfer")
    assert not requests
    assert (good["code"], good["outcome"], good["model"], good["id"]) == ("OK", "OK", "det", 'a"1')
    assert (good["target"], good["attempts"]) == ("det", 1)
    assert (good["request_bytes"], good["response_bytes"]) == (
        len(endpoint.seen[0].body),
        len(ANSWER),
    )
    assert 0 < good["target_ms"] <= good["total_ms"] <= good["duration_ms"]
    assert good["queue_ms"] == 0
    assert (bad["outcome"], bad["reason"], bad["target"]) == (bad["reason"], bad["reason"], "det")
    assert bad["message"].startswith("target det")


async def test_of_a_long_id_the_line_has_the_beginning(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    endpoint.default = Reply(body=ANSWER)
    settings = settings_for(write_catalog(tmp_path, json_model()), endpoint.url)
    with capture_logs() as lines:
        async with running_router(settings) as router:
            answer = await infer(router, row_request(request_id=10 * MAX_ID_BYTES * "i"))
    assert answer.id == 10 * MAX_ID_BYTES * "i"
    (line,), _ = lines_of(lines, "ModelInfer")
    assert line["id"] == MAX_ID_BYTES * "i"


async def test_each_frame_and_each_request_of_a_stream_has_a_line(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    settings = settings_for(
        write_catalog(tmp_path, json_model()), endpoint.url, stream_log_sampling_ratio=1
    )
    with capture_logs() as lines:
        async with running_router(settings) as router:
            names = ("first", "second", "second")
            endpoint.hold = asyncio.Event()

            async def frames() -> AsyncIterator[Frame]:
                for name in names:
                    yield Frame(name, Picture("image/png", b"picture"))
                await eventually(lambda: endpoint.in_flight == 2)
                assert endpoint.hold is not None
                endpoint.hold.set()

            assert len([each async for each in router.client.infer_frames("det", frames())]) == 3

            async def requests() -> AsyncIterator[OipMessage]:
                yield row_request(request_id="tensors")

            endpoint.respond = lambda _: Reply(body=ANSWER)
            async for answer in router.oip.ModelStreamInfer(requests()):
                assert not answer.error_message
    (call,), told = lines_of(lines, "Infer")
    assert "model" not in call
    assert sorted(each["id"] for each in told) == sorted(names)
    (refused,) = (each for each in told if each["code"] != "OK")
    assert (refused["outcome"], refused["attempts"]) == ("INVALID_REQUEST", 0)
    assert "is in flight already" in refused["message"]
    assert {each["trace_id"] for each in told} == {call["trace_id"]}
    assert {each["caller"] for each in told} == {call["caller"]}
    _, (tensors,) = lines_of(lines, "ModelStreamInfer")
    assert (tensors["id"], tensors["model"], tensors["outcome"]) == ("tensors", "det", "OK")


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ({"log_sampling_ratio": 0, "stream_log_sampling_ratio": 0}, ["INTERNAL"]),
        ({"log_requests": False}, []),
    ],
)
async def test_of_what_is_not_drawn_only_failures_have_a_line(
    endpoint: ScriptedEndpoint, tmp_path: Path, changes: dict[str, object], codes: list[str]
) -> None:
    endpoint.replies.extend((Reply(body=ANSWER), BROKEN, Reply(), BROKEN))
    settings = settings_for(write_catalog(tmp_path, json_model()), endpoint.url, **changes)
    with capture_logs() as lines:
        async with running_router(settings) as router:
            await infer(router)
            with pytest.raises(TargetError):
                await infer(router)
            for name in ("good", "bad"):
                frame = Frame(name, Picture("image/png", b"picture"))

                async def frames(frame: Frame = frame) -> AsyncIterator[Frame]:
                    yield frame

                async for answer in router.client.infer_frames("det", frames()):
                    assert answer.ok is (name == "good")
    calls, _ = lines_of(lines, "ModelInfer")
    streams, told = lines_of(lines, "Infer")
    assert [each["code"] for each in calls] == codes
    assert not streams, "they ended well"
    assert [each["id"] for each in told] == ["bad"] * len(codes)


async def test_the_servers_limit_for_a_call_is_its_deadline_and_counted_as_one(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    endpoint.hold = asyncio.Event()
    catalog = write_catalog(tmp_path, json_model())
    async with running_router(settings_for(catalog, endpoint.url, unary_timeout_s=0.3)) as router:
        with pytest.raises(DeadlineExceeded, match="unary_timeout_s"):
            await infer(router)
        labels = {"model": "det", "outcome": "DEADLINE_EXCEEDED"}
        assert metrics.value_of(REQUESTS, labels) == 1
        assert metrics.value_of(TARGET_FAILURES, {"model": "det", "target": "det"}) == 1
        endpoint.hold.set()


async def test_alone_in_its_batch_a_request_has_its_bytes_and_with_others_says_so(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    endpoint.replies.extend((Reply(body=ANSWER), BROKEN, Reply(body=BOTH)))
    options = {"max_queue_delay_microseconds": 1}
    described = {**json_model(), "picture_codec": None, "dynamic_batching": options}
    settings = settings_for(
        write_catalog(tmp_path, described), endpoint.url, limiter={"start": 1, "maximum": 1}
    )
    with capture_logs() as lines:
        async with running_router(settings) as router:
            await infer(router)
            with pytest.raises(TargetError, match="broken"):
                await infer(router)
            endpoint.hold = asyncio.Event()
            endpoint.replies.appendleft(Reply(body=ANSWER))
            door = router.router.models["det"].door
            async with asyncio.TaskGroup() as group:
                group.create_task(infer(router))
                await eventually(lambda: endpoint.in_flight == 1)
                for _ in range(2):
                    group.create_task(infer(router))
                batches = router.router.models["det"].batches
                assert batches is not None
                await eventually(lambda: (batches.members, door.waiting) == (2, 1))
                endpoint.hold.set()
            counts = router.router.models["det"].counts
    (good, bad, *_, one, other), _ = lines_of(lines, "ModelInfer")
    sent = [len(each.body) for each in endpoint.seen]
    assert (good["request_bytes"], good["response_bytes"]) == (sent[0], len(ANSWER))
    assert (bad["outcome"], bad["request_bytes"], bad["response_bytes"]) == (
        *(bad["reason"], sent[1], 0),
    )
    assert "batched" not in good
    assert "batched" not in bad
    for each in (one, other):
        assert (each["batched"], each["request_bytes"], each["response_bytes"]) == (True, 0, 0)
    assert (counts.request_bytes, counts.response_bytes) == (
        *(sum(sent), 2 * len(ANSWER) + len(BOTH)),
    )


def json_model() -> dict[str, object]:
    """A model whose tensors travel as JSON."""
    return model(tensor_codec="json_v2")


async def test_refusals_for_a_limits_sake_have_lines_up_to_a_bound_and_then_say_how_many_had_none(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    quota = [{"caller": "*", "requests_per_s": 0.001}]
    settings = settings_for(write_catalog(tmp_path, json_model()), endpoint.url, quotas=quota)
    endpoint.default = Reply(body=ANSWER)
    with capture_logs() as lines:
        async with running_router(settings) as router:
            await infer(router)
            refused = 0

            async def says_so() -> bool:
                nonlocal refused
                with pytest.raises(QuotaExceeded):
                    await infer(router)
                refused += 1
                return any("lines_left_out" in line for line in lines)

            await eventually(says_so)
    _, *told = lines_of(lines, "ModelInfer")[0]
    assert {line["code"] for line in told} == {"RESOURCE_EXHAUSTED"}
    assert len(told) >= REFUSALS_AT_ONCE
    assert refused - len(told) == told[-1]["lines_left_out"] > 0


async def test_of_what_a_caller_wrote_a_line_and_an_answer_in_a_stream_have_the_beginning(
    endpoint: ScriptedEndpoint, tmp_path: Path
) -> None:
    settings = settings_for(write_catalog(tmp_path, json_model()), endpoint.url)
    request = row_request()
    request.model_name = "m" * 100_000

    async def requests() -> AsyncIterator[OipMessage]:
        yield request

    with capture_logs() as lines:
        async with running_router(settings) as router:
            with pytest.raises(NotFound, match="mmm"):
                await infer(router, request)
            (answer,) = [each async for each in router.oip.ModelStreamInfer(requests())]
    assert answer.error_message.endswith("m…")
    assert len(answer.error_message.encode()) <= MAX_MESSAGE_BYTES
    (line,), _ = lines_of(lines, "ModelInfer")
    assert line["code"] == "NOT_FOUND"
    assert len(line["message"].encode()) <= MAX_MESSAGE_BYTES
