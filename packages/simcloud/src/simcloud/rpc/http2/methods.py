"""Methods that a server has, and how a call of each is served."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from simcloud.rpc.http2.context import Context, text_of
from simcloud.rpc.http2.messages import Inbox, MessageRefused
from simcloud.rpc.http2.wire import Metadata
from simcloud.telemetry.logging import get_logger

# The edge: requests and responses are whatever the method's serializers say.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"

_log = get_logger(__name__)


class Requests:
    """Messages of a call, to be iterated over.

    Args:
        context: whose messages.
    """

    __slots__ = ("_context",)

    def __init__(self, context: Context) -> None:
        self._context = context

    def __aiter__(self) -> Requests:
        return self

    async def __anext__(self) -> Any:
        message = await self._context.read()
        if message is grpc.aio.EOF:
            raise StopAsyncIteration
        return message


class ServedMethod:
    """A method as its handler describes it.

    Args:
        handler: of the interceptors, or the servicer's own.
        max_message_bytes: largest message sent.
    """

    __slots__ = (
        "_deserialize",
        "_generates",
        "_max",
        "_serialize",
        "behavior",
        "streams_in",
        "streams_out",
    )

    def __init__(self, handler: Handler, max_message_bytes: int) -> None:
        # Typed for the synchronous stack in gRPC's stubs.
        own: Any = handler
        self.streams_in = bool(handler.request_streaming)
        self.streams_out = bool(handler.response_streaming)
        name = (
            f"{'stream' if self.streams_in else 'unary'}_"
            f"{'stream' if self.streams_out else 'unary'}"
        )
        self.behavior: Callable[..., Any] = getattr(own, name)
        self._generates = inspect.isasyncgenfunction(self.behavior)
        self._deserialize: Callable[[bytes | bytearray], Any] | None = own.request_deserializer
        self._serialize: Callable[[Any], bytes] | None = own.response_serializer
        self._max = max_message_bytes

    def serialized(self, message: Any) -> bytes:
        """Bytes of a response.

        Raises:
            MessageRefused: it is too large, or can't be serialized.
        """
        try:
            data: bytes = message if self._serialize is None else self._serialize(message)
            size = len(data)
        except Exception as error:
            _log.error("a response can't be serialized", exc_info=error)
            raise MessageRefused(
                grpc.StatusCode.INTERNAL, f"the response can't be serialized: {text_of(error)}"
            ) from error
        if size > self._max:
            raise MessageRefused(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"Sent message larger than max ({size} vs. {self._max})",
            )
        return data

    def take(self, inbox: Inbox) -> Any:
        """The next message of a call.

        Raises:
            MessageRefused: it can't be decompressed or read.
        """
        return self._deserialized(inbox.take())

    def _deserialized(self, data: bytes | bytearray) -> Any:
        if self._deserialize is None:
            return data if type(data) is bytes else bytes(data)
        try:
            return self._deserialize(data)
        except (DecodeError, ValueError) as error:
            # What the caller sent; gRPC's own server says INTERNAL, as of a bug of the server's.
            raise MessageRefused(
                grpc.StatusCode.INVALID_ARGUMENT, f"the request can't be read: {text_of(error)}"
            ) from error
        except Exception as error:
            _log.error("a deserializer failed", exc_info=error)
            raise MessageRefused(
                grpc.StatusCode.INTERNAL, "the request can't be read: an error of the server's"
            ) from error

    def request_of(self, context: Context) -> Any:
        """What the servicer gets: the one message, or an iterator.

        Raises:
            MessageRefused: there is not exactly one, or it can't be read.
        """
        if self.streams_in:
            return Requests(context)
        data: bytes | bytearray | None = context.request
        context.request = None
        inbox = context.inbox
        if inbox is not None and inbox.messages and data is None:
            data = inbox.take()
        if data is None or (inbox is not None and (inbox.messages or inbox.partial)):
            raise MessageRefused(
                grpc.StatusCode.UNIMPLEMENTED, "the method takes exactly one message"
            )
        return self._deserialized(data)

    async def serve(self, context: Context) -> None:
        """Serves one call to its end; never raises, and is the whole of the call's task."""
        context.begun = True
        try:
            request = self.request_of(context)
            if not self.streams_out:
                context.finish_with(await self.behavior(request, context))
            elif self._generates:
                async with aclosing(self.behavior(request, context)) as responses:
                    async for response in responses:
                        await context.write(response)
                context.finish()
            else:
                await self.behavior(request, context)
                context.finish()
        except BaseException as error:
            _fail(context, error)
            if not isinstance(error, Exception | asyncio.CancelledError):
                raise
        finally:
            context.connection.calls.served(context)


def _fail(context: Context, error: BaseException) -> None:
    if isinstance(error, grpc.aio.AbortError):
        context.finish()
    elif isinstance(error, MessageRefused):
        context.fail(error.code, error.details)
    elif isinstance(error, asyncio.CancelledError):
        context.fail(grpc.StatusCode.CANCELLED, "the server ended the call")
    else:
        if not context.done():
            _log.error("unexpected error", method=context.head.path, exc_info=error)
        context.fail(
            grpc.StatusCode.UNKNOWN, f"Unexpected {type(error).__name__}: {text_of(error)}"
        )


class _Unknown(ServedMethod):
    """Any method of which nothing is known yet: the first call of each finds it."""

    __slots__ = ("_methods",)

    def __init__(self, methods: Methods, max_message_bytes: int) -> None:
        # As one that streams, so that the call begins with its headers.
        super().__init__(grpc.stream_stream_rpc_method_handler(self.serve), max_message_bytes)
        self._methods = methods

    async def serve(self, context: Context) -> None:
        context.begun = True
        try:
            found = await self._find(context)
        except BaseException as error:
            _fail(context, error)
            found = None
            if not isinstance(error, Exception | asyncio.CancelledError):
                context.connection.calls.served(context)
                raise
        if found is None:
            context.fail(grpc.StatusCode.UNIMPLEMENTED, f"there is no method {context.head.path}")
            context.connection.calls.served(context)
            return
        context.method = found
        await found.serve(context)

    async def _find(self, context: Context) -> ServedMethod | None:
        details = CallDetails(context.head.path, context.head.metadata)
        found = await self._methods.find(details)
        if found is not None and not found.streams_in:
            await context.all_received()
        return found


@dataclass(frozen=True, slots=True)
class CallDetails(grpc.HandlerCallDetails):
    """What interceptors and generic handlers see of a call."""

    method: str
    invocation_metadata: Metadata


class Methods:
    """Handlers by path, found once and kept.

    Args:
        interceptors: each stands around those after it.
        max_message_bytes: largest message sent.
    """

    def __init__(
        self, interceptors: Sequence[grpc.aio.ServerInterceptor], max_message_bytes: int
    ) -> None:
        self._interceptors = interceptors
        self._max = max_message_bytes
        self._generic: list[grpc.GenericRpcHandler] = []
        self._registered: dict[str, Handler] = {}
        self.known: dict[str, ServedMethod] = {}
        """Found already."""
        self.unknown: ServedMethod = _Unknown(self, max_message_bytes)

    def add_generic(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """As ``grpc.aio.Server.add_generic_rpc_handlers``."""
        self._generic += handlers

    def add_registered(self, service_name: str, handlers: Mapping[str, Handler]) -> None:
        """As ``grpc.aio.Server.add_registered_method_handlers``."""
        for name, handler in handlers.items():
            self._registered[f"/{service_name}/{name}"] = handler

    async def find(self, details: grpc.HandlerCallDetails) -> ServedMethod | None:
        """The method of a path, kept from here on; None when there is none and nobody refuses it.

        What no handler is registered for is not kept, whatever an interceptor makes of it: whoever
        invents names must not fill our memory.
        """
        registered = self._own(details)
        handler = await self._intercepted(details, 0, registered)
        if handler is None:
            return None
        method = ServedMethod(handler, self._max)
        if registered is not None:
            self.known[details.method] = method
        return method

    async def _intercepted(
        self, details: grpc.HandlerCallDetails, depth: int, registered: Handler | None
    ) -> Handler | None:
        if depth == len(self._interceptors):
            return registered

        async def onward(passed: grpc.HandlerCallDetails) -> Handler | None:
            return await self._intercepted(passed, depth + 1, registered)

        # Typed as if every method had a handler.
        interceptor: Any = self._interceptors[depth]
        found: Handler | None = await interceptor.intercept_service(onward, details)
        return found

    def _own(self, details: grpc.HandlerCallDetails) -> Handler | None:
        found = self._registered.get(details.method)
        if found is not None:
            return found
        for generic in self._generic:
            served: Handler | None = generic.service(details)
            if served is not None:
                return served
        return None
