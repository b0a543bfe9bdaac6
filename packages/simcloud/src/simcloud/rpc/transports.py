"""What speaks gRPC for a server: our own HTTP/2, or the gRPC library."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from typing import Protocol, cast

import grpc
import grpc.aio

from simcloud.errors import NotReady
from simcloud.rpc.credentials import server_credentials
from simcloud.rpc.http2 import Http2Server, Limits, server_context
from simcloud.rpc.settings import ServerSettings

# Of one connection, beyond the calls that are served: so that those too many are told so
# (RESOURCE_EXHAUSTED), and do not wait unseen in their clients.
_STREAMS_PER_RPC = 2
_LEAST_STREAMS = 256


class AddressInUse(NotReady):
    """The address that a server was told to listen on can't be had."""

    reason = "ADDRESS_IN_USE"


class Transport(Protocol):
    """A server to which services were added, and which listens."""

    async def start(self) -> None:
        """Serves."""

    async def stop(self, grace: float | None) -> None:
        """Takes nothing new, and returns when what runs has ended, or was cut after ``grace``."""


class Listening(Protocol):
    """A server that services can be added to."""

    @property
    def services(self) -> grpc.aio.Server:
        """As generated code takes it."""

    def bind(self) -> int:
        """Takes the settings' address; returns the port, 0 for a Unix socket.

        Raises:
            AddressInUse: it can't be had.
            InvalidRequest: a certificate can't be read.
        """

    @property
    def transport(self) -> Transport:
        """To be started and stopped."""


class OwnHttp2:
    """Our own HTTP/2 (simcloud.rpc.http2).

    Args:
        settings: of the server.
        interceptor: around every call.
    """

    def __init__(self, settings: ServerSettings, interceptor: grpc.aio.ServerInterceptor) -> None:
        self._settings = settings
        self.transport = Http2Server(interceptors=[interceptor], limits=_limits(settings))

    @property
    def services(self) -> grpc.aio.Server:
        """As generated code takes it: it calls two methods, which ours has as well."""
        return cast("grpc.aio.Server", self.transport)

    def bind(self) -> int:
        """As ``Listening.bind``."""
        settings = self._settings
        tls = None if settings.tls is None else server_context(settings.tls)
        try:
            return self.transport.add_port(settings.listen, reuse_port=settings.reuse_port, tls=tls)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise _in_use(settings.listen) from error
            raise AddressInUse(
                f"{settings.listen} can't be listened on ({error.strerror or error}): "
                "choose another with --listen",
                address=settings.listen,
            ) from error


class GrpcLibrary:
    """``grpc.aio``.

    Args:
        settings: of the server.
        interceptor: around every call.
    """

    def __init__(self, settings: ServerSettings, interceptor: grpc.aio.ServerInterceptor) -> None:
        self._settings = settings
        self.services = grpc.aio.server(interceptors=[interceptor], options=_options(settings))

    @property
    def transport(self) -> Transport:
        """To be started and stopped."""
        return self.services

    def bind(self) -> int:
        """As ``Listening.bind``."""
        settings = self._settings
        try:
            if settings.tls is None:
                return self.services.add_insecure_port(settings.listen)
            return self.services.add_secure_port(settings.listen, server_credentials(settings.tls))
        except RuntimeError as error:
            # The cause (taken, not ours, no permission) is in gRPC's own log line only.
            raise _in_use(settings.listen) from error


def open_transport(settings: ServerSettings, interceptor: grpc.aio.ServerInterceptor) -> Listening:
    """What the settings say."""
    if settings.transport == "http2":
        return OwnHttp2(settings, interceptor)
    return GrpcLibrary(settings, interceptor)


def _in_use(listen: str) -> AddressInUse:
    return AddressInUse(
        f"{listen} is in use: choose another with --listen or free it", address=listen
    )


def _limits(settings: ServerSettings) -> Limits:
    return Limits(
        max_message_bytes=settings.max_message_bytes,
        max_streams=max(_LEAST_STREAMS, _STREAMS_PER_RPC * settings.max_concurrent_rpcs),
        keepalive_s=settings.keepalive_s,
        keepalive_timeout_s=settings.keepalive_timeout_s,
        max_age_s=settings.max_connection_age_s,
        age_grace_s=settings.drain_s,
        memory_bytes=settings.transport_memory_bytes,
        request_s=settings.unary_timeout_s,
    )


def _options(settings: ServerSettings) -> Sequence[tuple[str, int]]:
    limits = _limits(settings)
    options = [
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        ("grpc.max_send_message_length", limits.max_message_bytes),
        ("grpc.max_metadata_size", limits.max_header_bytes),
        ("grpc.http2.max_frame_size", limits.max_frame_bytes),
        # On by default on Linux, where a taken port would then silently be shared.
        ("grpc.so_reuseport", int(settings.reuse_port)),
        ("grpc.keepalive_time_ms", _ms(limits.keepalive_s)),
        ("grpc.keepalive_timeout_ms", _ms(limits.keepalive_timeout_s)),
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(limits.min_ping_interval_s)),
        ("grpc.keepalive_permit_without_calls", 1),
    ]
    if limits.max_age_s is not None:
        options += [
            ("grpc.max_connection_age_ms", _ms(limits.max_age_s)),
            ("grpc.max_connection_age_grace_ms", _ms(limits.age_grace_s)),
        ]
    return options


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
