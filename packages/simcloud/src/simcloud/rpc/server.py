"""A gRPC server of ours: listens, serves, and stops in the right order."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc.aio
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2_grpc

from simcloud.concurrency.service import OneOperation
from simcloud.rpc import health, reflection
from simcloud.rpc.calls import AccessLog
from simcloud.rpc.interceptors import CallInterceptor
from simcloud.rpc.settings import ServerSettings, TlsSettings
from simcloud.rpc.transports import AddressInUse, Transport, open_transport
from simcloud.telemetry import tracing
from simcloud.telemetry.http import metrics_server
from simcloud.telemetry.logging import get_logger

__all__ = [
    "AddressInUse",
    "RunningServer",
    "ServerSettings",
    "Service",
    "TlsSettings",
    "running_server",
    "serve",
]

_log = get_logger(__name__)

_INFRASTRUCTURE: Final = frozenset({health.SERVICE_NAME, *reflection.SERVICE_NAMES})

# What a watch has to hear of NOT_SERVING, and what a cut RPC has to clean up, seconds.
_WATCH_S: Final = 0.5
_CUT_S: Final = 2.0

OnDrain = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Service:
    """A gRPC service to serve.

    ``full_name`` is its protobuf name (health, reflection); ``add`` registers its servicer: with
    generated code ``lambda server: add_XServicer_to_server(servicer, server)``.
    """

    full_name: str
    add: Callable[[grpc.aio.Server], None]


@dataclass(slots=True)
class RunningServer:
    """A server that listens."""

    address: str
    """Where clients connect: ``host:port`` or ``unix:/path``."""
    port: int
    """Port of ``address``; 0 for a Unix socket."""
    metrics_port: int | None
    """Port of ``/metrics`` and ``/healthz``; None without ``metrics_listen``."""
    health: health.Health
    """Status by service, for services that are not always able to serve."""
    draining: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server begins to stop."""


async def serve(
    settings: ServerSettings,
    *,
    services: Sequence[Service],
    name: str,
    extra_pools: Sequence[DescriptorPool] = (),
    background: AbstractAsyncContextManager[Any] | None = None,
    on_drain: OnDrain | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, then drains; returns after everything has stopped.

    A second signal ends the process at once with 128 + its number.

    Args:
        settings: where to listen, limits, TLS, drain.
        services: what to serve; health and reflection are added.
        name: name of the service in logs.
        extra_pools: descriptor pools beside the default one that reflection answers from.
        background: entered before the server listens, left after it has stopped.
        on_drain: called when new RPCs are refused: tells streams to finish or to checkpoint.

    Raises:
        AddressInUse: the address or the metrics address is taken.
    """
    with _stop_signals() as stopped:
        async with running_server(
            settings,
            services=services,
            name=name,
            extra_pools=extra_pools,
            background=background,
            on_drain=on_drain,
        ):
            received = await stopped
            _log.info("stopping", signal=received.name, drain_s=settings.drain_s)
    _log.info("stopped")


@asynccontextmanager
async def running_server(
    settings: ServerSettings,
    *,
    services: Sequence[Service],
    name: str = "simcloud",
    extra_pools: Sequence[DescriptorPool] = (),
    background: AbstractAsyncContextManager[Any] | None = None,
    on_drain: OnDrain | None = None,
) -> AsyncIterator[RunningServer]:
    """Serves during the block; leaving it drains. Arguments and errors as for ``serve``.

    Without signals, so that tests and embedding processes keep theirs.
    """
    interceptor = _interceptor(settings)
    opened = open_transport(settings, interceptor)
    server, transport = opened.services, opened.transport
    names = [service.full_name for service in services]
    status = health.Health(names)
    async with AsyncExitStack() as pools:
        if background is not None:
            await pools.enter_async_context(background)
        health_pb2_grpc.add_HealthServicer_to_server(status, server)
        for service in services:
            service.add(server)
        reflection.add_reflection(server, (*names, health.SERVICE_NAME), extra_pools)
        port = opened.bind()
        # Given back also when what follows fails; after a drain it is nothing.
        pools.push_async_callback(transport.stop, 0)
        running = RunningServer(
            address=_reachable(settings.listen, port),
            port=port,
            metrics_port=await _serve_metrics(settings, status, pools),
            health=status,
        )
        await transport.start()
        try:
            with _port_file(settings.port_file, running):
                _log.info("listening", address=running.address, metrics_port=running.metrics_port)
                yield running
        finally:
            await _drain(
                settings,
                running=running,
                transport=transport,
                interceptor=interceptor,
                on_drain=on_drain,
            )


async def _drain(
    settings: ServerSettings,
    *,
    running: RunningServer,
    transport: Transport,
    interceptor: CallInterceptor,
    on_drain: OnDrain | None,
) -> None:
    """The order of a drain. Each step needs the one before it."""
    # 1. Health says NOT_SERVING, so that load balancers look away before anything is refused.
    running.health.drain()
    running.draining.set()
    await asyncio.sleep(settings.drain_notice_s)
    loop = asyncio.get_running_loop()
    cuts = [
        # A watch that is read ends by itself when it has heard NOT_SERVING.
        loop.call_later(_WATCH_S, partial(interceptor.cut, infrastructure_only=True)),
        loop.call_later(settings.drain_s, interceptor.cut),
    ]
    try:
        async with OneOperation() as group:
            # 2. Stop accepting: new RPCs are refused from here on, running ones have drain_s to
            #    end; then we cut them, and gRPC those that don't let themselves be cut.
            interceptor.refuse()
            group.create_task(transport.stop(settings.drain_s + _CUT_S))
            # 3. Streams that would last for ever are told to finish or to checkpoint, within the
            #    same time.
            if on_drain is not None:
                group.create_task(_told(on_drain, settings.drain_s))
    finally:
        for cut in cuts:
            cut.cancel()
        # 4. The spans of what has just ended.
        await tracing.shutdown()
    # 5. The pools (S3, HTTP, workers) that the RPCs stood on: closed by the caller's exit stack.


async def _told(on_drain: OnDrain, within_s: float) -> None:
    # A drain that fails or hangs must not keep the rest from stopping.
    try:
        async with asyncio.timeout(within_s):
            await on_drain()
    except Exception as error:
        _log.error("draining failed", exc_info=error)


def _interceptor(settings: ServerSettings) -> CallInterceptor:
    return CallInterceptor(
        max_concurrent_rpcs=settings.max_concurrent_rpcs,
        unary_timeout_s=settings.unary_timeout_s,
        log=AccessLog(
            enabled=settings.log_requests,
            ratio=settings.log_sampling_ratio,
            stream_ratio=settings.stream_log_sampling_ratio,
        ),
        identified_callers=settings.tls is not None and settings.tls.client_ca is not None,
        infrastructure=_INFRASTRUCTURE,
    )


async def _serve_metrics(
    settings: ServerSettings, status: health.Health, stack: AsyncExitStack
) -> int | None:
    listen = settings.metrics_listen
    if listen is None:
        return None
    host, _, port = listen.rpartition(":")
    try:
        return await stack.enter_async_context(
            metrics_server(host.strip("[]"), int(port), is_healthy=status.is_serving)
        )
    except OSError as error:
        raise AddressInUse(
            f"{listen} is in use: choose another with --metrics-listen or free it",
            address=listen,
        ) from error


def _reachable(listen: str, port: int) -> str:
    if listen.startswith("unix:"):
        return listen
    host = listen.rpartition(":")[0]
    # The address to listen on everywhere is not one to connect to.
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)  # noqa: S104
    return f"{host}:{port}"


@contextmanager
def _port_file(path: Path | None, running: RunningServer) -> Iterator[None]:
    if path is None:
        yield
        return
    content = json.dumps({"grpc": running.port, "metrics": running.metrics_port})
    # In one piece, so that whoever waits for the file never reads half of it.
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=path.name, delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _stop_signals() -> Iterator[asyncio.Future[signal.Signals]]:
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[signal.Signals] = loop.create_future()

    def stop(received: signal.Signals) -> None:
        if stopped.done():
            # Asked twice: whatever hangs, end now. 128 + n is what shells report for a signal.
            os._exit(128 + received)
        stopped.set_result(received)

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop, each)
    try:
        yield stopped
    finally:
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(each)
