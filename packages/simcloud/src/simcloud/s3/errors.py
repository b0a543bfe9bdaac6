"""S3's and botocore's errors, turned into ours in one place.

Every class keeps S3's error code, the HTTP status and the request id, which S3's support asks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Protocol, Self, cast

import aiohttp
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's; the builtin one is never wanted here
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError

from simcloud.errors import (
    AlreadyExists,
    Conflict,
    Corruption,
    ErrorParts,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    SimcloudError,
    StorageError,
    Unauthenticated,
)


class Conditional(StrEnum):
    """Which condition a request carries; it says what 412 means."""

    NONE = ""
    IF_NONE_MATCH = "If-None-Match"
    IF_MATCH = "If-Match"


class _FromS3:
    """What S3 said beside the message."""

    def __init__(
        self, message: str, *, s3_code: str = "", http_status: int = 0, request_id: str = ""
    ) -> None:
        super().__init__(  # type: ignore[call-arg]  # the family's constructor, next in line
            message, s3_code=s3_code, http_status=http_status, request_id=request_id
        )
        self.s3_code = s3_code
        self.http_status = http_status
        self.request_id = request_id

    @classmethod
    def from_parts(cls, parts: ErrorParts) -> Self:
        """The error with these values, which came over the wire or from another process."""
        error: Self = super().from_parts(parts)  # type: ignore[misc]  # the family's, next in line
        status = parts.metadata.get("http_status", "")
        error.s3_code = parts.metadata.get("s3_code", "")
        error.http_status = int(status) if status.isdecimal() else 0
        error.request_id = parts.metadata.get("request_id", "")
        return error


class NoSuchBucket(_FromS3, NotFound):
    """The bucket does not exist at this endpoint."""

    reason = "NO_SUCH_BUCKET"


class NoSuchKey(_FromS3, NotFound):
    """The object does not exist."""

    reason = "NO_SUCH_KEY"


class NoSuchUpload(_FromS3, NotFound):
    """The multipart upload was completed, aborted or never existed."""

    reason = "NO_SUCH_UPLOAD"


class ObjectExists(_FromS3, AlreadyExists):
    """412 on ``If-None-Match: *``: there is an object under the key."""

    reason = "OBJECT_EXISTS"


class ObjectChanged(_FromS3, PreconditionFailed):
    """412 on ``If-Match``: the object is not the one that was meant."""

    reason = "OBJECT_CHANGED"


class ConditionalConflict(_FromS3, Conflict):
    """409: a write of the same key was in progress.

    A PUT may be repeated; after Complete a new multipart upload is needed (S3's documentation of
    conditional writes).
    """

    reason = "CONDITIONAL_CONFLICT"


class InvalidPart(_FromS3, PreconditionFailed):
    """Complete named a part that S3 has not, or has differently."""

    reason = "INVALID_PART"


class EntityTooSmall(_FromS3, PreconditionFailed):
    """Complete named a part below S3's 5 MiB that is not the last."""

    reason = "ENTITY_TOO_SMALL"


class BadDigest(_FromS3, Corruption):
    """The bytes that arrived are not those of the checksum."""

    reason = "BAD_DIGEST"


class RangeBeyondEnd(_FromS3, Corruption):
    """416: the object is shorter than what says so."""

    reason = "RANGE_BEYOND_END"


class AccessDenied(_FromS3, PermissionDenied):
    """The credentials may not do this."""

    reason = "S3_ACCESS_DENIED"


class BadCredentials(_FromS3, Unauthenticated):
    """There are no credentials, or S3 does not know them."""

    reason = "S3_BAD_CREDENTIALS"


class ExpiredCredentials(_FromS3, StorageError):
    """The temporary credentials have run out.

    Tried again: new ones are looked up before the next try, where they come from a role, a web
    identity or a process.
    """

    reason = "S3_EXPIRED_CREDENTIALS"


class Refused(_FromS3, PreconditionFailed):
    """Another answer of 4xx: the request can't work as it is."""

    reason = "S3_REFUSED"


class SlowDown(StorageError):
    """503 SlowDown, 429: fewer requests, later."""

    reason = "S3_SLOW_DOWN"


class ServerFailed(StorageError):
    """5xx, or an error within a 200: whether it was done is unknown for a write."""

    reason = "S3_SERVER_FAILED"


class NoAnswer(StorageError):
    """Time-out, broken connection, unreadable answer: whether a write was done is unknown."""

    reason = "S3_NO_ANSWER"


class _Constructor(Protocol):
    def __call__(
        self, message: str, *, s3_code: str, http_status: int, request_id: str
    ) -> SimcloudError: ...


_BY_CODE: dict[str, _Constructor] = {
    "NoSuchBucket": NoSuchBucket,
    "NoSuchKey": NoSuchKey,
    "NoSuchUpload": NoSuchUpload,
    "ConditionalRequestConflict": ConditionalConflict,
    "InvalidPart": InvalidPart,
    "InvalidPartOrder": InvalidPart,
    "EntityTooSmall": EntityTooSmall,
    "NotImplemented": Refused,
    "BucketAlreadyExists": Refused,
    "BucketAlreadyOwnedByYou": Refused,
    "BadDigest": BadDigest,
    "InvalidDigest": BadDigest,
    "XAmzContentChecksumMismatch": BadDigest,
    "XAmzContentSHA256Mismatch": BadDigest,
    "IncompleteBody": BadDigest,
    "InvalidRange": RangeBeyondEnd,
    "AccessDenied": AccessDenied,
    "AllAccessDisabled": AccessDenied,
    "AccountProblem": AccessDenied,
    "InvalidAccessKeyId": BadCredentials,
    "SignatureDoesNotMatch": BadCredentials,
    "ExpiredToken": ExpiredCredentials,
    "ExpiredTokenException": ExpiredCredentials,
    "TokenRefreshRequired": ExpiredCredentials,
    # What botocore calls an answer without a body: HEAD's of expired credentials have none.
    "400": ExpiredCredentials,
    "InvalidToken": BadCredentials,
    "RequestTimeTooSkewed": BadCredentials,
    "SlowDown": SlowDown,
    "Throttling": SlowDown,
    "ThrottlingException": SlowDown,
    "RequestLimitExceeded": SlowDown,
    "TooManyRequests": SlowDown,
    "RequestTimeout": NoAnswer,
    "InternalError": ServerFailed,
    "ServiceUnavailable": ServerFailed,
    "OperationAborted": ServerFailed,
}
"""S3's error code to our class."""

_BY_STATUS: dict[int, _Constructor] = {
    401: BadCredentials,
    403: AccessDenied,
    404: NoSuchKey,  # HEAD has no body, so no code
    408: NoAnswer,
    409: ConditionalConflict,
    416: RangeBeyondEnd,
    429: SlowDown,
    501: Refused,
}

_ADVICE: dict[_Constructor, str] = {
    NoSuchBucket: "create it, or check the S3 endpoint and the bucket's name",
    AccessDenied: "check the role's policy for this action and key",
    BadCredentials: "check the access key, its secret, the region and this machine's clock",
    ExpiredCredentials: "give new ones, or none and a role, so that they are renewed by themselves",
}


@contextmanager
def translating(
    action: str, *, bucket: str, key: str = "", conditional: Conditional = Conditional.NONE
) -> Iterator[None]:
    """Turns what botocore raises into ours; inside there may be any number of awaits.

    Args:
        action: S3 operation for the message, for example ``PutObject``.
        bucket: S3 bucket.
        key: object key or prefix; empty for an operation on the bucket.
        conditional: the condition the request carries.

    Raises:
        SimcloudError: as the classes of this module say.
    """
    where = f"s3://{bucket}/{key}"
    try:
        yield
    except ClientError as error:
        raise from_client_error(
            error, action=action, bucket=bucket, key=key, conditional=conditional
        ) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise BadCredentials(
            f"{action} {where}: no usable S3 credentials ({error}); set the access key or provide "
            "a role"
        ) from error
    except (ConnectionError, HTTPClientError, aiohttp.ClientError, OSError) as error:
        # aiohttp's own errors appear while a body is read: aiobotocore wraps only the request
        raise NoAnswer(f"{action} {where}: no answer from S3: {_words(error)}") from error
    except ResponseParserError as error:
        # A gateway's page, or half of an answer: what S3 did is as unknown as without any. It is
        # no BotoCoreError.
        raise NoAnswer(f"{action} {where}: S3's answer can't be read: {_words(error)}") from error
    except BotoCoreError as error:
        raise Refused(f"{action} {where}: {_words(error)}") from error


def from_client_error(
    error: ClientError,
    *,
    action: str,
    bucket: str,
    key: str = "",
    conditional: Conditional = Conditional.NONE,
) -> SimcloudError:
    """Our error for an answer of S3's."""
    answer = cast("dict[str, dict[str, object]]", error.response)
    details = answer.get("Error", {})
    meta = answer.get("ResponseMetadata", {})
    code = str(details.get("Code", ""))
    status = int(cast("int", meta.get("HTTPStatusCode", 0)))
    kind = _kind(code, status, conditional, in_bucket=not key)
    words = f"{code or status}: {details.get('Message', '') or 'no words'}"
    if kind is NoSuchBucket:
        message = f"{action}: bucket {bucket!r} does not exist"
    else:
        message = f"{action} s3://{bucket}/{key}: {words}"
    if advice := _ADVICE.get(kind):
        message += f": {advice}"
    return kind(
        message, s3_code=code, http_status=status, request_id=str(meta.get("RequestId", ""))
    )


def _kind(code: str, status: int, conditional: Conditional, *, in_bucket: bool) -> _Constructor:
    if code == "PreconditionFailed" or status == 412:
        return ObjectChanged if conditional is Conditional.IF_MATCH else ObjectExists
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status == 404 and in_bucket:
        return NoSuchBucket
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 400 <= status < 500:
        return Refused
    return ServerFailed


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
