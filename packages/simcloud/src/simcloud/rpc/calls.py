"""One RPC being served: what is measured and written about it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio
from prometheus_client import Counter, Histogram

from simcloud.errors import SimcloudError
from simcloud.telemetry import metrics, names, tracing
from simcloud.telemetry.logging import Level, log_request, members, quoted

# The edge: requests and responses are whatever the method's serializers say.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_CODE_NAMES: Final[dict[int, str]] = {code.value[0]: code.name for code in grpc.StatusCode}
_OK: Final = "OK"
# Whoever calls is not to blame for these, and someone should look.
OUR_FAULT: Final = frozenset({"UNKNOWN", "INTERNAL", "DATA_LOSS"})
_LEVEL_OF: Final[dict[str, Level]] = {
    **dict.fromkeys(OUR_FAULT, "error"),
    **dict.fromkeys(("UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"), "warning"),
}


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
    durations: dict[str, Histogram] = field(default_factory=dict)

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


def write_line(call: Call, code: str, seconds: float, error: SimcloudError | None) -> None:
    """Writes the log line of a finished RPC."""
    line = (
        f'{call.method.members}, "code": "{code}", "duration_ms": {seconds * 1000:.3f}, '
        f'"caller": {quoted(call.caller)}, "trace_id": "{call.trace_id}"'
    )
    if error is not None:
        line += ", " + members({"reason": error.reason, "message": error.message})
    log_request(_LEVEL_OF.get(code, "info"), line)


def code_of(context: Context) -> str:
    """Name of the status code that a method left in its context."""
    # aio keeps the number; a servicer that calls set_code may have put the enum's member there.
    code: Any = context.code()
    if not code:
        return _OK
    if isinstance(code, grpc.StatusCode):
        return code.name
    return _CODE_NAMES.get(code, "UNKNOWN")
