"""What a server tells of itself: health and reflection."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc.aio
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from simcloud.errors import NotFound
from simcloud.oip.pool import SERVICE_NAME as OIP
from simcloud.oip.pool import pool as oip_pool
from simcloud.rpc.channel import connect
from simcloud.rpc.server import ServerSettings, Service, running_server
from simcloud.rpc.status import client_errors
from simcloud.v1 import uploader_pb2
from support.runtime_service import RUNTIME, health_check, serving_runtime

_UPLOADER = uploader_pb2.DESCRIPTOR.services_by_name["UploaderService"].full_name


async def test_health_is_by_service() -> None:
    async with serving_runtime() as (_, server, channel):
        check = health_check(channel)
        for name in ("", RUNTIME):
            response = await check(health_pb2.HealthCheckRequest(service=name))
            assert response.status == health_pb2.HealthCheckResponse.SERVING
        server.health.set_serving(RUNTIME, False)
        response = await check(health_pb2.HealthCheckRequest(service=RUNTIME))
        assert response.status == health_pb2.HealthCheckResponse.NOT_SERVING
        with pytest.raises(NotFound), client_errors():
            await check(health_pb2.HealthCheckRequest(service="no.Such"))


async def _reflect(
    channel: grpc.aio.Channel, version: str, *requests: Any
) -> list[reflection_pb2.ServerReflectionResponse]:
    call: grpc.aio.StreamStreamMultiCallable[Any, Any] = channel.stream_stream(
        f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    return [response async for response in call(iter(requests))]


def _pool_of(files: Iterable[bytes]) -> descriptor_pool.DescriptorPool:
    """A pool of files that come in any order."""
    waiting = {
        file.name: file for file in map(descriptor_pb2.FileDescriptorProto.FromString, files)
    }
    made = descriptor_pool.DescriptorPool()
    while waiting:
        name = next(
            name for name, file in waiting.items() if not waiting.keys() & set(file.dependency)
        )
        made.Add(waiting.pop(name))
    return made


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
async def test_reflection_shows_the_default_and_the_private_pool(version: str) -> None:
    services = [Service(_UPLOADER, lambda _: None), Service(OIP, lambda _: None)]
    asks = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        *(
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
            for symbol in (_UPLOADER, OIP, "grpc.health.v1.Health")
        ),
    ]
    async with (
        running_server(ServerSettings(), services=services, extra_pools=[oip_pool()]) as server,
        connect(server.address) as channel,
    ):
        listed, *found = await _reflect(channel, version, *asks)
    listed_names = {each.name for each in listed.list_services_response.service}
    assert {_UPLOADER, OIP, "grpc.health.v1.Health"} <= listed_names
    client = _pool_of(
        data
        for response in found
        for data in response.file_descriptor_response.file_descriptor_proto
    )
    assert client.FindServiceByName(OIP).methods_by_name["ModelInfer"].input_type.full_name == (
        "inference.ModelInferRequest"
    )
    assert "UploadShard" in client.FindServiceByName(_UPLOADER).methods_by_name
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindFileContainingSymbol(OIP)
