"""Client channels: limits, keep-alive, TLS, trace context; retries are the caller's business."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Final, Self

import grpc
import grpc.aio

from simcloud.rpc.credentials import channel_credentials
from simcloud.rpc.settings import MIB, TlsSettings
from simcloud.telemetry import tracing

MAX_MESSAGE_BYTES: Final = 16 * MIB
_MAX_METADATA_BYTES: Final = 32 * 1024


def connect(
    target: str,
    *,
    tls: TlsSettings | None = None,
    max_message_bytes: int = MAX_MESSAGE_BYTES,
    keepalive_s: float = 30.0,
) -> grpc.aio.Channel:
    """Opens a channel; connects at the first call. Close it, or use it as ``async with``.

    gRPC's own retries are off: the ones who call know what may be repeated. Calls made within an
    RPC continue its trace.

    Args:
        target: ``host:port``, ``dns:///name:port`` or ``unix:/path``.
        tls: certificates; None for plain text.
        max_message_bytes: largest message sent or received.
        keepalive_s: idle time after which the connection is probed, so that a server that has
            vanished is noticed within this and 10 s.
    """
    options: list[tuple[str, str | int]] = [
        ("grpc.max_receive_message_length", max_message_bytes),
        ("grpc.max_send_message_length", max_message_bytes),
        ("grpc.max_metadata_size", _MAX_METADATA_BYTES),
        ("grpc.enable_retries", 0),
        ("grpc.keepalive_time_ms", round(keepalive_s * 1000)),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # The default gives up probing after two pings without data.
        ("grpc.http2.max_pings_without_data", 0),
        # A server that restarts is found again within a second, not after the default's minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1_000),
        # Two channels to one target are two connections: streams of one don't stall the other.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if tls is None:
        return _TracedChannel(grpc.aio.insecure_channel(target, options=options))
    if tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", tls.server_name))
    return _TracedChannel(
        grpc.aio.secure_channel(target, channel_credentials(tls), options=options)
    )


class _TracedCallable:
    """A multi-callable whose calls carry the current trace context.

    In place of a client interceptor: aio's interceptors put a task and a queue between a stream's
    caller and its connection, which costs every message.
    """

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(
        self, *args: Any, metadata: Sequence[tuple[str, str]] | None = None, **options: Any
    ) -> Any:
        own = tracing.outgoing_metadata()
        if own and not any(key == "traceparent" for key, _ in metadata or ()):
            metadata = (*(metadata or ()), *own)
        return self._make(*args, metadata=metadata, **options)


class _TracedChannel(grpc.aio.Channel):
    """A channel whose calls carry the current trace context."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel

    def unary_unary(self, *args: Any, **options: Any) -> Any:
        return _TracedCallable(self._channel.unary_unary(*args, **options))

    def unary_stream(self, *args: Any, **options: Any) -> Any:
        return _TracedCallable(self._channel.unary_stream(*args, **options))

    def stream_unary(self, *args: Any, **options: Any) -> Any:
        return _TracedCallable(self._channel.stream_unary(*args, **options))

    def stream_stream(self, *args: Any, **options: Any) -> Any:
        return _TracedCallable(self._channel.stream_stream(*args, **options))

    async def close(self, grace: float | None = None) -> None:
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        await self._channel.channel_ready()

    async def __aenter__(self) -> Self:
        await self._channel.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool | None:
        return await self._channel.__aexit__(exc_type, exc_val, exc_tb)
