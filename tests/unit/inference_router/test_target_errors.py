from __future__ import annotations

import json

import grpc
import pytest
from multidict import CIMultiDict

from simcloud.errors import Overloaded, TargetError, Transient
from simcloud_inference_router.targets.base import Failure
from simcloud_inference_router.targets.errors import (
    STALE_BREAK_S,
    STALE_IDLE_S,
    Lost,
    WireError,
    connection_lost,
    container_failure,
    no_connection,
    read_error,
    sagemaker_failure,
    timed_out,
)

Code = grpc.StatusCode
NO, RETRY, SHRINK = (False, False), (True, False), (True, True)


def wire(
    status: int, code: str = "", /, headers: dict[str, str] | None = None, **body: object
) -> WireError:
    sent = CIMultiDict({**({"x-amzn-ErrorType": code} if code else {}), **(headers or {})})
    return read_error("det", status, sent, json.dumps(body).encode())


def lost(
    *,
    answering: bool = False,
    idle_s: float | None = STALE_IDLE_S,
    after_s: float = STALE_BREAK_S,
) -> Failure:
    return connection_lost(
        "det", "reset", Lost(answering=answering, idle_s=idle_s, after_s=after_s)
    )


def model_error(original: int | None, text: str = "boom") -> Failure:
    body: dict[str, object] = {"Message": "Received an error", "OriginalMessage": text}
    if original is not None:
        body["OriginalStatusCode"] = original
    return sagemaker_failure(wire(424, "ModelError", None, **body))


@pytest.mark.parametrize(
    ("status", "code", "message", "expected", "action"),
    [
        (400, "ValidationError", "bad body", Code.INVALID_ARGUMENT, NO),
        (400, "ValidationError", "Endpoint x of account 1 not found.", Code.NOT_FOUND, NO),
        (
            400,
            "ValidationError",
            "Inference Component has no capacity to process this request.",
            Code.UNAVAILABLE,
            NO,
        ),
        (400, "ThrottlingException", "Rate exceeded", Code.RESOURCE_EXHAUSTED, SHRINK),
        (429, "ThrottlingException", "Rate exceeded", Code.RESOURCE_EXHAUSTED, SHRINK),
        (429, "ModelNotReadyException", "loading", Code.UNAVAILABLE, SHRINK),
        (429, "", "", Code.RESOURCE_EXHAUSTED, SHRINK),
        (500, "InternalFailure", "", Code.INTERNAL, RETRY),
        (503, "ServiceUnavailable", "", Code.UNAVAILABLE, SHRINK),
        (504, "", "", Code.DEADLINE_EXCEEDED, NO),
        (530, "InternalDependencyException", "", Code.INTERNAL, RETRY),
        (403, "ExpiredTokenException", "", Code.UNAUTHENTICATED, NO),
        (403, "UnrecognizedClientException", "", Code.UNAUTHENTICATED, NO),
        (403, "InvalidSignatureException", "", Code.UNAUTHENTICATED, NO),
        (403, "AccessDeniedException", "", Code.PERMISSION_DENIED, NO),
        (403, "", "", Code.PERMISSION_DENIED, NO),
        (401, "", "", Code.UNAUTHENTICATED, NO),
        (404, "", "", Code.NOT_FOUND, NO),
        (408, "", "", Code.DEADLINE_EXCEEDED, NO),
        (413, "", "", Code.INVALID_ARGUMENT, NO),
        (302, "", "", Code.INTERNAL, NO),
    ],
)
def test_runtime_errors_map_as_the_table_says(
    status: int, code: str, message: str, expected: grpc.StatusCode, action: tuple[bool, bool]
) -> None:
    failure = sagemaker_failure(wire(status, code, Message=message))
    assert failure.error.code is expected
    assert (failure.retry, failure.shrink) == action
    assert failure.refresh == (expected is Code.UNAUTHENTICATED)
    assert "det" in failure.error.message


@pytest.mark.parametrize(
    ("original", "text", "expected", "action"),
    [
        (0, "Your invocation timed out", Code.DEADLINE_EXCEEDED, NO),
        (400, "bad picture", Code.INVALID_ARGUMENT, NO),
        (404, "no such model", Code.NOT_FOUND, NO),
        (429, "busy", Code.RESOURCE_EXHAUSTED, RETRY),
        (500, "boom", Code.INTERNAL, NO),
        (502, "boom", Code.INTERNAL, NO),
        (503, "loading", Code.UNAVAILABLE, RETRY),
        (507, "no memory", Code.UNAVAILABLE, RETRY),
        (400, '{"error":"Exceeds maximum queue size"}', Code.RESOURCE_EXHAUSTED, RETRY),
        (400, '{"error":"Request timeout expired"}', Code.DEADLINE_EXCEEDED, NO),
        (None, "boom", Code.INTERNAL, NO),
    ],
)
def test_a_model_error_maps_by_what_the_container_said_and_never_shrinks(
    original: int | None, text: str, expected: grpc.StatusCode, action: tuple[bool, bool]
) -> None:
    failure = model_error(original, text)
    assert failure.error.code is expected
    assert (failure.retry, failure.shrink) == action


@pytest.mark.parametrize(
    ("status", "expected", "action"),
    [
        (400, Code.INVALID_ARGUMENT, NO),
        (401, Code.PERMISSION_DENIED, NO),
        (403, Code.PERMISSION_DENIED, NO),
        (404, Code.NOT_FOUND, NO),
        (408, Code.DEADLINE_EXCEEDED, NO),
        (413, Code.INVALID_ARGUMENT, NO),
        (429, Code.RESOURCE_EXHAUSTED, SHRINK),
        (500, Code.INTERNAL, NO),
        (503, Code.UNAVAILABLE, SHRINK),
        (504, Code.DEADLINE_EXCEEDED, NO),
        (507, Code.UNAVAILABLE, RETRY),
    ],
)
def test_a_container_speaks_for_its_load_itself(
    status: int, expected: grpc.StatusCode, action: tuple[bool, bool]
) -> None:
    failure = container_failure(wire(status, error="why"))
    assert failure.error.code is expected
    assert (failure.retry, failure.shrink) == action
    assert "why" in failure.error.message


@pytest.mark.parametrize(
    ("failure", "expected", "action"),
    [
        (no_connection("det", "refused"), Code.UNAVAILABLE, SHRINK),
        (lost(), Code.UNAVAILABLE, RETRY),
        (lost(after_s=STALE_BREAK_S + 0.01), Code.UNAVAILABLE, NO),
        (lost(idle_s=STALE_IDLE_S - 0.01, after_s=0.0), Code.UNAVAILABLE, NO),
        (lost(idle_s=None, after_s=0.0), Code.UNAVAILABLE, NO),
        (lost(answering=True), Code.UNAVAILABLE, NO),
        (timed_out("det", 60.0), Code.DEADLINE_EXCEEDED, NO),
    ],
)
def test_what_was_surely_not_worked_on_may_be_retried_and_timeouts_never(
    failure: Failure, expected: grpc.StatusCode, action: tuple[bool, bool]
) -> None:
    assert failure.error.code is expected
    assert (failure.retry, failure.shrink) == action


def test_the_targets_own_pause_is_passed_on_in_seconds() -> None:
    failure = sagemaker_failure(wire(429, "", {"Retry-After": "3"}))
    assert isinstance(failure.error, Overloaded)
    assert (failure.pause_s, failure.error.retry_after_s) == (3.0, 3.0)
    failure = sagemaker_failure(wire(503, "ServiceUnavailable", {"x-amz-retry-after": "250"}))
    assert isinstance(failure.error, Transient)
    assert (failure.pause_s, failure.error.retry_after_s) == (0.25, 0.25)


def test_a_model_that_is_loading_asks_for_a_pause_of_its_own() -> None:
    failure = sagemaker_failure(wire(429, "ModelNotReadyException"))
    assert failure.pause_s == 1.0


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[1]", b'"text"', b"\xff\xfe", b'{"Message": 3}']
)
def test_any_body_makes_an_error(body: bytes) -> None:
    failure = sagemaker_failure(read_error("det", 500, CIMultiDict(), body))
    assert failure.error.code is Code.INTERNAL


@pytest.mark.parametrize(
    "code",
    [
        "ModelError",
        "ModelError:http://internal.amazon.com/coral/com.amazon.coral.service/",
        "com.amazonaws.sagemaker#ModelError",
    ],
)
def test_the_error_code_is_read_in_every_form_that_occurs(code: str) -> None:
    assert wire(424, code).code == "ModelError"


def test_the_request_id_of_the_target_is_kept() -> None:
    failure = sagemaker_failure(
        wire(500, "InternalFailure", {"x-amzn-RequestId": "abc"}, Message="m")
    )
    assert isinstance(failure.error, TargetError)
    assert failure.error.request_id == "abc"
    assert failure.error.target_code == "InternalFailure"


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"Message": ' + b"1" * 5000 + b"}",
        b'{"Message": "\\ud800", "__type": "\\udfff"}',
        b"\xff\xfe",
        b"",
    ],
)
def test_no_body_makes_reading_an_error_fail_and_its_text_fits_into_a_message(body: bytes) -> None:
    headers = CIMultiDict({"retry-after": "9" * 5000, "x-amzn-requestid": "\udcff"})
    wired = read_error("det", 400, headers, body)
    assert wired.retry_after_s is None
    for text in (wired.text, wired.code, wired.request_id):
        text.encode()


def test_what_aws_says_of_our_role_is_not_told_to_callers() -> None:
    said = "User: arn:aws:sts::123456789012:assumed-role/router/i-1 is not authorized"
    failure = sagemaker_failure(wire(403, "AccessDeniedException", Message=said))
    assert failure.error.code is Code.PERMISSION_DENIED
    assert "123456789012" not in failure.error.message
    assert "AccessDeniedException" in failure.error.message
