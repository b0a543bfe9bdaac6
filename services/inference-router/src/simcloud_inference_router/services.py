"""What the process serves: its gRPC services over one router."""

from __future__ import annotations

from google.protobuf.descriptor_pool import DescriptorPool

from simcloud.oip.pool import pool
from simcloud.rpc.server import Service
from simcloud.v1 import infer_pb2_grpc, router_admin_pb2_grpc
from simcloud_inference_router.admin import RouterAdmin
from simcloud_inference_router.admin_service import FULL_NAME as ADMIN_NAME
from simcloud_inference_router.admin_service import RouterAdminServicer
from simcloud_inference_router.frames import FULL_NAME, InferenceRouterServicer
from simcloud_inference_router.oip import oip_service
from simcloud_inference_router.router import Router


def services(router: Router, *, admin: RouterAdmin | None = None) -> tuple[Service, ...]:
    """The frame stream, the Open Inference Protocol, and what operators call.

    Args:
        router: what answers.
        admin: what operators call; None: nothing of theirs is served.
    """
    servicer = InferenceRouterServicer(router)
    frames = Service(
        FULL_NAME,
        lambda server: infer_pb2_grpc.add_InferenceRouterServiceServicer_to_server(
            servicer, server
        ),
    )
    if admin is None:
        return (frames, oip_service(router))
    operators = Service(
        ADMIN_NAME,
        lambda server: router_admin_pb2_grpc.add_RouterAdminServiceServicer_to_server(
            RouterAdminServicer(admin), server
        ),
    )
    return (frames, oip_service(router), operators)


def descriptor_pools() -> tuple[DescriptorPool, ...]:
    """Pools beside the default one that reflection answers from."""
    return (pool(),)
