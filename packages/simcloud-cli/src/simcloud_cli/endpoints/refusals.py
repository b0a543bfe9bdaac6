"""AWS's refusals, turned into ours in one place.

A missing permission is said as the policy statement that grants it. Which words and codes AWS uses
is its documentation's ("Common errors" of each service's API reference, "Troubleshoot access denied
error messages" of IAM's guide); those that SageMaker answers with one code for everything,
``ValidationException``, are told apart by their words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, cast

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

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

    from simcloud_cli.endpoints.aws import Request

_DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "NotAuthorized"}
)
_THROTTLED = frozenset(
    {"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded"}
)
_WHO = frozenset(
    {
        *("ExpiredToken", "ExpiredTokenException", "RequestExpired"),
        *("UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException"),
        *("SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken"),
    }
)
_MISSING = frozenset({"ResourceNotFound", "ResourceNotFoundException", "ObjectNotFoundException"})
_BUSY = frozenset({"ConflictException", "ResourceInUse", "ConcurrentUpdateException"})
_OFF = frozenset({"OptInRequired", "SubscriptionRequiredException"})

_DENIED_WORDS = re.compile(
    r"not authorized to perform: (?P<action>[a-z0-9-]+:\w+)"
    r"(?: on resource: (?P<resource>\S+?))?(?=[\s.]|$)"
)
_MISSING_WORDS = re.compile(r"could not find|does not exist|not found|no scalable target", re.I)
_EXISTS_WORDS = re.compile(r"already exist", re.I)
_BUSY_WORDS = re.compile(r"cannot (?:update|delete) (?:in-progress|in progress)|in progress", re.I)
_TRUST_WORDS = re.compile(r"trust relationship|could not assume role|sts:AssumeRole", re.I)

_PREFIXES: Final[Mapping[str, str]] = {"sagemaker-runtime": "sagemaker"}
"""IAM's prefix of a service where it is not boto3's name."""
_ACTIONS: Final[Mapping[str, str]] = {
    "InvokeEndpointWithResponseStream": "InvokeEndpoint",
    "HeadObject": "GetObject",
    "HeadBucket": "ListBucket",
    "ListObjectsV2": "ListBucket",
}
"""IAM's action of an operation where it has another name."""


def action_of(request: Request) -> str:
    """IAM's action that a request needs, for example ``sagemaker:CreateModel``."""
    prefix = _PREFIXES.get(request.service, request.service)
    return f"{prefix}:{_ACTIONS.get(request.operation, request.operation)}"


def arn_of(request: Request, *, region: str) -> str:
    """What a policy names for a request's resource; the account is left open."""
    if request.resource == "*" or request.resource.startswith("arn:"):
        return request.resource
    prefix = _PREFIXES.get(request.service, request.service)
    if prefix == "s3":
        return f"arn:{partition_of(region)}:s3:::{request.resource}"
    return f"arn:{partition_of(region)}:{prefix}:{region or '*'}:*:{request.resource}"


def partition_of(region: str) -> str:
    """AWS's partition of a region: the first part of its ARNs."""
    if region.startswith("cn-"):
        return "aws-cn"
    return "aws-us-gov" if region.startswith("us-gov-") else "aws"


def statement(action: str, resource: str) -> dict[str, object]:
    """The policy statement that allows one action on one resource.

    Passing a role is allowed to SageMaker alone, or for a schedule to EventBridge's Scheduler: a
    role that may be passed to anything is a way around every other policy.
    """
    allowed: dict[str, object] = {"Effect": "Allow", "Action": action, "Resource": resource}
    if action == "iam:PassRole":
        allowed["Condition"] = {
            "StringEquals": {
                "iam:PassedToService": ["sagemaker.amazonaws.com", "scheduler.amazonaws.com"]
            }
        }
    return allowed


@contextmanager
def translating(request: Request, *, region: str) -> Iterator[None]:
    """Turns what botocore raises into ours.

    Args:
        request: what is asked meanwhile.
        region: where; empty when it is not known.

    Raises:
        PermissionDenied: the credentials may not; the statement to add is in the message.
        Unauthenticated: there are no credentials, or they have run out.
        InvalidRequest: no region, no such profile, or a value that the service's model refuses.
        NotFound: what was named is not there.
        AlreadyExists: the name is taken.
        Conflict: it is being changed just now.
        Overloaded: throttled, after botocore's own tries.
        PreconditionFailed: a quota, a role that SageMaker can't take, another refusal.
        NotReady: no answer.
    """
    from botocore import exceptions as boto

    try:
        yield
    except boto.ClientError as error:
        raise from_client_error(error, request, region=region) from error
    except (
        boto.NoCredentialsError,
        boto.PartialCredentialsError,
        boto.CredentialRetrievalError,
        boto.TokenRetrievalError,
        boto.SSOError,
    ) as error:
        raise Unauthenticated(
            f"no usable AWS credentials ({error}): `aws sso login`, set AWS_PROFILE or --profile, "
            "or run where a role is given"
        ) from error
    except boto.NoRegionError as error:
        raise InvalidRequest(
            "--region", "no AWS region is set: give --region, or set AWS_REGION"
        ) from error
    except boto.ProfileNotFound as error:
        raise InvalidRequest("--profile", f"{error}: `aws configure list-profiles`") from error
    except boto.ParamValidationError as error:
        raise InvalidRequest(f"{request.service} {request.operation}", _one_line(error)) from error
    except (boto.ConnectionError, boto.HTTPClientError) as error:
        raise NotReady(
            f"{_what(request)}: no answer: {_one_line(error)}: check the network"
            + (f" and that region {region} exists and has the service" if region else "")
        ) from error
    except boto.BotoCoreError as error:
        raise PreconditionFailed(f"{_what(request)}: {_one_line(error)}") from error


def from_client_error(error: ClientError, request: Request, *, region: str) -> SimcloudError:
    """Our error for an answer of AWS's."""
    answer = cast("dict[str, dict[str, object]]", error.response)
    code = str(answer.get("Error", {}).get("Code", ""))
    words = str(answer.get("Error", {}).get("Message", "")) or "no words"
    status = cast("int", answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _DENIED:
        return _denied(words, request, region=region)
    if code in _WHO:
        return Unauthenticated(
            f"{_what(request)}: {code}: {words}: sign in again (`aws sso login`), and check this "
            "machine's clock",
            aws_code=code,
        )
    said = f"{_what(request)}: {code}: {words}"
    if code in _THROTTLED:
        return Overloaded(f"{said}: AWS throttles this account's calls; try again in a minute")
    if code == "ResourceLimitExceeded":
        return PreconditionFailed(
            f"{said}: ask for more at Service Quotas, Amazon SageMaker, by the name that the "
            "message gives; quotas are by region, and those of GPU instances begin at 0",
            aws_code=code,
        )
    if code in _OFF:
        return PreconditionFailed(
            f"{said}: the account has this region or service switched off", aws_code=code
        )
    return _by_words(said, words, code=code, status=status)


def _by_words(said: str, words: str, *, code: str, status: int) -> SimcloudError:
    if status >= 500:
        return Transient(f"{said}: AWS's own failure; try again", aws_code=code)
    if code == "ValidationException" and _TRUST_WORDS.search(words):
        return PreconditionFailed(
            f"{said}: the role's trust policy must have {json.dumps(TRUST)}", aws_code=code
        )
    if code in _MISSING or _MISSING_WORDS.search(words):
        return NotFound(said, aws_code=code)
    if _EXISTS_WORDS.search(words):
        return AlreadyExists(said, aws_code=code)
    if code in _BUSY or _BUSY_WORDS.search(words):
        return Conflict(f"{said}: wait until the change that runs has ended", aws_code=code)
    return PreconditionFailed(said, aws_code=code)


TRUST: Final[Mapping[str, object]] = {
    "Effect": "Allow",
    "Principal": {"Service": "sagemaker.amazonaws.com"},
    "Action": "sts:AssumeRole",
}
"""The statement of a role's trust policy by which SageMaker may take it."""


def _denied(words: str, request: Request, *, region: str) -> PermissionDenied:
    said = _DENIED_WORDS.search(words)
    action = said["action"] if said else action_of(request)
    resource = (said["resource"] if said else None) or arn_of(request, region=region)
    if "explicit deny" in words:
        # A statement that allows does not win over one that denies.
        return PermissionDenied(
            f"{_what(request)}: {action} on {resource} is denied by a statement that says so, "
            f"which no other can outdo: {words}",
            action=action,
            resource=resource,
        )
    return PermissionDenied(
        f"{_what(request)}: these credentials may not {action} on {resource}; add to their policy "
        f"{json.dumps(statement(action, resource))}",
        action=action,
        resource=resource,
        aws_says=words,
    )


def _what(request: Request) -> str:
    return f"{request.service} {request.operation} {request.resource}".replace(" *", "").strip()


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())
