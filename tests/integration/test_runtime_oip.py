from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest

from simcloud.errors import NotFound
from simcloud.oip import service
from simcloud.oip.pool import SERVICE_NAME, messages, pool
from simcloud.oip.service import METHODS, Stub, add_servicer
from simcloud.oip.tensors import (
    fill_request,
    fill_response,
    input_tensors,
    new,
    output_arrays,
)
from simcloud.rpc.channel import connect
from simcloud.rpc.server import ServerSettings, Service, running_server
from simcloud.rpc.status import client_errors


class _Echo:
    """Answers every inference with its inputs."""

    async def ServerLive(self, request: Any, context: Any) -> Any:
        return messages()["ServerLiveResponse"](live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:
        return messages()["ServerReadyResponse"](ready=True)

    async def ModelReady(self, request: Any, context: Any) -> Any:
        return messages()["ModelReadyResponse"](ready=request.name == "echo")

    async def ServerMetadata(self, request: Any, context: Any) -> Any:
        return messages()["ServerMetadataResponse"](name="echo", version="1")

    async def ModelMetadata(self, request: Any, context: Any) -> Any:
        raise NotFound(f"no model {request.name}", model=request.name)

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        response = new("ModelInferResponse")
        response.id = request.id
        fill_response(response, input_tensors(request))
        return response

    async def ModelStreamInfer(
        self, request_iterator: AsyncIterable[Any], context: Any
    ) -> AsyncIterator[Any]:
        async for request in request_iterator:
            answer = new("ModelStreamInferResponse")
            answer.infer_response.CopyFrom(await self.ModelInfer(request, context))
            yield answer

    async def ModelConfig(self, request: Any, context: Any) -> Any:
        return new("ModelConfigResponse")

    async def ModelStatistics(self, request: Any, context: Any) -> Any:
        return new("ModelStatisticsResponse")

    async def RepositoryIndex(self, request: Any, context: Any) -> Any:
        return new("RepositoryIndexResponse")


class _Raw(_Echo):
    """Parses and serializes by itself."""

    async def ModelInfer(self, request: Any, context: Any) -> Any:
        assert isinstance(request, bytes)
        parsed = METHODS["ModelInfer"].request.FromString(request)
        response = await super().ModelInfer(parsed, context)
        return response.SerializeToString()


def _service(servicer: service.Servicer, raw: frozenset[str] = frozenset()) -> Service:
    def add(server: grpc.aio.Server) -> None:
        add_servicer(server, servicer, raw_methods=raw)

    return Service(SERVICE_NAME, add)


@pytest.mark.parametrize(
    "served",
    [_service(_Echo()), _service(_Raw(), frozenset({"ModelInfer"}))],
    ids=["parsed", "raw"],
)
async def test_inferences_go_there_and_back(served: Service) -> None:
    request = new("ModelInferRequest")
    request.id = "r1"
    images = np.random.default_rng(1).random((2, 3, 4), dtype=np.float32)
    fill_request(request, [("images", images)])
    async with (
        running_server(ServerSettings(), services=[served], extra_pools=[pool()]) as server,
        connect(server.address) as channel,
    ):
        stub = Stub(channel)
        response = await stub.ModelInfer(request, timeout=5)
        assert (await stub.ModelReady(messages()["ModelReadyRequest"](name="echo"))).ready
        with pytest.raises(NotFound, match="no model x"), client_errors():
            await stub.ModelMetadata(messages()["ModelMetadataRequest"](name="x"))
    assert response.id == "r1"
    np.testing.assert_array_equal(output_arrays(response)["images"], images)


async def test_streams_answer_each_request() -> None:
    async with (
        running_server(ServerSettings(), services=[_service(_Echo())]) as server,
        connect(server.address) as channel,
    ):
        requests = [messages()["ModelInferRequest"](id=str(number)) for number in range(5)]
        call = Stub(channel).ModelStreamInfer(iter(requests))
        ids = [answer.infer_response.id async for answer in call]
    assert ids == ["0", "1", "2", "3", "4"]
