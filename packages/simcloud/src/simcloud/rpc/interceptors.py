"""What stands between the wire and every servicer method: one interceptor, one pass.

For each RPC, in this order: admission → trace context → time limit → the method → our errors to
status and details → metrics, span and log line. One interceptor and not six, since each costs a
call to the handler look-up per RPC: this one wraps a method's handler once and keeps it.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any, Final, TypeAlias

import grpc
import grpc.aio

from simcloud.concurrency import leaves
from simcloud.errors import (
    Bug,
    DeadlineExceeded,
    NotReady,
    Overloaded,
    SimcloudError,
    Unsupported,
)
from simcloud.rpc.auth import ANONYMOUS, caller_of, known_caller
from simcloud.rpc.calls import (
    OUR_FAULT,
    AccessLog,
    Call,
    Context,
    Method,
    code_of,
    serve_call,
    write_line,
)
from simcloud.rpc.deadline import MARGIN_S
from simcloud.rpc.status import shortened, status_trailers
from simcloud.telemetry import metrics, names, tracing
from simcloud.telemetry.logging import get_logger, members

# The edge: requests and responses are whatever the method's serializers say.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
UnaryBehavior: TypeAlias = "Callable[[Any, Context], Awaitable[Any]]"

_log = get_logger(__name__)

# What a caller that is refused for load is told to wait, seconds.
_RETRY_AFTER_S: Final = 0.5


class CallInterceptor(grpc.aio.ServerInterceptor):
    """Everything our servers do around each RPC."""

    def __init__(
        self,
        *,
        max_concurrent_rpcs: int,
        unary_timeout_s: float,
        log: AccessLog,
        identified_callers: bool,
        infrastructure: frozenset[str],
    ) -> None:
        """Makes the interceptor of one server.

        Args:
            max_concurrent_rpcs: RPCs served at once; more are refused with RESOURCE_EXHAUSTED.
            unary_timeout_s: longest a unary RPC may take.
            log: which RPCs are a log line.
            identified_callers: whether callers have client certificates.
            infrastructure: services (health, reflection) that are neither limited, logged nor
                measured, and whose streams are cut at the end.
        """
        self._max_concurrent = max_concurrent_rpcs
        self._unary_timeout_s = unary_timeout_s
        # What methods that keep to the limit by themselves end sooner; a busy event loop is late.
        self._margin_s = min(max(0.02 * unary_timeout_s, MARGIN_S), 1.0, unary_timeout_s / 2)
        self._log = log
        self._identified = identified_callers
        self._infrastructure = infrastructure
        self._handlers: dict[str, Handler] = {}
        self._in_flight = 0
        self._in_flight_gauge = metrics.gauge(names.RPC_IN_FLIGHT)
        self._refused = metrics.counter(names.RPC_REFUSED)
        # Running RPCs, and whether each is one of health or reflection.
        self._running: dict[asyncio.Task[Any], bool] = {}
        self._refusing = False

    @property
    def in_flight(self) -> int:
        """RPCs being served now, infrastructure not counted."""
        return self._in_flight

    def refuse(self) -> None:
        """From here on new RPCs are UNAVAILABLE: those that arrive while gRPC closes the door."""
        self._refusing = True

    def cut(self, *, infrastructure_only: bool = False) -> None:
        """Ends what is running with UNAVAILABLE and its reason.

        Before gRPC does it, whose CANCELLED reads as if the caller had wanted it.

        Args:
            infrastructure_only: only the streams of health and reflection, which last as long as
                their clients.
        """
        for task, infrastructure in list(self._running.items()):
            if infrastructure or not infrastructure_only:
                task.cancel()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """Finds the handler of a method, wrapped; called by gRPC for every RPC."""
        full_name = handler_call_details.method
        known = self._handlers.get(full_name)
        if known is not None:
            return known
        handler = await continuation(handler_call_details)
        if handler is None:
            # Not kept: whoever invents names must not fill our memory or our metrics.
            return self._wrap(self._method("unknown", "unknown"), _unknown_method(full_name))
        service, _, name = full_name.strip("/").rpartition("/")
        wrapped = self._wrap(self._method(service, name), handler)
        self._handlers[full_name] = wrapped
        return wrapped

    def _method(self, service: str, name: str) -> Method:
        return Method(
            full_name=f"{service}/{name}",
            service=service,
            name=name,
            infrastructure=service in self._infrastructure,
            started=metrics.counter(names.RPC_STARTED).labels(service, name),
            members=members({"rpc_service": service, "rpc_method": name}),
        )

    def _wrap(self, method: Method, handler: Handler) -> Handler:
        streams_in, streams_out = bool(handler.request_streaming), bool(handler.response_streaming)
        method.streams = streams_in or streams_out
        if not method.streams:
            method.timeout_s, method.margin_s = self._unary_timeout_s, self._margin_s
        # Typed for the synchronous stack in gRPC's stubs.
        own: Any = handler
        if streams_out:
            behavior = self._around_stream(
                method, own.stream_stream if streams_in else own.unary_stream
            )
        else:
            behavior = self._around_unary(
                method, own.stream_unary if streams_in else own.unary_unary
            )
        make: Callable[..., Handler] = _FACTORIES[streams_in, streams_out]
        return make(
            behavior,
            request_deserializer=handler.request_deserializer,
            response_serializer=handler.response_serializer,
        )

    def _around_unary(self, method: Method, behavior: UnaryBehavior) -> UnaryBehavior:
        async def call_unary(request: Any, context: Context) -> Any:
            call = self._begin(method, context)
            try:
                self._admit(method)
                if method.limit_s(context) is None:
                    response = await behavior(request, context)
                else:
                    response = await self._limited(behavior, request, context)
            except BaseException as error:
                await self._fail(call, context, error)
                raise
            self._end(call, code_of(context))
            return response

        return call_unary

    def _around_stream(self, method: Method, behavior: Any) -> UnaryBehavior:
        # A coroutine that writes, also around an async generator: gRPC would iterate over ours and
        # ours over the method's, which costs every message twice.
        generates = inspect.isasyncgenfunction(behavior)

        async def run(request: Any, context: Context) -> None:
            if not generates:
                await behavior(request, context)
                return
            write = context.write
            async with aclosing(behavior(request, context)) as responses:
                async for response in responses:
                    await write(response)

        async def call_stream(request: Any, context: Context) -> None:
            call = self._begin(method, context)
            try:
                self._admit(method)
                await run(request, context)
            except BaseException as error:
                await self._fail(call, context, error)
                raise
            self._end(call, code_of(context))

        return call_stream

    def _begin(self, method: Method, context: Context) -> Call:
        # Entered and left in pairs with ``_end``, whatever happens between.
        task = asyncio.current_task()
        assert task is not None
        self._running[task] = method.infrastructure
        if not method.infrastructure:
            self._in_flight += 1
            self._in_flight_gauge.inc()
            method.started.inc()
        trace = tracing.begin_trace(tracing.from_metadata(context.invocation_metadata() or ()))
        if self._identified:
            caller = known_caller(caller_of(context))
        else:
            caller = context.peer()
            known_caller(ANONYMOUS)
        span = tracing.start_server_span(method.full_name, caller) if trace.sampled else None
        call = Call(method, task, time.perf_counter(), caller, trace.trace_id, span, self._log)
        serve_call(call)
        return call

    def _admit(self, method: Method) -> None:
        if self._refusing and not method.infrastructure:
            raise _shutting_down("has done nothing of this call")
        if self._in_flight > self._max_concurrent and not method.infrastructure:
            self._refused.inc()
            raise Overloaded(
                f"{self._max_concurrent} RPCs are being served, which is the limit "
                "(max_concurrent_rpcs); try again later or add a replica",
                retry_after_s=_RETRY_AFTER_S,
            )

    async def _limited(self, behavior: UnaryBehavior, request: Any, context: Context) -> Any:
        says = f"{self._unary_timeout_s:g} s, the server's limit for one call (unary_timeout_s)"
        try:
            async with asyncio.timeout(self._unary_timeout_s) as limit:
                return await behavior(request, context)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise DeadlineExceeded(f"not done within {says}") from error
        except DeadlineExceeded as error:
            # A method that keeps to the limit by itself says what it was at, not whose limit it is.
            ends = limit.when()
            if ends is None or asyncio.get_running_loop().time() < ends - 2 * self._margin_s:
                raise
            told = replace(error.parts(), message=f"{error.message}; the call had {says}")
            raise type(error).from_parts(told) from error

    async def _fail(self, call: Call, context: Context, error: BaseException) -> None:
        """Ends the RPC with the status of ``error``; returns if gRPC is to see ``error`` itself."""
        found = _essential(error)
        if isinstance(found, grpc.aio.AbortError):
            # The method aborted by itself; gRPC wants exactly this object back.
            self._end(call, code_of(context))
            raise found
        if not isinstance(found, Exception):
            if not self._refusing or context.cancelled():
                # CancelledError: the caller has gone or its deadline has passed.
                expired = context.time_remaining() == 0
                self._end(call, "DEADLINE_EXCEEDED" if expired else "CANCELLED")
                if found is not error:
                    # A group is no cancel to those who called us.
                    raise found from error
                return
            found = _shutting_down("could not end this call in time (drain_s)")
        if isinstance(found, SimcloudError):
            ours = found
        else:
            ours = Bug(
                f"internal error in {call.method.full_name}; the server's log has it under "
                f"trace_id {call.trace_id}"
            )
            _log.error("unexpected error", method=call.method.full_name, exc_info=error)
        self._end(call, ours.code.name, ours)
        message, trailers = status_trailers(ours)
        await context.abort(ours.code, message, (*context.trailing_metadata(), *trailers))

    def _end(self, call: Call, code: str, error: SimcloudError | None = None) -> None:
        method = call.method
        self._running.pop(call.task, None)
        serve_call(None)
        if method.infrastructure:
            return
        seconds = time.perf_counter() - call.started_at
        self._in_flight -= 1
        self._in_flight_gauge.dec()
        method.observe(code, seconds)
        if call.span is not None:
            message = shortened(error.message) if error else ""
            call.span.end(code, failed=code in OUR_FAULT, message=message)
        write_line(call, code, seconds, error)


def _essential(error: BaseException) -> BaseException:
    """What a method failed with, when a TaskGroup in it wrapped that into a group.

    An abort was sent already; a failure that is not one of ours must be seen; otherwise the first
    of ours is what ended the group. A group that was open across a ``yield`` holds GeneratorExit as
    well: of a method that was left, which is a cancel if there is nothing else.
    """
    if not isinstance(error, BaseExceptionGroup):
        return error
    found = [leaf for leaf in leaves(error) if not isinstance(leaf, GeneratorExit)]
    if not found:
        return asyncio.CancelledError()
    for leaf in found:
        if isinstance(leaf, grpc.aio.AbortError):
            return leaf
    for leaf in found:
        if not isinstance(leaf, SimcloudError):
            return leaf
    return found[0]


def _shutting_down(what: str) -> NotReady:
    # Of any service: what it keeps of a call that was cut, its own contract says.
    return NotReady(
        f"the server is shutting down and {what}; ask another one", retry_after_s=_RETRY_AFTER_S
    )


def _unknown_method(full_name: str) -> Handler:
    async def refuse(request: Any, context: Context) -> None:
        raise Unsupported(f"there is no method {full_name[:200]} here; reflection lists them")

    return grpc.stream_stream_rpc_method_handler(refuse)


_FACTORIES: Final[dict[tuple[bool, bool], Callable[..., Handler]]] = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (True, False): grpc.stream_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}
