from __future__ import annotations

import json

import pytest

from simcloud_model_container.errors import (
    BadRequest,
    BodyTooLarge,
    InferenceFailed,
    NotReady,
    Overloaded,
    RequestRefused,
    SignatureRefused,
    TimedOut,
    UnknownEndpoint,
    UnsupportedContentType,
)
from simcloud_model_container.sagemaker import front_end_error


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (UnknownEndpoint("x"), 400, "ValidationError"),
        (BodyTooLarge("x"), 400, "ValidationError"),
        (NotReady("x"), 503, "ServiceUnavailable"),
        (SignatureRefused("InvalidSignatureException", "x"), 403, "InvalidSignatureException"),
        (BadRequest("x"), 424, "ModelError"),
        (UnsupportedContentType("x"), 424, "ModelError"),
        (Overloaded("x"), 424, "ModelError"),
        (InferenceFailed("x"), 424, "ModelError"),
    ],
)
def test_each_refusal_has_the_front_end_s_status_and_code(
    error: RequestRefused, status: int, code: str
) -> None:
    answer = front_end_error(error, endpoint="e")
    assert (answer.status, answer.code) == (status, code)
    assert json.loads(answer.body())


def test_a_timeout_quotes_no_status_of_the_container() -> None:
    members = front_end_error(TimedOut("slow"), endpoint="e").members
    assert members["OriginalStatusCode"] == 0
    assert "Your invocation timed out" in str(members["Message"])


@pytest.mark.parametrize("error", [BadRequest("bad"), Overloaded("full"), InferenceFailed("oops")])
def test_a_model_error_carries_the_container_s_status_and_body(error: RequestRefused) -> None:
    members = front_end_error(error, endpoint="e").members
    assert members["OriginalStatusCode"] == error.status
    assert members["OriginalMessage"] == json.dumps({"error": error.message})
