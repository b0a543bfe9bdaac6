"""Whether a process of ours can work now."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2

from simcloud.errors import PreconditionFailed

_PROBE_TIMEOUT_S = 2.0


def grpc_ready(port_file: Path) -> Callable[[], Awaitable[bool]]:
    """Asks grpc.health.v1 at the port that the service wrote to its port file."""

    async def ready() -> bool:
        port = grpc_port(port_file)
        if port is None:
            return False
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            check = channel.unary_unary(
                "/grpc.health.v1.Health/Check",
                request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
                response_deserializer=health_pb2.HealthCheckResponse.FromString,
            )
            try:
                answer = await check(health_pb2.HealthCheckRequest(), timeout=_PROBE_TIMEOUT_S)
            except grpc.aio.AioRpcError:
                return False
            return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    return ready


def http_ready(port_file: Path, path: str) -> Callable[[], Awaitable[bool]]:
    """Asks for a page at the port of a port file; ready is 200."""

    async def ready() -> bool:
        port = http_port(port_file)
        return port is not None and await _status(port, path) == 200

    return ready


def grpc_port(port_file: Path) -> int | None:
    """The port of a service's port file; None when it isn't there yet."""
    try:
        return int(json.loads(port_file.read_text())["grpc"])
    except FileNotFoundError:
        return None


def http_port(port_file: Path) -> int | None:
    """The port of the model container's port file; None when it isn't there yet."""
    try:
        return int(port_file.read_text())
    except FileNotFoundError:
        return None


async def _status(port: int, path: str) -> int:
    """HTTP status of a GET on loopback; 0 when there was no answer."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(_PROBE_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
            line = await reader.readline()
    except (OSError, TimeoutError):
        return 0
    finally:
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
    words = line.split()
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else 0


def refuse_taken_port(port: int, what: str) -> None:
    """Returns when a port of loopback is free; 0 always is.

    Raises:
        PreconditionFailed: something listens there.
    """
    if port == 0:
        return
    with socket.socket() as probe:
        # As servers do: a port in TIME_WAIT is free, one that is listened on is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PreconditionFailed(
                f"port {port} for the {what} is taken ({error.strerror}): stop what listens there, "
                f"or choose another port (--ephemeral takes free ones)"
            ) from error
