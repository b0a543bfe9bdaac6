"""Traces: W3C trace context in and out of gRPC metadata, spans by OpenTelemetry when asked for.

Every RPC has a trace id, given by its caller or made here, which its log lines and its outgoing
calls carry. Spans are made and exported only with an OTLP endpoint, and only for sampled traces;
otherwise the whole of it costs about a microsecond an RPC.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from opentelemetry.context.context import Context as OtelContext
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

AttributeValue = str | bool | int | float
Metadata = Iterable[tuple[str, str | bytes]]

# W3C Trace Context, section 3.2: version-traceid-parentid-flags; ids of zeros are invalid.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?"
)
# Section 3.3.1.1: propagate at least 512 characters; longer ones are dropped whole.
_MAX_TRACESTATE: Final = 512


class TraceContext(NamedTuple):
    """Where we are in a trace: ids in lower-case hex, as in the ``traceparent`` header.

    A tuple: every RPC makes one, at a third of a frozen dataclass' cost.
    """

    trace_id: str
    span_id: str
    sampled: bool
    state: str = ""

    @property
    def traceparent(self) -> str:
        """The header of calls made from here."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"


class _Exporting:
    """Mutable state of this module: the exporter, None without an endpoint."""

    provider: TracerProvider | None = None
    tracer: Tracer | None = None
    sampling_ratio: float = 0.0


_current: Final[ContextVar[TraceContext | None]] = ContextVar("simcloud_trace", default=None)


def configure(
    service: str, otlp_endpoint: str | None = None, *, sampling_ratio: float = 1.0
) -> None:
    """Sets up the export of spans for the process; without an endpoint there is none.

    Args:
        service: name under which the spans appear, for example ``uploader``.
        otlp_endpoint: ``http://host:4317`` (plain) or ``https://…`` (TLS), OTLP over gRPC.
        sampling_ratio: share of the traces begun here that are kept; a caller's decision is
            followed.
    """
    _Exporting.provider = None
    _Exporting.tracer = None
    _Exporting.sampling_ratio = sampling_ratio if otlp_endpoint else 0.0
    if not otlp_endpoint:
        return
    # Only here: the SDK and its protocol cost 20 MB and 0.2 s that most processes never use.
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON

    # We have decided before a span is made, hence ALWAYS_ON.
    provider = TracerProvider(
        sampler=ALWAYS_ON,
        resource=Resource.create({SERVICE_NAME: service}),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(
        endpoint=otlp_endpoint, insecure=not otlp_endpoint.startswith("https"), timeout=5
    )
    # Bounded: 2048 spans wait at most; more are dropped and counted by the SDK.
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=2048))
    _Exporting.provider = provider
    _Exporting.tracer = provider.get_tracer("simcloud")


async def shutdown(*, deadline_s: float = 5.0) -> None:
    """Exports what is left, at most ``deadline_s`` seconds, and stops exporting. Idempotent."""
    provider = _Exporting.provider
    _Exporting.provider = None
    _Exporting.tracer = None
    if provider is not None:
        await asyncio.to_thread(_shutdown, provider, deadline_s)


def _shutdown(provider: TracerProvider, deadline_s: float) -> None:
    provider.force_flush(round(deadline_s * 1000))
    provider.shutdown()


def current() -> TraceContext | None:
    """Where we are; None outside of any trace."""
    return _current.get()


def current_trace_id() -> str:
    """Trace id for a log line or a message; empty outside of any trace."""
    context = _current.get()
    return context.trace_id if context is not None else ""


def recording() -> bool:
    """Whether a span made here would be kept: for code that prepares something for it."""
    if _Exporting.tracer is None:
        return False
    context = _current.get()
    return context is not None and context.sampled


def outgoing_metadata() -> tuple[tuple[str, str], ...]:
    """Metadata that continues this trace in a call; empty outside of any trace."""
    context = _current.get()
    if context is None:
        return ()
    if context.state:
        return (("traceparent", context.traceparent), ("tracestate", context.state))
    return (("traceparent", context.traceparent),)


def from_metadata(metadata: Metadata) -> TraceContext | None:
    """The caller's trace context; None when it sent none or an invalid one."""
    parent = ""
    state = ""
    for key, value in metadata:
        if key == "traceparent" and isinstance(value, str):
            parent = value
        elif key == "tracestate" and isinstance(value, str):
            state = value if len(value) <= _MAX_TRACESTATE else ""
    if not parent:
        return None
    match = _TRACEPARENT.fullmatch(parent)
    if match is None:
        return None
    return TraceContext(match[1], match[2], bool(int(match[3], 16) & 1), state)


def begin_trace(caller: TraceContext | None = None) -> TraceContext:
    """Makes the caller's context, or that of a new trace, the current one of this task.

    A context without a span of ours is passed on as it is: then our caller is the parent of what
    we call.
    """
    context = caller
    if context is None:
        # Ids and samples need to differ, not to be secret.
        draw = random.random()  # noqa: S311
        sampled = _Exporting.tracer is not None and draw < _Exporting.sampling_ratio
        context = TraceContext(
            f"{random.getrandbits(128) | 1:032x}", f"{random.getrandbits(64) | 1:016x}", sampled
        )
    _current.set(context)
    return context


class ServerSpan:
    """The span of one RPC, from ``start_server_span``."""

    __slots__ = ("_span",)

    def __init__(self, span: Span) -> None:
        self._span = span

    def end(self, code: str, *, failed: bool, message: str = "") -> None:
        """Ends the span.

        Args:
            code: name of the gRPC status code.
            failed: whether the server is to blame.
            message: the error's message.
        """
        from opentelemetry.trace import Status, StatusCode

        self._span.set_attribute("rpc.response.status_code", code)
        if failed:
            self._span.set_status(Status(StatusCode.ERROR, message))
        self._span.end()


def start_server_span(method: str, caller: str) -> ServerSpan | None:
    """Starts the span of an RPC below the current context; None if this trace is not kept.

    Args:
        method: full method without the leading slash, for example
            ``simcloud.v1.UploaderService/GetRun``.
        caller: identity or address of the caller.
    """
    tracer = _Exporting.tracer
    context = _current.get()
    if tracer is None or context is None or not context.sampled:
        return None
    from opentelemetry.trace import SpanKind

    # OpenTelemetry "Semantic conventions for RPC spans".
    attributes = {"rpc.system.name": "grpc", "rpc.method": method, "client.address": caller}
    span = tracer.start_span(
        method, context=_otel_context(context), kind=SpanKind.SERVER, attributes=attributes
    )
    _enter(span, context)
    return ServerSpan(span)


@contextmanager
def span(name: str, attributes: Mapping[str, AttributeValue] | None = None) -> Iterator[None]:
    """A span around a block, below the current context; nothing at all if it isn't kept.

    Args:
        name: what is done, of low cardinality: ``upload part``, not ``upload part 17``.
        attributes: what tells this one from the others.
    """
    tracer = _Exporting.tracer
    parent = _current.get()
    if tracer is None or parent is None or not parent.sampled:
        yield
        return
    from opentelemetry.trace import Status, StatusCode

    child = tracer.start_span(name, context=_otel_context(parent), attributes=attributes)
    _enter(child, parent)
    try:
        yield
    except Exception as error:
        child.set_status(Status(StatusCode.ERROR, str(error)))
        raise
    finally:
        _current.set(parent)
        child.end()


def _enter(span: Span, parent: TraceContext) -> None:
    ids = span.get_span_context()
    _current.set(TraceContext(f"{ids.trace_id:032x}", f"{ids.span_id:016x}", True, parent.state))


def _otel_context(context: TraceContext) -> OtelContext:
    from opentelemetry.trace import (
        NonRecordingSpan,
        SpanContext,
        TraceFlags,
        set_span_in_context,
    )

    parent = SpanContext(
        trace_id=int(context.trace_id, 16),
        span_id=int(context.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
    )
    return set_span_in_context(NonRecordingSpan(parent))
