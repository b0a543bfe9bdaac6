"""What S3 says, in our words."""

from __future__ import annotations

import aiohttp
import grpc
import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError

from simcloud.errors import SimcloudError
from simcloud.s3 import errors
from simcloud.s3.errors import Conditional, translating


def answer(code: str, status: int) -> ClientError:
    return ClientError(
        {
            "Error": {"Code": code, "Message": "words of S3"},
            "ResponseMetadata": {
                "HTTPStatusCode": status,
                "RequestId": "REQ1",
                "HostId": "",
                "HTTPHeaders": {},
                "RetryAttempts": 0,
            },
        },
        "Operation",
    )


@pytest.mark.parametrize(
    ("code", "status", "kind", "grpc_code"),
    [
        ("NoSuchBucket", 404, errors.NoSuchBucket, grpc.StatusCode.NOT_FOUND),
        ("NoSuchKey", 404, errors.NoSuchKey, grpc.StatusCode.NOT_FOUND),
        ("404", 404, errors.NoSuchKey, grpc.StatusCode.NOT_FOUND),
        ("NoSuchUpload", 404, errors.NoSuchUpload, grpc.StatusCode.NOT_FOUND),
        ("PreconditionFailed", 412, errors.ObjectExists, grpc.StatusCode.ALREADY_EXISTS),
        ("ConditionalRequestConflict", 409, errors.ConditionalConflict, grpc.StatusCode.ABORTED),
        ("InvalidPart", 400, errors.InvalidPart, grpc.StatusCode.FAILED_PRECONDITION),
        ("InvalidPartOrder", 400, errors.InvalidPart, grpc.StatusCode.FAILED_PRECONDITION),
        ("EntityTooSmall", 400, errors.EntityTooSmall, grpc.StatusCode.FAILED_PRECONDITION),
        ("BadDigest", 400, errors.BadDigest, grpc.StatusCode.DATA_LOSS),
        ("InvalidRange", 416, errors.RangeBeyondEnd, grpc.StatusCode.DATA_LOSS),
        ("AccessDenied", 403, errors.AccessDenied, grpc.StatusCode.PERMISSION_DENIED),
        ("403", 403, errors.AccessDenied, grpc.StatusCode.PERMISSION_DENIED),
        ("SignatureDoesNotMatch", 403, errors.BadCredentials, grpc.StatusCode.UNAUTHENTICATED),
        ("ExpiredToken", 400, errors.ExpiredCredentials, grpc.StatusCode.UNAVAILABLE),
        ("400", 400, errors.ExpiredCredentials, grpc.StatusCode.UNAVAILABLE),
        ("NotImplemented", 501, errors.Refused, grpc.StatusCode.FAILED_PRECONDITION),
        ("SlowDown", 503, errors.SlowDown, grpc.StatusCode.UNAVAILABLE),
        ("TooManyRequests", 429, errors.SlowDown, grpc.StatusCode.UNAVAILABLE),
        ("InternalError", 500, errors.ServerFailed, grpc.StatusCode.UNAVAILABLE),
        ("InternalError", 200, errors.ServerFailed, grpc.StatusCode.UNAVAILABLE),
        ("ServiceUnavailable", 503, errors.ServerFailed, grpc.StatusCode.UNAVAILABLE),
        ("RequestTimeout", 400, errors.NoAnswer, grpc.StatusCode.UNAVAILABLE),
        ("Unheard", 502, errors.ServerFailed, grpc.StatusCode.UNAVAILABLE),
        ("InvalidArgument", 400, errors.Refused, grpc.StatusCode.FAILED_PRECONDITION),
    ],
)
def test_each_answer_has_its_class_and_keeps_what_s3_said(
    code: str, status: int, kind: type[SimcloudError], grpc_code: grpc.StatusCode
) -> None:
    with (
        pytest.raises(kind) as caught,
        translating("PutObject", bucket="renders", key="a/b"),
    ):
        raise answer(code, status)
    error = caught.value
    assert type(error) is kind
    assert error.code is grpc_code
    assert error.metadata["s3_code"] == code
    assert error.metadata["http_status"] == str(status)
    assert error.metadata["request_id"] == "REQ1"
    assert isinstance(error.__cause__, ClientError)


def test_a_refusal_names_the_action_and_the_key() -> None:
    with (
        pytest.raises(errors.AccessDenied, match=r"PutObject s3://renders/a/b: .*role's policy"),
        translating("PutObject", bucket="renders", key="a/b"),
    ):
        raise answer("AccessDenied", 403)


def test_412_is_another_object_when_the_request_said_if_match() -> None:
    with (
        pytest.raises(errors.ObjectChanged),
        translating("GetObject", bucket="b", key="k", conditional=Conditional.IF_MATCH),
    ):
        raise answer("PreconditionFailed", 412)


def test_404_of_a_bucket_without_words_is_the_bucket() -> None:
    with (
        pytest.raises(errors.NoSuchBucket, match="'b' does not exist: create it"),
        translating("HeadBucket", bucket="b"),
    ):
        raise answer("404", 404)


@pytest.mark.parametrize(
    "raised",
    [
        EndpointConnectionError(endpoint_url="http://x"),
        ReadTimeoutError(endpoint_url="http://x"),
        aiohttp.ClientPayloadError("cut"),
        ConnectionResetError(),
        TimeoutError(),
        ResponseParserError("no element found"),
    ],
)
def test_a_broken_or_silent_connection_is_no_answer(raised: Exception) -> None:
    with (
        pytest.raises(errors.NoAnswer) as caught,
        translating("GetObject", bucket="b", key="k"),
    ):
        raise raised
    assert caught.value.retryable


def test_missing_credentials_and_wrong_arguments_are_not_tried_again() -> None:
    for raised, kind in (
        (NoCredentialsError(), errors.BadCredentials),
        (ParamValidationError(report="Bucket"), errors.Refused),
    ):
        with pytest.raises(kind) as caught, translating("GetObject", bucket="b", key="k"):
            raise raised
        assert not caught.value.retryable


def test_our_own_errors_pass_as_they_are() -> None:
    mine = errors.BadDigest("mine")
    with (
        pytest.raises(errors.BadDigest) as caught,
        translating("GetObject", bucket="b", key="k"),
    ):
        raise mine
    assert caught.value is mine
