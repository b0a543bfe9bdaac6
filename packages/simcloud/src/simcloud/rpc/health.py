"""``grpc.health.v1`` with an end: watchers hear NOT_SERVING and are let go when the server drains.

The reference servicer keeps a Watch open until its client leaves, so a load balancer's watch would
hold a drain for its whole grace.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from simcloud.errors import NotFound

SERVICE_NAME = "grpc.health.v1.Health"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVICE_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health(health_pb2_grpc.HealthServicer):
    """Status of the server (the empty name) and of each service."""

    def __init__(self, service_names: Iterable[str]) -> None:
        self._serving = {"": True} | dict.fromkeys(service_names, True)
        self._draining = False
        self._changed = asyncio.Event()

    def set_serving(self, service_name: str, serving: bool) -> None:
        """Sets the status of one service; without effect once the server drains.

        Args:
            service_name: full name, or the empty one for the whole server.
            serving: whether it can do its work now.
        """
        if not self._draining:
            self._serving[service_name] = serving
            self._announce()

    def is_serving(self, service_name: str = "") -> bool:
        """Whether a service, by default the whole server, is SERVING."""
        return self._serving.get(service_name, False)

    def drain(self) -> None:
        """Sets everything to NOT_SERVING for good and lets the watchers go."""
        self._draining = True
        self._serving = dict.fromkeys(self._serving, False)
        self._announce()

    async def Check(  # noqa: N802 - the protocol's name
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> health_pb2.HealthCheckResponse:
        """Status of one service; NOT_FOUND for a name the server doesn't have."""
        if request.service not in self._serving:
            raise NotFound(
                f"no service is called {request.service!r} here; reflection lists the services"
            )
        return health_pb2.HealthCheckResponse(status=self._status(request.service))

    async def Watch(  # noqa: N802 - the protocol's name
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Status of one service now and at each change; ends when the server drains."""
        last: int | None = None
        while True:
            changed = self._changed
            status = self._status(request.service)
            if status != last:
                last = status
                yield health_pb2.HealthCheckResponse(status=status)
            if self._draining:
                return
            await changed.wait()

    def _status(self, service_name: str) -> int:
        if service_name not in self._serving:
            return SERVICE_UNKNOWN
        return SERVING if self._serving[service_name] else NOT_SERVING

    def _announce(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
