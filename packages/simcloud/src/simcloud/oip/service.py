# ruff: noqa: N802 - the names are the protocol's
"""``inference.GRPCInferenceService``: methods, stub and servicer without generated modules."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from simcloud.errors import InvalidRequest
from simcloud.oip import pool
from simcloud.oip.pool import SERVICE_NAME, OipMessage

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

# The one method with streams.
STREAM_METHOD: Final = "ModelStreamInfer"


@dataclass(frozen=True, slots=True)
class Method:
    """One method: its path on the wire, its message classes, whether it streams both ways."""

    name: str
    path: str
    request: type[OipMessage]
    response: type[OipMessage]
    streaming: bool


def _methods() -> dict[str, Method]:
    classes = pool.messages()
    return {
        method.name: Method(
            name=method.name,
            path=f"/{SERVICE_NAME}/{method.name}",
            request=classes[method.input_type.name],
            response=classes[method.output_type.name],
            streaming=method.name == STREAM_METHOD,
        )
        for method in pool.method_descriptors()
    }


METHODS: Final = _methods()


class Servicer(Protocol):
    """What answers. Methods raise our errors; messages are those of ``pool.messages()``."""

    async def ServerLive(self, request: OipMessage, context: Context) -> OipMessage:
        """Whether the server is alive."""

    async def ServerReady(self, request: OipMessage, context: Context) -> OipMessage:
        """Whether the server is ready for inference."""

    async def ModelReady(self, request: OipMessage, context: Context) -> OipMessage:
        """Whether a model is ready for inference."""

    async def ServerMetadata(self, request: OipMessage, context: Context) -> OipMessage:
        """Name, version and extensions of the server."""

    async def ModelMetadata(self, request: OipMessage, context: Context) -> OipMessage:
        """Inputs and outputs of a model."""

    async def ModelInfer(self, request: OipMessage, context: Context) -> OipMessage:
        """One inference."""

    def ModelStreamInfer(
        self, request_iterator: AsyncIterable[OipMessage], context: Context
    ) -> AsyncIterator[OipMessage]:
        """Inferences on a stream."""

    async def ModelConfig(self, request: OipMessage, context: Context) -> OipMessage:
        """Configuration of a model."""

    async def ModelStatistics(self, request: OipMessage, context: Context) -> OipMessage:
        """Cumulative statistics."""

    async def RepositoryIndex(self, request: OipMessage, context: Context) -> OipMessage:
        """The models of the catalogue."""


def add_servicer(
    server: grpc.aio.Server,
    servicer: Servicer,
    *,
    raw_methods: frozenset[str] = frozenset(),
) -> None:
    """Registers a servicer.

    Args:
        server: not yet started.
        servicer: answers every method of ``METHODS``.
        raw_methods: methods whose requests arrive, and whose responses are returned, as ``bytes``:
            parsing and serializing are then the servicer's (for a stream: a message each).
    """
    server.add_registered_method_handlers(
        SERVICE_NAME,
        {
            method.name: _handler(method, servicer, raw=method.name in raw_methods)
            for method in METHODS.values()
        },
    )


def _handler(method: Method, servicer: Servicer, *, raw: bool) -> grpc.RpcMethodHandler[Any, Any]:
    make: Callable[..., grpc.RpcMethodHandler[Any, Any]] = (
        grpc.stream_stream_rpc_method_handler
        if method.streaming
        else grpc.unary_unary_rpc_method_handler
    )
    behaviour = getattr(servicer, method.name)
    if raw:
        return make(behaviour, request_deserializer=None, response_serializer=None)
    if method.streaming:
        return make(
            behaviour,
            request_deserializer=method.request.FromString,
            response_serializer=method.response.SerializeToString,
        )

    # Parsed here and not by gRPC, to which bytes that are no message are an UNKNOWN error.
    async def parsing(data: bytes, context: Context) -> OipMessage:
        try:
            request = method.request.FromString(data)
        except DecodeError as error:
            raise InvalidRequest("", f"the message is no {method.request.__name__}") from error
        return await behaviour(request, context)

    return make(
        parsing,
        request_deserializer=None,
        response_serializer=method.response.SerializeToString,
    )


class Stub:
    """Client of the service: ``await stub.ModelInfer(request, timeout=…)``.

    Each attribute is gRPC's multi-callable of that method; ``ModelStreamInfer`` takes an iterator
    of requests and is iterated for its responses. Errors are gRPC's: ``simcloud.rpc.status``
    translates them.
    """

    ServerLive: Callable[..., Awaitable[OipMessage]]
    ServerReady: Callable[..., Awaitable[OipMessage]]
    ModelReady: Callable[..., Awaitable[OipMessage]]
    ServerMetadata: Callable[..., Awaitable[OipMessage]]
    ModelMetadata: Callable[..., Awaitable[OipMessage]]
    ModelInfer: Callable[..., Awaitable[OipMessage]]
    ModelStreamInfer: Callable[..., Any]
    ModelConfig: Callable[..., Awaitable[OipMessage]]
    ModelStatistics: Callable[..., Awaitable[OipMessage]]
    RepositoryIndex: Callable[..., Awaitable[OipMessage]]

    def __init__(self, channel: grpc.aio.Channel) -> None:
        for method in METHODS.values():
            make = channel.stream_stream if method.streaming else channel.unary_unary
            call = make(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
            setattr(self, method.name, call)
