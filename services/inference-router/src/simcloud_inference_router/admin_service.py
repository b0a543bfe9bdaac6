# ruff: noqa: N802 - the names are the contract's
"""RouterAdminService: who asks is looked at, then wire messages to what is done and back."""

from __future__ import annotations

from typing import Any

import grpc.aio

from simcloud.errors import InvalidRequest
from simcloud.rpc.auth import caller_of
from simcloud.rpc.durations import duration_of
from simcloud.v1 import router_admin_pb2 as pb
from simcloud.v1 import router_admin_pb2_grpc
from simcloud_inference_router.admin import RouterAdmin, TargetView

FULL_NAME = "simcloud.v1.RouterAdminService"


class RouterAdminServicer(router_admin_pb2_grpc.RouterAdminServiceServicer):
    """The service.

    Args:
        admin: what is done, and for whom.
    """

    def __init__(self, admin: RouterAdmin) -> None:
        self._admin = admin

    async def ListTargets(
        self,
        request: pb.ListTargetsRequest,
        context: grpc.aio.ServicerContext[pb.ListTargetsRequest, pb.ListTargetsResponse],
    ) -> pb.ListTargetsResponse:
        """All targets as they are now."""
        self._operator(context)
        return pb.ListTargetsResponse(
            targets=[_to_wire(view) for view in self._admin.targets()],
            catalog_digest=self._admin.digest,
            catalog_problem=self._admin.problem,
            discovery_problems=self._admin.discovery_problems,
        )

    async def SetWeight(
        self,
        request: pb.SetWeightRequest,
        context: grpc.aio.ServicerContext[pb.SetWeightRequest, pb.SetWeightResponse],
    ) -> pb.SetWeightResponse:
        """A target's share."""
        caller = self._operator(context)
        if not request.HasField("weight"):
            raise InvalidRequest("weight", "is missing; give 0 or more")
        view = self._admin.set_weight(caller, _named(request.target), request.weight)
        return pb.SetWeightResponse(target=_to_wire(view))

    async def Drain(
        self,
        request: pb.DrainRequest,
        context: grpc.aio.ServicerContext[pb.DrainRequest, pb.DrainResponse],
    ) -> pb.DrainResponse:
        """Nothing new for a target."""
        caller = self._operator(context)
        view = self._admin.drain(caller, _named(request.target))
        return pb.DrainResponse(target=_to_wire(view))

    async def Undrain(
        self,
        request: pb.UndrainRequest,
        context: grpc.aio.ServicerContext[pb.UndrainRequest, pb.UndrainResponse],
    ) -> pb.UndrainResponse:
        """A target as before its drain."""
        caller = self._operator(context)
        view = self._admin.undrain(caller, _named(request.target))
        return pb.UndrainResponse(target=_to_wire(view))

    async def ReloadCatalog(
        self,
        request: pb.ReloadCatalogRequest,
        context: grpc.aio.ServicerContext[pb.ReloadCatalogRequest, pb.ReloadCatalogResponse],
    ) -> pb.ReloadCatalogResponse:
        """The catalogue read now."""
        change = await self._admin.reload(self._operator(context))
        return pb.ReloadCatalogResponse(
            catalog_digest=self._admin.digest,
            added=change.added,
            changed=change.changed,
            removed=change.removed,
        )

    def _operator(self, context: grpc.aio.ServicerContext[Any, Any]) -> str:
        """Who asks.

        Raises:
            PermissionDenied: it is no operator.
        """
        caller = caller_of(context)
        self._admin.check(caller)
        return caller


def _named(target: str) -> str:
    if not target:
        raise InvalidRequest("target", "is empty; name a target of the catalogue")
    return target


def _to_wire(view: TargetView) -> pb.RoutedTarget:
    now = view.now
    return pb.RoutedTarget(
        model=view.model,
        name=now.name,
        kind=now.kind,
        role=now.role,
        tier=now.tier,
        state=view.state,
        weight=view.weight,
        catalog_weight=view.catalog_weight,
        drained=now.drained,
        in_flight=now.in_flight + view.former_in_flight,
        waiting=view.waiting,
        limit=now.limit,
        average_time=duration_of(now.mean_s),
    )
