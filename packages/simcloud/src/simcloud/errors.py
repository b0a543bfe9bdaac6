"""Every error that crosses one of our borders, in families by who must act.

Class attributes carry the gRPC code, the reason (UPPER_SNAKE, ``google.rpc.ErrorInfo.reason``) and
whether the same call may succeed later; instance attributes carry the values of the message.
``simcloud.rpc.status`` turns them into ``google.rpc.Status`` and back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self

import grpc


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One thing that must change before a call can work (``google.rpc.PreconditionFailure``)."""

    kind: str
    """UPPER_SNAKE kind, for example ``SHARD_MISSING``."""
    subject: str
    """What it is about, for example ``shards/000012``."""
    description: str
    """What is wrong with it and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorParts:
    """Everything an error carries, as plain values: its form on the wire and between processes."""

    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    field: str = ""
    problem: str = ""
    retry_after_s: float | None = None
    violations: tuple[Violation, ...] = ()


class SimcloudError(Exception):
    """Root of all errors of Simcloud.

    A subclass whose constructor takes other arguments is rebuilt with the values of its family; one
    that keeps more attributes than those overrides ``from_parts`` too.

    Args:
        message: what was wrong, where, and what to do about it.
        metadata: values of the message by name, sent as ``ErrorInfo.metadata``.
    """

    code: ClassVar[grpc.StatusCode] = grpc.StatusCode.INTERNAL
    reason: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, **metadata: object) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: dict[str, str] = {key: str(value) for key, value in metadata.items()}

    def parts(self) -> ErrorParts:
        """The values this error carries."""
        return ErrorParts(message=self.message, metadata=self.metadata)

    @classmethod
    def from_parts(cls, parts: ErrorParts) -> Self:
        """The error with these values; the opposite of ``parts``.

        By its family's constructor and not by ``cls(...)``: that of a subclass may take anything.
        """
        error = cls.__new__(cls)
        SimcloudError.__init__(error, parts.message, **parts.metadata)
        return error

    def __reduce__(self) -> tuple[object, ...]:
        # By values, since the default calls the constructor with the message alone.
        return _rebuild, (type(self), self.parts())


def _rebuild(kind: type[SimcloudError], parts: ErrorParts) -> SimcloudError:
    return kind.from_parts(parts)


class InvalidRequest(SimcloudError):
    """The caller sent something that can never work.

    Args:
        field: path of the offending field, for example ``spec.cameras[0].width``.
        problem: what is wrong with it, expected and found, and what to do.
    """

    code = grpc.StatusCode.INVALID_ARGUMENT
    reason = "INVALID_REQUEST"

    def __init__(self, field: str, problem: str, **metadata: object) -> None:
        super().__init__(f"{field}: {problem}" if field else problem, **metadata)
        self.field = field
        self.problem = problem

    def parts(self) -> ErrorParts:
        """The values this error carries."""
        return ErrorParts(
            message=self.message, metadata=self.metadata, field=self.field, problem=self.problem
        )

    @classmethod
    def from_parts(cls, parts: ErrorParts) -> Self:
        """The error with these values; one that came without a field says all in its problem."""
        error = cls.__new__(cls)
        InvalidRequest.__init__(
            error, parts.field, parts.problem or parts.message, **parts.metadata
        )
        return error


class NotFound(SimcloudError):
    """What the caller named does not exist."""

    code = grpc.StatusCode.NOT_FOUND
    reason = "NOT_FOUND"


class Unauthenticated(SimcloudError):
    """The caller, or we towards another service, could not say who is calling."""

    code = grpc.StatusCode.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class PermissionDenied(SimcloudError):
    """The caller may not do this: an allow-list or the other side refused."""

    code = grpc.StatusCode.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class Unsupported(SimcloudError):
    """A known thing that this server cannot do."""

    code = grpc.StatusCode.UNIMPLEMENTED
    reason = "UNSUPPORTED"


class PreconditionFailed(SimcloudError):
    """The state of the world must be changed by someone before this can work.

    Args:
        message: what was wrong, where, and what to do about it.
        violations: the single things that must change, when there are several.
        metadata: values of the message by name.
    """

    code = grpc.StatusCode.FAILED_PRECONDITION
    reason = "PRECONDITION_FAILED"

    def __init__(
        self, message: str, *, violations: tuple[Violation, ...] = (), **metadata: object
    ) -> None:
        super().__init__(message, **metadata)
        self.violations = tuple(violations)

    def parts(self) -> ErrorParts:
        """The values this error carries."""
        return ErrorParts(message=self.message, metadata=self.metadata, violations=self.violations)

    @classmethod
    def from_parts(cls, parts: ErrorParts) -> Self:
        """The error with these values."""
        error = cls.__new__(cls)
        PreconditionFailed.__init__(
            error, parts.message, violations=parts.violations, **parts.metadata
        )
        return error


class Conflict(SimcloudError):
    """Someone else did it, or is doing it."""

    code = grpc.StatusCode.ABORTED
    reason = "CONFLICT"
    retryable = True


class AlreadyExists(SimcloudError):
    """There is something else under that name."""

    code = grpc.StatusCode.ALREADY_EXISTS
    reason = "ALREADY_EXISTS"


class Transient(SimcloudError):
    """Waiting may help.

    Args:
        message: what was wrong, where, and what to do about it.
        retry_after_s: seconds to wait before the next try, when known.
        metadata: values of the message by name.
    """

    code = grpc.StatusCode.UNAVAILABLE
    reason = "UNAVAILABLE"
    retryable = True

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, **metadata: object
    ) -> None:
        super().__init__(message, **metadata)
        self.retry_after_s = retry_after_s

    def parts(self) -> ErrorParts:
        """The values this error carries."""
        return ErrorParts(
            message=self.message, metadata=self.metadata, retry_after_s=self.retry_after_s
        )

    @classmethod
    def from_parts(cls, parts: ErrorParts) -> Self:
        """The error with these values."""
        error = cls.__new__(cls)
        Transient.__init__(
            error, parts.message, retry_after_s=parts.retry_after_s, **parts.metadata
        )
        return error


class NotReady(Transient):
    """The service or what it stands on is not there yet, or no longer."""

    reason = "NOT_READY"


class AnswerLost(NotReady):
    """The other side went away with a request that it may have worked on: not asked again by us."""

    reason = "ANSWER_LOST"
    retryable = False


class Overloaded(Transient):
    """A limit of ours is reached; nothing was done."""

    code = grpc.StatusCode.RESOURCE_EXHAUSTED
    reason = "OVERLOADED"


class QuotaExceeded(Overloaded):
    """The caller asked more often than it may; nothing was done."""

    reason = "QUOTA_EXCEEDED"


class FramesTooLarge(Overloaded):
    """Frames are larger than a limit of ours: waiting doesn't help, smaller ones do."""

    reason = "FRAMES_TOO_LARGE"
    retryable = False


class DeadlineExceeded(SimcloudError):
    """The caller's time ran out; never retried by us."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class Cancelled(SimcloudError):
    """The caller went away or asked us to stop."""

    code = grpc.StatusCode.CANCELLED
    reason = "CANCELLED"


class StorageError(Transient):
    """S3 answered with an error that our retries did not cure.

    Args:
        message: what was asked of S3, and its answer.
        s3_code: S3's error code, for example ``SlowDown``.
        http_status: HTTP status of the answer; 0 when there was none.
        request_id: S3's id of the request, for its support.
        retry_after_s: seconds to wait before the next try, when known.
    """

    reason = "STORAGE_ERROR"

    def __init__(
        self,
        message: str,
        *,
        s3_code: str = "",
        http_status: int = 0,
        request_id: str = "",
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(
            message,
            retry_after_s=retry_after_s,
            s3_code=s3_code,
            http_status=http_status,
            request_id=request_id,
        )
        self.s3_code = s3_code
        self.http_status = http_status
        self.request_id = request_id

    @classmethod
    def from_parts(cls, parts: ErrorParts) -> Self:
        """The error with these values."""
        error = cls.__new__(cls)
        StorageError.__init__(
            error,
            parts.message,
            s3_code=parts.metadata.get("s3_code", ""),
            http_status=_number(parts.metadata.get("http_status")),
            request_id=parts.metadata.get("request_id", ""),
            retry_after_s=parts.retry_after_s,
        )
        return error


class TargetError(SimcloudError):
    """The model behind an endpoint failed on this request; another try would fail alike.

    Args:
        message: the target's own words.
        target: name of the target.
        target_code: the target's error code, for example ``ModelError``.
        http_status: HTTP status of the answer; 0 when there was none.
        request_id: the target's id of the request.
    """

    reason = "TARGET_ERROR"

    def __init__(
        self,
        message: str,
        *,
        target: str = "",
        target_code: str = "",
        http_status: int = 0,
        request_id: str = "",
    ) -> None:
        super().__init__(
            message,
            target=target,
            target_code=target_code,
            http_status=http_status,
            request_id=request_id,
        )
        self.target = target
        self.target_code = target_code
        self.http_status = http_status
        self.request_id = request_id

    @classmethod
    def from_parts(cls, parts: ErrorParts) -> Self:
        """The error with these values."""
        error = cls.__new__(cls)
        TargetError.__init__(
            error,
            parts.message,
            target=parts.metadata.get("target", ""),
            target_code=parts.metadata.get("target_code", ""),
            http_status=_number(parts.metadata.get("http_status")),
            request_id=parts.metadata.get("request_id", ""),
        )
        return error


class Corruption(SimcloudError):
    """Bytes are not what their checksum, length or format says: stop and look."""

    code = grpc.StatusCode.DATA_LOSS
    reason = "CORRUPTION"


class Bug(SimcloudError):
    """Something that we hold impossible happened; please report it."""

    reason = "BUG"


def _number(text: str | None) -> int:
    """A number that came over the wire; 0 for what is none."""
    return int(text) if text and text.isdecimal() else 0
