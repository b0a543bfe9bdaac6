"""What the process serves: both gRPC services over one router."""

from __future__ import annotations

from google.protobuf.descriptor_pool import DescriptorPool

from simcloud.oip.pool import pool
from simcloud.rpc.server import Service
from simcloud.v1 import infer_pb2_grpc
from simcloud_inference_router.frames import FULL_NAME, InferenceRouterServicer
from simcloud_inference_router.oip import oip_service
from simcloud_inference_router.router import Router


def services(router: Router) -> tuple[Service, ...]:
    """The frame stream and the Open Inference Protocol."""
    servicer = InferenceRouterServicer(router)
    frames = Service(
        FULL_NAME,
        lambda server: infer_pb2_grpc.add_InferenceRouterServiceServicer_to_server(
            servicer, server
        ),
    )
    return (frames, oip_service(router))


def descriptor_pools() -> tuple[DescriptorPool, ...]:
    """Pools beside the default one that reflection answers from."""
    return (pool(),)
