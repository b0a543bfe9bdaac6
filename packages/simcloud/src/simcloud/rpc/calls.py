"""One RPC being served: what is measured and written about it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from random import random
from typing import Any, Final, Protocol, TypeAlias

import grpc
import grpc.aio
from prometheus_client import Counter, Histogram

from simcloud.errors import SimcloudError
from simcloud.rpc.status import shortened
from simcloud.telemetry import metrics, names, tracing
from simcloud.telemetry.line_limit import LineLimit
from simcloud.telemetry.logging import Level, log_request, members, quoted

# The edge: requests and responses are whatever the method's serializers say.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_CODE_NAMES: Final[dict[int, str]] = {code.value[0]: code.name for code in grpc.StatusCode}
_OK: Final = "OK"
_REFUSED: Final = "RESOURCE_EXHAUSTED"

REFUSALS_PER_S: Final = 10.0
"""Lines a second, over time, of what was refused for a limit's sake."""

REFUSALS_AT_ONCE: Final = 100
"""Such lines that may come at once after a pause."""

# Whoever calls is not to blame for these, and someone should look.
OUR_FAULT: Final = frozenset({"UNKNOWN", "INTERNAL", "DATA_LOSS"})
_LEVEL_OF: Final[dict[str, Level]] = {
    **dict.fromkeys(OUR_FAULT, "error"),
    **dict.fromkeys(("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"), "warning"),
}


class AccessLog:
    """Which finished RPCs, and requests of streams, get a line.

    Those that were refused for a limit's sake are the most when there is the least time: the first
    ``REFUSALS_AT_ONCE`` after a pause have one, then ``REFUSALS_PER_S``, and each says how many
    were left out before it. All others that failed have one.

    Args:
        enabled: whether any does.
        ratio: share of the RPCs that ended with OK, 0 to 1.
        stream_ratio: the same of requests within streams.
        draw: uniform in [0, 1). By chance and not every n-th: of requests that come in turns, every
            n-th may always be the same one's.
        monotonic: seconds of a clock that never goes back.
    """

    __slots__ = (
        "_draw",
        "_monotonic",
        "_ratio",
        "_refusals",
        "_stream_ratio",
        "enabled",
    )

    def __init__(
        self,
        *,
        enabled: bool,
        ratio: float = 1.0,
        stream_ratio: float = 1.0,
        draw: Callable[[], float] = random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.enabled = enabled
        self._ratio = ratio
        self._stream_ratio = stream_ratio
        self._draw = draw
        self._monotonic = monotonic
        self._refusals = LineLimit(per_s=REFUSALS_PER_S, at_once=REFUSALS_AT_ONCE)

    def wants(self, code: str, *, in_stream: bool = False) -> bool:
        """Whether to write the line of what ended with this status."""
        if not self.enabled:
            return False
        if code == _OK:
            ratio = self._stream_ratio if in_stream else self._ratio
            return ratio >= 1.0 or self._draw() < ratio
        return code != _REFUSED or self._refusals.passes(self._monotonic())

    def left_out(self, code: str) -> str:
        """What the line of a refusal says of those before it, as a further member; else empty."""
        left_out = self._refusals.left_out() if code == _REFUSED else 0
        return f', "lines_left_out": {left_out}' if left_out else ""


class Told(Protocol):
    """What a service has to say about a request that has ended, asked for if there is a line."""

    code: str
    """Name of its status code."""
    message: str
    """What went wrong; empty: nothing."""

    def members(self) -> str:
        """The rest, as members of a JSON object."""


@dataclass(slots=True)
class Method:
    """One method of one server, and its metrics."""

    full_name: str
    service: str
    name: str
    infrastructure: bool
    started: Counter
    members: str
    """What its log lines say of it, encoded."""
    streams: bool = False
    """Whether it has several requests or answers."""
    timeout_s: float | None = None
    """Time after which the server ends a call, seconds. None: when its caller wants."""
    margin_s: float = 0.0
    """How much sooner a method ends that keeps to it by itself, and so can say what it was at."""
    durations: dict[str, Histogram] = field(default_factory=dict)

    def limit_s(self, context: Context) -> float | None:
        """Time that a call has by the server's limit, seconds; None: its caller's comes first."""
        if self.timeout_s is None:
            return None
        remaining: float | None = context.time_remaining()
        if remaining is not None and remaining <= self.timeout_s:
            return None
        return self.timeout_s - self.margin_s

    def observe(self, code: str, seconds: float) -> None:
        """Counts a finished RPC by the name of its status code."""
        child = self.durations.get(code)
        if child is None:
            child = metrics.histogram(names.RPC_DURATION).labels(self.service, self.name, code)
            self.durations[code] = child
        child.observe(seconds)


@dataclass(slots=True)
class Call:
    """One RPC."""

    method: Method
    task: asyncio.Task[Any]
    started_at: float
    caller: str
    trace_id: str
    span: tracing.ServerSpan | None
    log: AccessLog
    told: Told | None = None
    """What its line says beside what it always does."""

    def tell(self, told: Told) -> None:
        """Has the log say what became of a request.

        On the call's own line if it is unary, on one of the request's if it is a stream.
        """
        if not self.method.streams:
            self.told = told
        elif self.log.wants(told.code, in_stream=True):
            _write_request(self, told)


_current: ContextVar[Call | None] = ContextVar("simcloud_call", default=None)


def current_call() -> Call | None:
    """The RPC that this task serves; None: it serves none."""
    return _current.get()


def serve_call(call: Call | None) -> None:
    """Says which RPC this task serves; None: none any more.

    Whoever said one says None at its end: a task holds its context, that would hold the call, and
    that its task, which only the garbage collector could part.
    """
    _current.set(call)


def write_line(call: Call, code: str, seconds: float, error: SimcloudError | None) -> None:
    """Writes the log line of a finished RPC, if it is to have one."""
    if not call.log.wants(code):
        return
    line = (
        f'{call.method.members}, "code": "{code}", "duration_ms": {seconds * 1000:.3f}, '
        f'"caller": {quoted(call.caller)}, "trace_id": "{call.trace_id}"'
    )
    if call.told is not None:
        line += f", {call.told.members()}"
    if error is not None:
        line += ", " + members({"reason": error.reason, "message": shortened(error.message)})
    line += call.log.left_out(code)
    log_request(_LEVEL_OF.get(code, "info"), line)


def _write_request(call: Call, told: Told) -> None:
    line = (
        f'{call.method.members}, "code": "{told.code}", '
        f'"caller": {quoted(call.caller)}, "trace_id": "{call.trace_id}", {told.members()}'
    )
    if told.message:
        line += f', "message": {quoted(shortened(told.message))}'
    line += call.log.left_out(told.code)
    log_request(_LEVEL_OF.get(told.code, "info"), line, event="request")


def code_of(context: Context) -> str:
    """Name of the status code that a method left in its context."""
    # aio keeps the number; a servicer that calls set_code may have put the enum's member there.
    code: Any = context.code()
    if not code:
        return _OK
    if isinstance(code, grpc.StatusCode):
        return code.name
    return _CODE_NAMES.get(code, "UNKNOWN")
