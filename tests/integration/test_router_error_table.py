"""The mapping table of docs/concepts/routing.md, row by row: real HTTP in, a gRPC status out.

Each row says what the endpoint sends, the status that the caller gets, how often the endpoint was
asked, and the pause that the caller is told.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from simcloud.errors import SimcloudError, TargetError
from simcloud.oip.pool import OipMessage
from simcloud.rpc.status import client_errors
from support.router import (
    RunningRouter,
    model,
    row_request,
    running_router,
    settings_for,
    write_catalog,
)
from support.scripted_endpoint import Reply, ScriptedEndpoint
from support.stale import no_connection_is_idle

Code = grpc.StatusCode
NO_CAPACITY = "Inference Component has no capacity to process this request."
REFUSED = "User: arn:aws:sts::123456789012:assumed-role/router/i-1 is not authorized"


@dataclass(frozen=True, slots=True)
class Row:
    """One row."""

    sent: Reply
    code: grpc.StatusCode
    attempts: int
    pause_s: float | None = None
    words: str = "why"


def runtime(status: int, code: str = "", message: str = "why", **more: object) -> Reply:
    """An error as the SageMaker runtime sends it."""
    headers = {"content-type": "application/json", "x-amzn-RequestId": "req-9"}
    if code:
        headers["x-amzn-ErrorType"] = f"{code}:http://internal.amazon.com/"
    return Reply(status, json.dumps({"Message": message, **more}).encode(), headers)


def model_error(original: int | None, text: str = "why") -> Reply:
    more: dict[str, object] = {"OriginalMessage": text}
    if original is not None:
        more["OriginalStatusCode"] = original
    return runtime(424, "ModelError", "Received an error from the container", **more)


def after(reply: Reply, **headers: str) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(reply.status, reply.body, {**reply.headers, **named})


SAGEMAKER = {
    "ValidationError": Row(runtime(400, "ValidationError"), Code.INVALID_ARGUMENT, 1),
    "not found": Row(
        runtime(400, "ValidationError", "Endpoint det of account 1 not found."),
        *(Code.NOT_FOUND, 1, None, "not found"),
    ),
    "no capacity": Row(
        runtime(400, "ValidationError", NO_CAPACITY), Code.UNAVAILABLE, 1, 30.0, "no capacity"
    ),
    "throttled as 400": Row(runtime(400, "ThrottlingException"), Code.RESOURCE_EXHAUSTED, 2, 1.0),
    "throttled": Row(runtime(429, "ThrottlingException"), Code.RESOURCE_EXHAUSTED, 2, 1.0),
    "429 without a code": Row(runtime(429), Code.RESOURCE_EXHAUSTED, 2, 1.0),
    "a pause that is waited for": Row(
        after(runtime(429, "ThrottlingException"), x_amz_retry_after="20"),
        *(Code.RESOURCE_EXHAUSTED, 2, 0.02),
    ),
    "a pause that is not": Row(
        after(runtime(429, "ThrottlingException"), retry_after="60"),
        *(Code.RESOURCE_EXHAUSTED, 1, 60.0),
    ),
    "ModelNotReady": Row(
        after(runtime(429, "ModelNotReadyException"), x_amz_retry_after="10"),
        *(Code.UNAVAILABLE, 2, 0.01),
    ),
    "InternalFailure": Row(runtime(500, "InternalFailure"), Code.INTERNAL, 2),
    "502": Row(runtime(502), Code.INTERNAL, 2),
    "ServiceUnavailable": Row(runtime(503, "ServiceUnavailable"), Code.UNAVAILABLE, 2),
    "504": Row(runtime(504), Code.DEADLINE_EXCEEDED, 1),
    "408": Row(runtime(408), Code.DEADLINE_EXCEEDED, 1),
    "InternalDependency": Row(runtime(530, "InternalDependencyException"), Code.INTERNAL, 2),
    "credentials": Row(
        runtime(403, "ExpiredTokenException", REFUSED), Code.UNAUTHENTICATED, 1, None, "refused"
    ),
    "401": Row(runtime(401, "", REFUSED), Code.UNAUTHENTICATED, 1, None, "refused"),
    "access": Row(
        runtime(403, "AccessDeniedException", REFUSED), Code.PERMISSION_DENIED, 1, None, "refused"
    ),
    "404": Row(runtime(404), Code.NOT_FOUND, 1),
    "413": Row(runtime(413), Code.INVALID_ARGUMENT, 1),
    "ModelError 0": Row(model_error(0), Code.DEADLINE_EXCEEDED, 1),
    "ModelError 400": Row(model_error(400), Code.INVALID_ARGUMENT, 1),
    "ModelError 400, Triton is full": Row(
        model_error(400, '{"error":"Exceeds maximum queue size"}'),
        *(Code.RESOURCE_EXHAUSTED, 2, 1.0, "queue size"),
    ),
    "ModelError 400, Triton timed out": Row(
        model_error(400, '{"error":"Request timeout expired"}'),
        *(Code.DEADLINE_EXCEEDED, 1, None, "expired"),
    ),
    "ModelError 404": Row(model_error(404), Code.NOT_FOUND, 1),
    "ModelError 429": Row(model_error(429), Code.RESOURCE_EXHAUSTED, 2, 1.0),
    "ModelError 500": Row(model_error(500), Code.INTERNAL, 1),
    "ModelError 503": Row(model_error(503), Code.UNAVAILABLE, 2),
    "ModelError 507": Row(model_error(507), Code.UNAVAILABLE, 2),
    "ModelError without": Row(model_error(None), Code.INTERNAL, 1),
    "no answer but 200": Row(Reply(200, b"<html>"), Code.INTERNAL, 1, None, "not JSON"),
    "hung up": Row(Reply(hang_up=True), Code.UNAVAILABLE, 1, None, "closed the connection"),
}

CONTAINER = {
    **{
        str(status): Row(
            Reply(status, b'{"error":"why"}'), code, attempts, 1.0 if status == 429 else None
        )
        for status, code, attempts in (
            (400, Code.INVALID_ARGUMENT, 1),
            (401, Code.PERMISSION_DENIED, 1),
            (403, Code.PERMISSION_DENIED, 1),
            (404, Code.NOT_FOUND, 1),
            (408, Code.DEADLINE_EXCEEDED, 1),
            (415, Code.INVALID_ARGUMENT, 1),
            (429, Code.RESOURCE_EXHAUSTED, 2),
            (500, Code.INTERNAL, 1),
            (503, Code.UNAVAILABLE, 2),
            (504, Code.DEADLINE_EXCEEDED, 1),
            (507, Code.UNAVAILABLE, 2),
        )
    },
    "302": Row(Reply(302, b"why", {"location": "http://127.0.0.1/"}), Code.INTERNAL, 1),
}


@pytest.fixture
async def router(endpoint: ScriptedEndpoint, tmp_path: Path) -> AsyncIterator[RunningRouter]:
    plain = {"name": "plain", "kind": "container", "url": endpoint.url}
    catalog = write_catalog(tmp_path, model(), model("plain", targets=[plain]))
    retry = {"base_s": 0.001, "floor_per_s": 100.0}
    async with running_router(settings_for(catalog, endpoint.url, retry=retry)) as running:
        yield running


async def fails_as(
    row: Row, router: RunningRouter, endpoint: ScriptedEndpoint, name: str
) -> SimcloudError:
    endpoint.default = row.sent
    with pytest.raises(SimcloudError, match=row.words) as caught, client_errors():
        await router.oip.ModelInfer(row_request(name), timeout=20)
    error = caught.value
    assert error.code is row.code
    assert getattr(error, "retry_after_s", None) == row.pause_s
    assert error.metadata["target"] == name
    # AWS's words about our role are for the log.
    assert "123456789012" not in error.message
    return error


async def errors_of(
    rows: Mapping[str, Row], router: RunningRouter, endpoint: ScriptedEndpoint, name: str
) -> list[tuple[Row, SimcloudError]]:
    """What a model's callers get, row by row."""
    found = []
    for title, row in rows.items():
        before = len(endpoint.seen)
        try:
            found.append((row, await fails_as(row, router, endpoint, name)))
            assert len(endpoint.seen) - before == row.attempts
        except BaseException as exc:
            exc.add_note(f"row: {title}")
            raise
    return found


async def test_every_error_of_the_runtime_is_what_the_table_says(
    router: RunningRouter, endpoint: ScriptedEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_connection_is_idle(monkeypatch)
    for row, error in await errors_of(SAGEMAKER, router, endpoint, "det"):
        if type(error) is TargetError and row.sent.status != 200:
            assert error.metadata["http_status"] == str(row.sent.status)
            assert error.metadata["request_id"] == "req-9"


async def test_every_error_of_a_container_is_what_the_table_says(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    await errors_of(CONTAINER, router, endpoint, "plain")


async def test_the_same_errors_are_in_band_on_a_stream(
    router: RunningRouter, endpoint: ScriptedEndpoint
) -> None:
    async def requests() -> AsyncIterator[OipMessage]:
        yield row_request()

    for row in (SAGEMAKER["ValidationError"], SAGEMAKER["ServiceUnavailable"]):
        endpoint.default = row.sent
        call = router.oip.ModelStreamInfer(requests(), timeout=20)
        (answer,) = [each async for each in call]
        assert row.words in answer.error_message
        assert await call.code() is Code.OK


async def test_a_timeout_is_asked_once(endpoint: ScriptedEndpoint, tmp_path: Path) -> None:
    hold = asyncio.Event()
    row = Row(Reply(hold=hold), Code.DEADLINE_EXCEEDED, 1, None, "did not answer within")
    target = {"name": "det", "kind": "sagemaker", "endpoint": "det", "timeout_s": 0.2}
    catalog = write_catalog(tmp_path, model(targets=[target]))
    asked = 0
    async with running_router(settings_for(catalog, endpoint.url)) as router:
        while not endpoint.seen:
            # Again when a busy machine took all of the time before anything was sent.
            asked += row.attempts
            await fails_as(row, router, endpoint, "det")
    assert len(endpoint.seen) <= asked
    hold.set()
