"""The mapping table: what a target's error means to our caller, and what we do about it.

One function a kind of target, pure. The table is that of docs/concepts/routing.md:

======================================== =================== ===== ======
on the wire                              gRPC status         retry shrink
======================================== =================== ===== ======
ValidationError                          INVALID_ARGUMENT    no    no
  "... not found"                        NOT_FOUND           no    no
  "... has no capacity ..."              UNAVAILABLE         no    no
ThrottlingException, 429 without a code  RESOURCE_EXHAUSTED  yes   yes
ModelNotReadyException                   UNAVAILABLE         yes   yes
ModelError 424                           by OriginalStatusCode, below
InternalFailure 500                      INTERNAL            yes   no
ServiceUnavailable 503                   UNAVAILABLE         yes   yes
504                                      DEADLINE_EXCEEDED   no    no
InternalDependencyException 530          INTERNAL            yes   no
401, 403 credentials                     UNAUTHENTICATED     no    no
403 otherwise                            PERMISSION_DENIED   no    no
408                                      DEADLINE_EXCEEDED   no    no
no connection                            UNAVAILABLE         yes   yes
idle connection, lost at once            UNAVAILABLE         yes   no
connection lost otherwise                UNAVAILABLE         no    no
timeout                                  DEADLINE_EXCEEDED   no    no
======================================== =================== ===== ======

ModelError: 0 DEADLINE_EXCEEDED; 404 NOT_FOUND; 429 RESOURCE_EXHAUSTED, retried; 503 and 507
UNAVAILABLE, retried; other 4xx INVALID_ARGUMENT; other 5xx INTERNAL. It never shrinks the limit: it
speaks of one request, not of the endpoint.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from simcloud.errors import (
    AnswerLost,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    NotReady,
    Overloaded,
    PermissionDenied,
    SimcloudError,
    TargetError,
    Unauthenticated,
)
from simcloud.telemetry.logging import get_logger
from simcloud_inference_router.targets.base import Failure

_log = get_logger(__name__)

MODEL_NOT_READY_RETRY_S = 1.0
"""Pause that callers are told after ModelNotReadyException: the model is being loaded."""

NO_CAPACITY_RETRY_S = 30.0
"""Pause that callers are told while an endpoint scales up from zero: that takes minutes."""

STALE_IDLE_S = 1.0
"""A server closes a kept-alive connection for having been idle, which is seconds at the least: one
that has just carried a request breaks by what the next did to the server."""

STALE_BREAK_S = 0.1
"""When a server's end of an idle connection and our request cross, we hear of it within a way there
and back. What breaks later may have been worked on."""

_MAX_TEXT = 2048
"""Characters of a target's own words that are passed on."""

_THROTTLING = frozenset({"ThrottlingException", "Throttling", "TooManyRequestsException"})

_BAD_CREDENTIALS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""Codes of 403 that say "who are you?", where new credentials may help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """How a connection broke."""

    answering: bool
    """Whether anything of the answer had come."""
    idle_s: float | None
    """Seconds that the connection had been idle before the request; None: it was a new one."""
    after_s: float
    """Seconds since the request was written."""


@dataclass(frozen=True, slots=True)
class WireError:
    """An error as it came over HTTP."""

    target: str
    """Name of the target in the catalogue."""
    status: int
    code: str
    """SageMaker's error code, for example ``ModelError``; empty when there was none."""
    message: str
    request_id: str = ""
    original_status: int | None = None
    """ModelError's OriginalStatusCode: what the container answered."""
    retry_after_s: float | None = None

    @property
    def text(self) -> str:
        """One line for people."""
        code = f" {self.code}" if self.code else ""
        words = self.message.strip()[:_MAX_TEXT] or "no message"
        return f"target {self.target} answered {self.status}{code}: {words}"


def read_error(target: str, status: int, headers: Mapping[str, str], body: bytes) -> WireError:
    """The error in an HTTP answer; never raises, whatever the body is.

    Args:
        target: name of the target in the catalogue.
        status: HTTP status.
        headers: the answer's headers, case-insensitive.
        body: the answer's body: SageMaker's JSON, a container's JSON or text.
    """
    fields = _json_object(body)
    code = headers.get("x-amzn-errortype", "") or _text(fields, "__type", "code", "Code")
    # "ValidationError:http://..." and "com.amazonaws...#ValidationError" both occur.
    code = code.split(":", 1)[0].rsplit("#", 1)[-1]
    original = fields.get("OriginalStatusCode")
    message = _text(fields, "OriginalMessage", "Message", "message", "error")
    return WireError(
        target=target,
        status=status,
        code=wire_text(code),
        message=wire_text(message) or body[:_MAX_TEXT].decode("utf-8", "replace"),
        request_id=wire_text(headers.get("x-amzn-requestid", "")),
        original_status=original if type(original) is int else None,
        retry_after_s=_retry_after(headers),
    )


def wire_text(text: str) -> str:
    """Text that protobuf takes: without half surrogate pairs, which JSON and headers may hold."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def sagemaker_failure(wire: WireError) -> Failure:
    """What an error of the SageMaker runtime means."""
    match (wire.status, wire.code):
        case (_, code) if code in _THROTTLING:
            return _busy(wire, _overloaded(wire))
        case (_, "ModelNotReadyException"):
            pause_s = wire.retry_after_s or MODEL_NOT_READY_RETRY_S
            error = _not_ready(wire, pause_s)
            return Failure(error, retry=True, shrink=True, pause_s=pause_s)
        case (_, "ModelError") | (424, _):
            # Without the field nobody knows what the container said: a failure of the model.
            original = wire.original_status
            return _model_failure(wire, 500 if original is None else original)
        case (401 | 403, code):
            return _refused(wire, code)
        case (_, "ValidationError" | "ValidationException"):
            return _validation_failure(wire)
        case (429, _):
            return _busy(wire, _overloaded(wire))
        case _:
            return _by_status(wire)


def container_failure(wire: WireError) -> Failure:
    """What an error of a model container asked without SageMaker between means.

    The statuses mean what ModelError's OriginalStatusCode means, but here 429 and 503 are the
    target's own word about its load.
    """
    if wire.status in {401, 403}:
        return Failure(PermissionDenied(wire.text, target=wire.target))
    failure = _model_failure(wire, wire.status)
    if wire.status in {429, 503}:
        return _busy(wire, failure.error)
    if wire.status in {408, 504}:
        return Failure(DeadlineExceeded(wire.text, target=wire.target))
    return failure


def no_connection(target: str, problem: str) -> Failure:
    """Nobody listens there, or not in time; nothing was sent."""
    message = f"target {target} can't be reached: {problem}"
    return Failure(NotReady(message, target=target), retry=True, shrink=True)


def connection_lost(target: str, problem: str, lost: Lost) -> Failure:
    """The connection broke before the answer's last byte.

    A connection that had been idle for ``STALE_IDLE_S`` and breaks within ``STALE_BREAK_S``, before
    any byte of an answer, had been closed by the other side while the request was on its way:
    nothing was read, and it is asked again. Anything else may have been worked on, and what has
    just ended one container is not handed to the next.

    Args:
        target: its name.
        problem: what the connection said.
        lost: how it broke.
    """
    when = "within its answer" if lost.answering else "before it answered"
    message = f"target {target} closed the connection {when}: {problem}"
    idle = lost.idle_s is not None and lost.idle_s >= STALE_IDLE_S
    if idle and not lost.answering and lost.after_s <= STALE_BREAK_S:
        return Failure(NotReady(message, target=target), retry=True)
    message += "; not asked again, since it may have worked on the request"
    return Failure(AnswerLost(message, target=target))


def timed_out(target: str, timeout_s: float) -> Failure:
    """No answer in time; the target may still be working on it, so it is never asked again."""
    message = f"target {target} did not answer within {timeout_s:.3f} s"
    return Failure(DeadlineExceeded(message, target=target))


def out_of_time(target: str) -> Failure:
    """The caller's time was up before anything could be sent."""
    message = f"the deadline passed before target {target} was asked; nothing was sent"
    return Failure(DeadlineExceeded(message, target=target))


def stream_failure(target: str, *, code: str, error_code: str, message: str) -> Failure:
    """What an exception within an answer's parts means; never retried: the model was at work.

    Args:
        target: its name.
        code: the exception's name: ModelStreamError or InternalStreamFailure.
        error_code: ModelStreamError's own: ModelInvocationTimeExceeded or StreamBroken.
        message: the target's words.
    """
    words = message.strip()[:_MAX_TEXT] or "no message"
    text = f"target {target} broke off its answer, {code} {error_code}".rstrip() + f": {words}"
    match error_code:
        case "ModelInvocationTimeExceeded":
            return Failure(DeadlineExceeded(text, target=target))
        case "StreamBroken":
            return Failure(NotReady(text, target=target))
        case _:
            return Failure(
                TargetError(text, target=target, target_code=code, http_status=200, request_id="")
            )


class OversizedAnswer(TargetError):
    """A target's answer is larger than may be read; of a batch, each one's own may not be."""


def oversized_answer(target: str, most_bytes: int) -> OversizedAnswer:
    """The target answered 200 with more than is read."""
    problem = f"target {target}: answer is larger than {most_bytes} bytes"
    return OversizedAnswer(problem, target=target, http_status=200)


def bad_answer(target: str, problem: str) -> TargetError:
    """The target answered 200 with something that is not an answer."""
    return TargetError(f"target {target}: {problem}", target=target, http_status=200)


def _model_failure(wire: WireError, status: int) -> Failure:
    # Triton's SageMaker server answers 400 to every error (507 only without memory), so what is
    # about load or time can be told from the text alone (sagemaker_server.cc).
    lowered = wire.message.lower()
    if status == 400 and "exceeds maximum queue size" in lowered:
        return Failure(_overloaded(wire), retry=True)
    if status == 400 and "timeout expired" in lowered:
        return Failure(DeadlineExceeded(wire.text, target=wire.target))
    match status:
        case 0:
            return Failure(DeadlineExceeded(wire.text, target=wire.target))
        case 404:
            return Failure(NotFound(wire.text, target=wire.target))
        case 429:
            return Failure(_overloaded(wire), retry=True)
        case 503 | 507:
            return Failure(_not_ready(wire, None), retry=True)
        case _ if 400 <= status < 500:
            return Failure(_invalid(wire))
        case _:
            return Failure(_target_error(wire))


def _validation_failure(wire: WireError) -> Failure:
    lowered = wire.message.lower()
    if "no capacity" in lowered:
        # Scaled to zero. Provisioning takes minutes: whether to wait for it is the model's choice.
        return Failure(_not_ready(wire, NO_CAPACITY_RETRY_S), no_capacity=True)
    if "not found" in lowered or "could not find" in lowered:
        return Failure(NotFound(wire.text, target=wire.target))
    return Failure(_invalid(wire))


def _refused(wire: WireError, code: str) -> Failure:
    if wire.status == 401 or code in _BAD_CREDENTIALS:
        return Failure(Unauthenticated(_refusal(wire), target=wire.target), refresh=True)
    return Failure(PermissionDenied(_refusal(wire), target=wire.target))


def _refusal(wire: WireError) -> str:
    # AWS names our role, its account and the endpoint's ARN here: for the log, not for callers.
    _log.warning("a target refused us", target=wire.target, answer=wire.text)
    code = f" {wire.code}" if wire.code else ""
    return (
        f"target {wire.target} refused the router's credentials ({wire.status}{code}); "
        "the router's log has its words"
    )


def _by_status(wire: WireError) -> Failure:
    match wire.status:
        case 503:
            return _busy(wire, _not_ready(wire, None))
        case 408 | 504:
            return Failure(DeadlineExceeded(wire.text, target=wire.target))
        case 500 | 502 | 530:
            return Failure(_target_error(wire), retry=True)
        case 404:
            return Failure(NotFound(wire.text, target=wire.target))
        case _ if 400 <= wire.status < 500:
            return Failure(_invalid(wire))
        case _:
            return Failure(_target_error(wire))


def _busy(wire: WireError, error: SimcloudError) -> Failure:
    return Failure(error, retry=True, shrink=True, pause_s=wire.retry_after_s)


def _invalid(wire: WireError) -> SimcloudError:
    return InvalidRequest("", wire.text, target=wire.target)


def _overloaded(wire: WireError) -> SimcloudError:
    return Overloaded(wire.text, retry_after_s=wire.retry_after_s or 1.0, target=wire.target)


def _not_ready(wire: WireError, retry_after_s: float | None) -> SimcloudError:
    pause_s = wire.retry_after_s or retry_after_s
    return NotReady(wire.text, retry_after_s=pause_s, target=wire.target)


def _target_error(wire: WireError) -> SimcloudError:
    return TargetError(
        wire.text,
        target=wire.target,
        target_code=wire.code,
        http_status=wire.status,
        request_id=wire.request_id,
    )


def _json_object(body: bytes) -> dict[str, object]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _text(fields: Mapping[str, object], *names: str) -> str:
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value
    return ""


def _retry_after(headers: Mapping[str, str]) -> float | None:
    # x-amz-retry-after is in milliseconds, Retry-After in seconds (or a date, which nobody sends).
    for name, unit_s in (("x-amz-retry-after", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "")
        # Nine digits of seconds are thirty years; more are no answer to the question.
        if value.isascii() and value.isdigit() and len(value) <= 9:
            return int(value) * unit_s
    return None
