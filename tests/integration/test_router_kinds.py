"""Kinds of targets: serverless, multi-model, AWS's own router; sessions; rows as JSON and CSV."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from simcloud.errors import InvalidRequest, NotReady, TargetError, Unsupported
from simcloud.oip.pool import OipMessage
from simcloud.oip.tensors import fill_request, new, output_arrays
from simcloud.rpc.status import client_errors
from support.eventually import eventually
from support.router import RunningRouter, model, running_router, settings_for, write_catalog
from support.scripted_endpoint import (
    Invocation,
    Reply,
    ScriptedEndpoint,
    error,
    scripted_endpoint,
)


def rows(name: str, **target: object) -> dict[str, object]:
    """A model of rows as JSON at a target of some kind."""
    return model(name, tensor_codec="instances_json", targets=[{"name": name, **target}])


@pytest.fixture
async def endpoint() -> AsyncIterator[ScriptedEndpoint]:
    async with scripted_endpoint() as running:
        running.respond = doubled
        yield running


@pytest.fixture
async def router(endpoint: ScriptedEndpoint, tmp_path: Path) -> AsyncIterator[RunningRouter]:
    scored = {"datatype": "FP32", "shape": [-1]}
    catalog = write_catalog(
        tmp_path,
        rows("plain", kind="container", url=endpoint.url),
        rows("cold", kind="sagemaker_serverless", endpoint="cold"),
        rows(
            "aws",
            kind="aws_inference_router",
            inference_router="fleet",
            routing_target="detectors",
            url=endpoint.url,
        ),
        rows(
            "many",
            kind="sagemaker",
            endpoint="many",
            target_model="default.tar.gz",
            target_models=["team-a/*.tar.gz", "shared.tar.gz"],
        ),
        rows("talks", kind="sagemaker", endpoint="talks", sessions=True),
        rows("stateless", kind="sagemaker", endpoint="stateless"),
        model(
            "trees",
            tensor_codec="csv",
            outputs=[{"name": "y", **scored}],
            targets=[{"name": "trees", "kind": "sagemaker", "endpoint": "trees"}],
        ),
    )
    settings = settings_for(catalog, endpoint.url, retry={"base_s": 0.001})
    async with running_router(settings) as running:
        yield running


def doubled(seen: Invocation) -> Reply:
    """Each number twice as large, in the request's own encoding."""
    if seen.headers["Content-Type"] == "text/csv":
        lines = seen.body.decode().splitlines()
        sums = [sum(map(float, line.split(","))) for line in lines]
        return Reply(200, ",".join(map(str, sums)).encode(), {"content-type": "text/csv"})
    instances = np.array(json.loads(seen.body)["instances"])
    body = json.dumps({"predictions": (instances * 2).tolist()}).encode()
    return Reply(200, body)


def asks(name: str, request_id: str = "", **parameters: bool | int | str) -> OipMessage:
    request = new("ModelInferRequest")
    request.model_name, request.id = name, request_id
    fill_request(request, [("x", np.array([[1, 2, 3, 4]], np.float32))])
    for key, value in parameters.items():
        parameter = request.parameters[key]
        match value:
            case bool():
                parameter.bool_param = value
            case int():
                parameter.int64_param = value
            case str():
                parameter.string_param = value
    return request


async def infer(router: RunningRouter, request: OipMessage) -> OipMessage:
    with client_errors():
        return await router.oip.ModelInfer(request, timeout=20)


async def stream(router: RunningRouter, requests: Sequence[OipMessage]) -> list[OipMessage]:
    async def each() -> AsyncIterator[OipMessage]:
        for request in requests:
            yield request

    with client_errors():
        return [response async for response in router.oip.ModelStreamInfer(each(), timeout=20)]


def headers(seen: Invocation) -> dict[str, str]:
    return {name.lower(): value for name, value in seen.headers.items()}


async def test_a_serverless_endpoint_is_asked_as_any_and_takes_less(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    response = await infer(router, asks("cold"))
    assert output_arrays(response)["y"].tolist() == [[2, 4, 6, 8]]
    assert endpoint.seen[0].path == "/endpoints/cold/invocations"
    (target,) = router.router.served.catalog.model("cold").targets
    assert target.max_request_bytes == 4 << 20


async def test_what_a_container_says_beside_its_answer_comes_back(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    def respond(seen: Invocation) -> Reply:
        answer = doubled(seen)
        more = {"X-Amzn-SageMaker-Custom-Attributes": "lane=2"}
        return Reply(200, answer.body, {**answer.headers, **more})

    endpoint.respond = respond
    response = await infer(router, asks("plain"))
    assert response.parameters["sm_custom_attributes"].string_param == "lane=2"
    assert endpoint.seen[0].path == "/invocations"


async def test_aws_own_router_is_asked_by_its_path_and_says_whom_it_asked(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    arn = "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/det-west"

    def respond(seen: Invocation) -> Reply:
        answer = doubled(seen)
        more = {
            "x-amzn-sagemaker-invoked-routed-resource-arn": arn,
            "x-amzn-sagemaker-invoked-routing-reason": "failover",
            "x-amzn-sagemaker-custom-attributes": "lane=2",
        }
        return Reply(200, answer.body, {**answer.headers, **more})

    endpoint.respond = respond
    response = await infer(router, asks("aws", "r-1"))
    assert response.parameters["sm_custom_attributes"].string_param == "lane=2"
    (seen,) = endpoint.seen
    sent = headers(seen)
    assert seen.path == "/inference-routers/fleet/invocations"
    assert sent["x-amzn-sagemaker-routing-target-name"] == "detectors"
    assert sent["x-amzn-sagemaker-inference-id"] == "r-1"
    assert "/sagemaker/aws4_request" in sent["authorization"]


@pytest.mark.parametrize(
    ("status", "code", "sent"),
    [
        (503, "ServiceUnavailableException", 2),
        (429, "ModelNotReadyException", 2),
        (408, "RequestTimeoutException", 1),
        (400, "ValidationException", 1),
    ],
)
async def test_the_names_of_aws_routers_errors_mean_what_the_runtimes_do(
    router: RunningRouter, endpoint: ScriptedEndpoint, status: int, code: str, sent: int
) -> None:
    replies = [error(status, code, "no", **{"retry-after": "0"})]
    endpoint.respond = lambda seen: replies.pop() if replies else doubled(seen)
    if sent == 1:
        with pytest.raises(Exception, match="no"):
            await infer(router, asks("aws"))
    else:
        await infer(router, asks("aws"))
    assert len(endpoint.seen) == sent


async def test_a_request_may_choose_a_model_that_the_catalogue_allows(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    await infer(router, asks("many"))
    await infer(router, asks("many", sm_target_model="team-a/v2.tar.gz"))
    await infer(router, asks("many", sm_target_model="shared.tar.gz"))
    chosen = [headers(seen)["x-amzn-sagemaker-target-model"] for seen in endpoint.seen]
    assert chosen == ["default.tar.gz", "team-a/v2.tar.gz", "shared.tar.gz"]
    for refused in ("team-b/v1.tar.gz", "team-a/x/y.tar.gz", "team-a/..tar.gz", "shared_tar.gz"):
        with pytest.raises(InvalidRequest, match="the catalogue allows"):
            await infer(router, asks("many", sm_target_model=refused))
    with pytest.raises(InvalidRequest, match="allows: none"):
        await infer(router, asks("cold", sm_target_model="a"))
    assert len(endpoint.seen) == 3


async def test_a_model_that_is_being_loaded_is_asked_again_once_and_then_told(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    loading = error(429, "ModelNotReadyException", "loading", **{"x-amz-retry-after": "5"})
    replies = [loading]
    endpoint.respond = lambda seen: replies.pop() if replies else doubled(seen)
    await infer(router, asks("many"))
    assert len(endpoint.seen) == 2
    endpoint.respond = lambda seen: loading
    with pytest.raises(NotReady, match="loading"):
        await infer(router, asks("many"))
    assert len(endpoint.seen) == 4


class Conversation:
    """A stateful model: a session for who asks for one, closed when the sequence ends."""

    def __init__(self) -> None:
        self.sessions = 0
        self.asked: list[str] = []
        self.close_after = 0

    def respond(self, seen: Invocation) -> Reply:
        session = headers(seen).get("x-amzn-sagemaker-session-id", "")
        self.asked.append(session)
        answer = doubled(seen)
        more: dict[str, str] = {}
        if session == "NEW_SESSION":
            self.sessions += 1
            expires = "Expires=2026-11-21T12:00:00Z"
            more["x-amzn-sagemaker-new-session-id"] = f"s-{self.sessions}; {expires}"
        elif len(self.asked) == self.close_after:
            more["x-amzn-sagemaker-closed-session-id"] = session
        return Reply(200, answer.body, {**answer.headers, **more})


async def test_a_sequence_on_a_stream_is_a_session_and_runs_in_order(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    talk = Conversation()
    endpoint.respond = talk.respond
    got = await stream(
        router,
        [
            asks("talks", "1", sequence_id=7, sequence_start=True),
            asks("talks", "2", sequence_id=7),
            asks("talks", "3", sequence_id=7, sequence_end=True),
            asks("talks", "4", sequence_id=7),
            asks("talks", "5", sequence_id="other"),
        ],
    )
    assert talk.asked == ["NEW_SESSION", "s-1", "s-1"]
    assert endpoint.peak == 1
    assert [each.infer_response.id for each in got] == ["1", "2", "3", "4", "5"]
    assert got[0].infer_response.parameters["sm_session_id"].string_param.endswith(":s-1")
    for refused in got[3:]:
        assert "sequence_start" in refused.error_message


async def test_sequences_of_one_stream_run_beside_each_other(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    talk = Conversation()
    endpoint.respond = talk.respond
    hold = asyncio.Event()
    endpoint.hold = hold
    waiting = asyncio.ensure_future(
        stream(
            router,
            [
                asks("talks", sequence_id=number, sequence_start=start)
                for number in (1, 2, 3)
                for start in (True, False)
            ],
        )
    )
    await eventually(lambda: endpoint.in_flight == 3)
    hold.set()
    answers = await waiting
    assert not any(each.error_message for each in answers)
    assert sorted(talk.asked) == ["NEW_SESSION"] * 3 + ["s-1", "s-2", "s-3"]


async def test_a_session_that_the_model_closes_is_over(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    talk = Conversation()
    talk.close_after = 2
    endpoint.respond = talk.respond
    steps = [asks("talks", sequence_id=1, sequence_start=start) for start in (True, False, False)]
    got = await stream(router, steps)
    assert got[1].infer_response.parameters["sm_closed_session_id"].string_param == "s-1"
    assert "is not open" in got[2].error_message


async def test_a_caller_goes_on_with_a_session_by_echoing_it(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    talk = Conversation()
    endpoint.respond = talk.respond
    first = await infer(router, asks("talks", sequence_id=1, sequence_start=True))
    token = first.parameters["sm_session_id"].string_param
    await infer(router, asks("talks", sequence_id=1, sm_session_id=token))
    (answer,) = await stream(router, [asks("talks", sm_session_id=token)])
    assert not answer.error_message
    assert talk.asked == ["NEW_SESSION", "s-1", "s-1"]
    with pytest.raises(InvalidRequest, match="names the session"):
        await infer(router, asks("talks", sequence_id=1))
    with pytest.raises(InvalidRequest, match="keeps no sessions"):
        await infer(router, asks("stateless", sm_session_id=token))


async def test_a_model_that_makes_no_session_is_the_targets_error_and_begins_none(
    router: RunningRouter,
) -> None:
    with pytest.raises(TargetError, match="made none"):
        await infer(router, asks("talks", sequence_id=1, sequence_start=True))
    got = await stream(
        router,
        [asks("talks", sequence_id=1, sequence_start=True), asks("talks", sequence_id=1)],
    )
    assert "made none" in got[0].error_message
    assert "is not open" in got[1].error_message


async def test_sequences_of_other_models_only_keep_their_order(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    await stream(router, [asks("stateless", sequence_id=3) for _ in range(4)])
    assert endpoint.peak == 1
    assert all("x-amzn-sagemaker-session-id" not in headers(seen) for seen in endpoint.seen)
    attributes = headers(endpoint.seen[0])["x-amzn-sagemaker-custom-attributes"]
    assert "sequence_id=3" in attributes


async def test_rows_as_csv_go_to_a_model_of_trees(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    response = await infer(router, asks("trees"))
    assert output_arrays(response)["y"].tolist() == [10]
    assert endpoint.seen[0].body == b"1.0,2.0,3.0,4.0"
    request = asks("trees")
    request.raw_input_contents[0] = np.array([np.nan] * 4, np.float32).tobytes()
    with pytest.raises(Unsupported, match="NaN"):
        await infer(router, request)
