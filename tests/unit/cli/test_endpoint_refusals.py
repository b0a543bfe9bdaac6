"""AWS's refusals: each in its family, a missing permission as the statement that grants it."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ProfileNotFound,
)

from simcloud.errors import (
    AlreadyExists,
    Conflict,
    InvalidRequest,
    NotFound,
    NotReady,
    Overloaded,
    PermissionDenied,
    PreconditionFailed,
    SimcloudError,
    Transient,
    Unauthenticated,
)
from simcloud_cli.endpoints.aws import Request
from simcloud_cli.endpoints.refusals import from_client_error, translating

REQUEST = Request(service="sagemaker", operation="CreateModel", resource="model/detector-1")
USER = "User: arn:aws:sts::123456789012:assumed-role/dev/me is not authorized to perform: "


def refusal(
    code: str, message: str, *, status: int = 400, request: Request = REQUEST
) -> SimcloudError:
    answer = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    error = ClientError(answer, request.operation)  # type: ignore[arg-type]  # fewer keys
    return from_client_error(error, request, region="eu-central-1")


def statement_in(error: SimcloudError) -> object:
    return json.loads(error.message[error.message.index("{") :])


def test_a_missing_permission_is_said_as_the_statement_to_add() -> None:
    arn = "arn:aws:sagemaker:eu-central-1:123456789012:model/detector-1"
    error = refusal(
        "AccessDeniedException",
        f"{USER}sagemaker:CreateModel on resource: {arn} because no identity-based policy allows "
        "the sagemaker:CreateModel action",
    )
    assert isinstance(error, PermissionDenied)
    assert error.metadata["action"] == "sagemaker:CreateModel"
    assert statement_in(error) == {
        "Effect": "Allow",
        "Action": "sagemaker:CreateModel",
        "Resource": arn,
    }


def test_without_words_of_aws_the_request_says_action_and_resource() -> None:
    error = refusal("AccessDenied", "Access denied")
    assert statement_in(error) == {
        "Effect": "Allow",
        "Action": "sagemaker:CreateModel",
        "Resource": "arn:aws:sagemaker:eu-central-1:*:model/detector-1",
    }


def test_an_operation_is_named_by_iams_action_for_it() -> None:
    request = Request(
        service="sagemaker-runtime",
        operation="InvokeEndpointWithResponseStream",
        resource="endpoint/detector",
    )
    error = refusal("AccessDeniedException", "no", request=request)
    assert error.metadata["action"] == "sagemaker:InvokeEndpoint"
    assert error.metadata["resource"] == "arn:aws:sagemaker:eu-central-1:*:endpoint/detector"


def test_passing_a_role_is_allowed_to_sagemaker_and_the_scheduler_alone() -> None:
    role = "arn:aws:iam::123456789012:role/endpoints"
    error = refusal(
        "AccessDeniedException",
        f"{USER}iam:PassRole on resource: {role} because no identity-based policy allows it",
    )
    statement = statement_in(error)
    assert isinstance(statement, dict)
    assert statement["Resource"] == role
    assert statement["Condition"] == {
        "StringEquals": {
            "iam:PassedToService": ["sagemaker.amazonaws.com", "scheduler.amazonaws.com"]
        }
    }


def test_an_explicit_deny_is_not_mended_by_a_statement() -> None:
    error = refusal(
        "AccessDeniedException",
        f"{USER}sagemaker:CreateModel with an explicit deny in a service control policy",
    )
    assert isinstance(error, PermissionDenied)
    assert "no other can outdo" in error.message
    assert "Effect" not in error.message


@pytest.mark.parametrize(
    ("code", "message", "status", "family"),
    [
        ("ValidationException", 'Could not find model "arn:aws:x".', 400, NotFound),
        ("ResourceNotFound", "nothing", 400, NotFound),
        ("ValidationException", "ModelPackageGroup g does not exist.", 400, NotFound),
        (
            "ValidationException",
            'Cannot create already existing model "arn:aws:x".',
            400,
            AlreadyExists,
        ),
        ("ValidationException", 'Cannot update in-progress endpoint "arn".', 400, Conflict),
        ("ConflictException", "busy", 409, Conflict),
        ("ThrottlingException", "Rate exceeded", 400, Overloaded),
        ("ExpiredTokenException", "The security token is expired", 403, Unauthenticated),
        ("InternalFailure", "oh", 500, Transient),
        ("ValidationException", "1 validation error detected", 400, PreconditionFailed),
    ],
)
def test_refusals_come_in_families(
    code: str, message: str, status: int, family: type[SimcloudError]
) -> None:
    error = refusal(code, message, status=status)
    assert type(error) is family
    assert code in error.message or code in error.metadata.values()


def test_a_quota_says_where_more_is_asked_for() -> None:
    error = refusal("ResourceLimitExceeded", "The limit 'ml.g5.xlarge for endpoint usage' is 0")
    assert isinstance(error, PreconditionFailed)
    assert "Service Quotas" in error.message
    assert "ml.g5.xlarge for endpoint usage" in error.message


def test_a_role_that_sagemaker_cannot_take_is_said_as_the_trust_it_needs() -> None:
    error = refusal(
        "ValidationException",
        "Could not access model data at s3://b/k. Please ensure that the role exists and that its "
        "trust relationship policy allows the action 'sts:AssumeRole' for SageMaker",
    )
    assert isinstance(error, PreconditionFailed)
    statement = statement_in(error)
    assert isinstance(statement, dict)
    assert statement["Principal"] == {"Service": "sagemaker.amazonaws.com"}


@pytest.mark.parametrize(
    ("raised", "family", "words"),
    [
        (NoCredentialsError(), Unauthenticated, "aws sso login"),
        (NoRegionError(), InvalidRequest, "--region"),
        (ProfileNotFound(profile="p"), InvalidRequest, "--profile"),
        (EndpointConnectionError(endpoint_url="https://x"), NotReady, "region eu-nowhere-1"),
    ],
)
def test_what_never_reached_aws_says_what_to_set(
    raised: Exception, family: type[SimcloudError], words: str
) -> None:
    with pytest.raises(family, match=words), translating(REQUEST, region="eu-nowhere-1"):
        raise raised


def test_partitions_have_their_own_arns() -> None:
    answer = {"Error": {"Code": "AccessDenied", "Message": ""}}
    error = ClientError(answer, "CreateModel")  # type: ignore[arg-type]  # fewer keys
    found = from_client_error(error, REQUEST, region="cn-north-1")
    assert found.metadata["resource"].startswith("arn:aws-cn:sagemaker:cn-north-1:")
