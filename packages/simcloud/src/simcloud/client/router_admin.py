"""Typed client of the inference-router's operators: targets, weights, drains, the catalogue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import grpc.aio

from simcloud.rpc.channel import connect
from simcloud.rpc.durations import seconds_of
from simcloud.rpc.settings import TlsSettings
from simcloud.rpc.status import client_errors
from simcloud.v1 import router_admin_pb2, router_admin_pb2_grpc

__all__ = ["CatalogReload", "RoutedTarget", "RouterAdminClient", "RouterTargets"]


@dataclass(frozen=True, slots=True)
class RoutedTarget:
    """One target of one replica at one moment."""

    model: str
    name: str
    kind: str
    role: str
    """``ordinary``, ``canary`` or ``shadow``."""
    tier: int
    state: str
    """``ready``, ``failing``, ``ejected``, ``cold``, ``draining`` or ``drained``."""
    weight: float
    """In force; what it will be after a drain while there is one."""
    catalog_weight: float
    drained: bool
    """Whether by hand."""
    in_flight: int
    waiting: int
    """For a slot of any target of its model."""
    limit: int
    average_s: float
    """Average time of its latest answers, however long ago, seconds; 0: not known."""


@dataclass(frozen=True, slots=True)
class RouterTargets:
    """The targets of one replica, and the catalogue that they are of."""

    targets: tuple[RoutedTarget, ...]
    catalog_digest: str
    """SHA-256 of the catalogue that is served, in hex."""
    catalog_problem: str
    """Why the file's present content is not served; empty: it is."""
    discovery_problems: tuple[str, ...] = ()
    """Why the last look for tagged endpoints failed, and which tags can't be followed."""


@dataclass(frozen=True, slots=True)
class CatalogReload:
    """What reading the catalogue changed, by model."""

    catalog_digest: str
    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


class RouterAdminClient:
    """Operates one replica of the inference-router; for callers of its setting ``admins``.

    Every method raises PermissionDenied for others. Errors are those of the router.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        """Makes a client on a channel, which stays the caller's to close."""
        # gRPC's generated stub is typed for the synchronous stack.
        self._stub: router_admin_pb2_grpc.RouterAdminServiceStub = (
            router_admin_pb2_grpc.RouterAdminServiceStub(channel)
        )

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, target: str, *, tls: TlsSettings | None = None
    ) -> AsyncIterator[RouterAdminClient]:
        """A client with a channel of its own, closed at the end.

        Args:
            target: ``host:port`` of one replica: what is set is set there alone.
            tls: certificates; None for plain text.
        """
        async with connect(target, tls=tls) as channel:
            yield cls(channel)

    async def targets(self) -> RouterTargets:
        """All targets as they are now."""
        with client_errors():
            answer = await self._stub.ListTargets(router_admin_pb2.ListTargetsRequest())
        return RouterTargets(
            targets=tuple(_target(each) for each in answer.targets),
            catalog_digest=answer.catalog_digest,
            catalog_problem=answer.catalog_problem,
            discovery_problems=tuple(answer.discovery_problems),
        )

    async def set_weight(self, target: str, weight: float) -> RoutedTarget:
        """Sets a target's share of the traffic; 0 lets nothing new go there.

        Raises:
            NotFound: there is no such target, or it is a shadow.
            InvalidRequest: the weight is negative or not finite.
        """
        request = router_admin_pb2.SetWeightRequest(target=target, weight=weight)
        with client_errors():
            answer = await self._stub.SetWeight(request)
        return _target(answer.target)

    async def drain(self, target: str) -> RoutedTarget:
        """Lets nothing new go to a target; what is there goes on.

        Raises:
            NotFound: there is no such target, or it is a shadow.
        """
        with client_errors():
            answer = await self._stub.Drain(router_admin_pb2.DrainRequest(target=target))
        return _target(answer.target)

    async def undrain(self, target: str) -> RoutedTarget:
        """Ends a drain.

        Raises:
            NotFound: there is no such target, or it is a shadow.
        """
        with client_errors():
            answer = await self._stub.Undrain(router_admin_pb2.UndrainRequest(target=target))
        return _target(answer.target)

    async def reload_catalog(self) -> CatalogReload:
        """Has the catalogue read now.

        Raises:
            PreconditionFailed: it is not valid; the last good one is served on.
        """
        with client_errors():
            answer = await self._stub.ReloadCatalog(router_admin_pb2.ReloadCatalogRequest())
        return CatalogReload(
            catalog_digest=answer.catalog_digest,
            added=tuple(answer.added),
            changed=tuple(answer.changed),
            removed=tuple(answer.removed),
        )


def _target(message: router_admin_pb2.RoutedTarget) -> RoutedTarget:
    average = message.average_time
    return RoutedTarget(
        model=message.model,
        name=message.name,
        kind=message.kind,
        role=message.role,
        tier=message.tier,
        state=message.state,
        weight=message.weight,
        catalog_weight=message.catalog_weight,
        drained=message.drained,
        in_flight=message.in_flight,
        waiting=message.waiting,
        limit=message.limit,
        average_s=seconds_of(average),
    )
