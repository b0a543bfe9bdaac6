"""Our errors to ``google.rpc.Status`` and back: the one place where they cross the wire.

Details (google/rpc/error_details.proto, AIP-193): ``ErrorInfo`` always (reason, domain
``simcloud``, the message's values), ``BadRequest`` for a field, ``RetryInfo`` when a wait is known,
``PreconditionFailure`` for violations.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from math import ceil
from typing import Final

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

from simcloud.errors import (
    AlreadyExists,
    Bug,
    Cancelled,
    Conflict,
    Corruption,
    DeadlineExceeded,
    ErrorParts,
    InvalidRequest,
    NotFound,
    NotReady,
    Overloaded,
    PermissionDenied,
    PreconditionFailed,
    SimcloudError,
    Unauthenticated,
    Unsupported,
    Violation,
)

DOMAIN: Final = "simcloud"
DETAILS_KEY: Final = "grpc-status-details-bin"
PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"
"""What gRPC's own retries heed, which know nothing of details (gRPC's proposal A6)."""

# A status travels in trailers, which peers bound: gRPC's default is 8 KiB for all of them together
# (grpc.max_metadata_size), the message is sent twice and percent-encoded once.
MAX_MESSAGE_BYTES: Final = 1024
MAX_DETAILS_BYTES: Final = 4096

_RESERVED: Final = frozenset({"self", "message", "field", "problem", "violations", "retry_after_s"})

# What a code means when the other side is not ours, or newer than we.
_BY_CODE: Final[dict[grpc.StatusCode, type[SimcloudError]]] = {
    grpc.StatusCode.CANCELLED: Cancelled,
    grpc.StatusCode.UNKNOWN: Bug,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequest,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.FAILED_PRECONDITION: PreconditionFailed,
    grpc.StatusCode.ABORTED: Conflict,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequest,
    grpc.StatusCode.UNIMPLEMENTED: Unsupported,
    grpc.StatusCode.INTERNAL: Bug,
    grpc.StatusCode.UNAVAILABLE: NotReady,
    grpc.StatusCode.DATA_LOSS: Corruption,
}


def shortened(text: str, limit: int = MAX_MESSAGE_BYTES) -> str:
    """A text of at most ``limit`` bytes as UTF-8; one that was longer ends in "…".

    What a message says of its request, the request's sender wrote: up to a message's largest size.
    """
    # A name read from a file system may hold half a surrogate pair, which the wire can't carry.
    data = text.encode(errors="replace")
    if len(data) > limit:
        return data[: limit - 3].decode(errors="ignore") + "…"
    return data.decode()


@dataclass(frozen=True, slots=True)
class _Refusal:
    """All that a refusal says."""

    kind: type[Overloaded]
    message: str
    retry_after_s: float | None
    metadata: tuple[tuple[str, str], ...]


def status_trailers(error: SimcloudError) -> tuple[str, tuple[tuple[str, str | bytes], ...]]:
    """The message of an error's status, and the trailers that carry the rest.

    Of refusals made once for all that say the same: under overload most callers are told one thing,
    and those who are refused must cost less than those who are served.
    """
    if not isinstance(error, Overloaded):
        return _trailers_of(error)
    metadata = tuple(error.metadata.items())
    return _refusal_trailers(_Refusal(type(error), error.message, error.retry_after_s, metadata))


@lru_cache(maxsize=64)
def _refusal_trailers(said: _Refusal) -> tuple[str, tuple[tuple[str, str | bytes], ...]]:
    parts = ErrorParts(
        message=said.message, retry_after_s=said.retry_after_s, metadata=dict(said.metadata)
    )
    return _trailers_of(said.kind.from_parts(parts))


def _trailers_of(error: SimcloudError) -> tuple[str, tuple[tuple[str, str | bytes], ...]]:
    status = grpc_status(error)
    trailers: list[tuple[str, str | bytes]] = [(DETAILS_KEY, status.SerializeToString())]
    pushback = _retry_pushback(error)
    if pushback is not None:
        trailers.append((PUSHBACK_KEY, pushback))
    return status.message, tuple(trailers)


def grpc_status(error: SimcloudError) -> status_pb2.Status:
    """The error as ``google.rpc.Status``, cut to what fits into trailers.

    A message longer than ``MAX_MESSAGE_BYTES`` ends in "…"; violations and values that don't fit
    are left out, and the number of violations left out is the last one.
    """
    parts = error.parts()
    status = status_pb2.Status(code=error.code.value[0], message=shortened(parts.message))
    _pack_info(status, error.reason, parts)
    if parts.field:
        _pack(
            status,
            error_details_pb2.BadRequest(
                field_violations=[
                    error_details_pb2.BadRequest.FieldViolation(
                        field=shortened(parts.field, 256),
                        description=shortened(parts.problem),
                        reason=error.reason,
                    )
                ]
            ),
        )
    if parts.retry_after_s is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(parts.retry_after_s * 1e9))
        _pack(status, retry)
    if parts.violations:
        _pack_violations(status, parts.violations)
    return status


def _retry_pushback(error: SimcloudError) -> str | None:
    """Value of ``PUSHBACK_KEY``: milliseconds to wait, -1 for what isn't to be asked again.

    None: whoever called chooses the pause.
    """
    if not error.retryable:
        return "-1"
    after_s = error.parts().retry_after_s
    return None if after_s is None else str(ceil(after_s * 1000))


def error_from_status(status: status_pb2.Status) -> SimcloudError:
    """The error that ``grpc_status`` made the status from.

    A reason which this process does not know, or a status without our ``ErrorInfo``, becomes the
    family of its code with everything it carried.
    """
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    precondition = error_details_pb2.PreconditionFailure()
    found = {name for name, into in _unpack(status, (info, bad, retry, precondition)) if into}
    violation = bad.field_violations[0] if bad.field_violations else None
    parts = ErrorParts(
        message=status.message,
        # Another implementation may use the names of our constructors' own arguments.
        metadata={key: value for key, value in info.metadata.items() if key not in _RESERVED},
        field=violation.field if violation else "",
        problem=violation.description if violation else "",
        retry_after_s=retry.retry_delay.ToNanoseconds() / 1e9 if "RetryInfo" in found else None,
        violations=tuple(
            Violation(kind=each.type, subject=each.subject, description=each.description)
            for each in precondition.violations
        ),
    )
    return _class_of(status.code, info).from_parts(parts)


def error_of(code: int, reason: str, message: str) -> SimcloudError:
    """The error behind an answer within a stream, which carries these three alone.

    Args:
        code: gRPC status code as a number, not 0.
        reason: UPPER_SNAKE; of one that this process doesn't know, it is the family of the code.
        message: what was wrong and what to do.
    """
    status = status_pb2.Status(code=code, message=message)
    _pack(status, error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN))
    return error_from_status(status)


# What grpc.aio makes of a write that meets the end of its call. It hides the status that came.
_MET_THE_END: Final = "Internal error from Core"


def error_from_rpc(error: grpc.aio.AioRpcError) -> SimcloudError:
    """Makes of a failed call the error that the server raised.

    Without our details in the trailers (a proxy, a broken connection, another implementation) it is
    the family of the status code. The caller raises it ``from error``.
    """
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                status = status_pb2.Status.FromString(value)
            except DecodeError:
                break
            # A proxy may have replaced the code and left the details.
            if status.code == error.code().value[0]:
                return error_from_status(status)
    code = error.code()
    if code is grpc.StatusCode.CANCELLED:
        # Our own cancel is asyncio's CancelledError; this one is what gRPC answers for a server
        # that has gone while the call arrived (seen at shutdown).
        return NotReady("the server ended the call, probably while shutting down; ask again")
    if code is grpc.StatusCode.INTERNAL and error.details() == _MET_THE_END:
        return NotReady("the server ended the call while a message was sent to it; ask again")
    return error_from_status(
        status_pb2.Status(code=code.value[0], message=error.details() or code.value[1])
    )


@contextmanager
def client_errors() -> Iterator[None]:
    """Turns what gRPC clients raise in its block into our errors.

    Raises:
        SimcloudError: the error of the other side, ``from`` the ``AioRpcError``.
    """
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise error_from_rpc(error) from error


@cache
def _classes(_count: int) -> dict[str, type[SimcloudError]]:
    return {kind.reason: kind for kind in reversed(error_classes())}


def error_classes() -> list[type[SimcloudError]]:
    """Every error class of this process: the root and its subclasses, parents first."""
    kinds: list[type[SimcloudError]] = [SimcloudError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    return kinds


def _class_of(code: int, info: error_details_pb2.ErrorInfo) -> type[SimcloudError]:
    if info.domain == DOMAIN:
        kind = _classes(len(error_classes())).get(info.reason)
        if kind is not None and kind.code.value[0] == code:
            return kind
    for status_code, kind in _BY_CODE.items():
        if status_code.value[0] == code:
            return kind
    return SimcloudError


def _pack(status: status_pb2.Status, message: Message) -> bool:
    packed = AnyMessage()
    packed.Pack(message)
    if status.ByteSize() + packed.ByteSize() + 8 > MAX_DETAILS_BYTES:
        return False
    status.details.append(packed)
    return True


def _pack_info(status: status_pb2.Status, reason: str, parts: ErrorParts) -> None:
    info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)
    for key, value in parts.metadata.items():
        if info.ByteSize() + len(key.encode()) + len(value) * 3 < MAX_DETAILS_BYTES // 4:
            info.metadata[key] = shortened(value, MAX_DETAILS_BYTES)
    _pack(status, info)


def _pack_violations(status: status_pb2.Status, violations: tuple[Violation, ...]) -> None:
    room = MAX_DETAILS_BYTES - status.ByteSize() - 256
    failure = error_details_pb2.PreconditionFailure()
    for number, violation in enumerate(violations):
        failure.violations.add(
            type=violation.kind,
            subject=shortened(violation.subject, 256),
            description=shortened(violation.description, 256),
        )
        if failure.ByteSize() > room:
            del failure.violations[-1]
            failure.violations.add(
                type="MORE", description=f"{len(violations) - number} more are left out"
            )
            break
    _pack(status, failure)


def _unpack(status: status_pb2.Status, into: tuple[Message, ...]) -> Iterator[tuple[str, bool]]:
    for detail in status.details:
        for message in into:
            if detail.Is(message.DESCRIPTOR):
                yield message.DESCRIPTOR.name, detail.Unpack(message)
