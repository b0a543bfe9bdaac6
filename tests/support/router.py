"""The inference-router within the test's process: real gRPC server, real HTTP to its targets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import yaml
from pydantic import SecretStr

from simcloud.client.router import RouterClient
from simcloud.client.router_admin import RouterAdminClient
from simcloud.oip.pool import OipMessage
from simcloud.oip.service import Stub
from simcloud.oip.tensors import new
from simcloud.rpc.channel import connect
from simcloud.rpc.server import running_server
from simcloud.rpc.status import client_errors
from simcloud_inference_router.reload import CatalogReloader
from simcloud_inference_router.router import Router
from simcloud_inference_router.services import descriptor_pools
from simcloud_inference_router.serving import opened_router
from simcloud_inference_router.settings import RouterSettings, SageMakerSettings

ROOT = Path(__file__).parents[2]
LOCAL_CATALOG = ROOT / "services" / "inference-router" / "catalog" / "local.yaml"
DIGEST = "0" * 64
CREDENTIALS = SageMakerSettings(access_key_id="AKID", secret_access_key=SecretStr("secret"))


@dataclass(frozen=True, slots=True)
class RunningRouter:
    """A router that listens."""

    address: str
    router: Router
    channel: grpc.aio.Channel
    client: RouterClient
    oip: Stub
    admin: RouterAdminClient
    reloader: CatalogReloader


def write_catalog(
    folder: Path, *models: object, discovery: dict[str, object] | None = None
) -> Path:
    """A catalogue file."""
    path = folder / "catalog.yaml"
    content = {"models": list(models)} | ({"discovery": discovery} if discovery else {})
    path.write_text(yaml.safe_dump(content))
    return path


def model(name: str = "det", **changes: object) -> dict[str, object]:
    """A model with one FP32 tensor each way, served by endpoint ``det``."""
    return {
        "name": name,
        "task": "object_detection",
        "digest": DIGEST,
        "labels": ["cat", "dog"],
        "max_batch_size": 8,
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}],
        "targets": [{"name": name, "kind": "sagemaker", "endpoint": name}],
        **changes,
    }


def row_request(name: str = "det", request_id: str = "") -> OipMessage:
    """A request of one row for a model as ``model`` makes it."""
    request = new("ModelInferRequest")
    request.model_name, request.id = name, request_id
    request.inputs.add(name="x", datatype="FP32", shape=[1, 4])
    request.raw_input_contents.append(bytes(16))
    return request


async def infer(
    router: RunningRouter, request: OipMessage | None = None, *, timeout_s: float = 30
) -> OipMessage:
    """A unary answer, or our error; one row for ``det`` by default."""
    with client_errors():
        return await router.oip.ModelInfer(request or row_request(), timeout=timeout_s)


@asynccontextmanager
async def running_router(settings: RouterSettings) -> AsyncIterator[RunningRouter]:
    """A router that serves within the block; leaving it drains.

    Args:
        settings: ``settings_for`` gives the usual ones.
    """
    async with (
        opened_router(settings) as opened,
        running_server(
            settings,
            services=opened.services,
            name="inference-router",
            extra_pools=descriptor_pools(),
            on_drain=opened.router.drain.begin,
        ) as server,
        connect(server.address) as channel,
    ):
        yield RunningRouter(
            address=server.address,
            router=opened.router,
            channel=channel,
            client=RouterClient(channel),
            oip=Stub(channel),
            admin=RouterAdminClient(channel),
            reloader=opened.reloader,
        )


def settings_for(catalog: Path, endpoint_url: str, **changes: object) -> RouterSettings:
    """Settings of a router in front of one endpoint."""
    return RouterSettings.model_validate(
        {
            "catalog": catalog,
            "sagemaker_endpoint_url": endpoint_url,
            "sagemaker": CREDENTIALS,
            "drain_s": 5.0,
            **changes,
        }
    )
