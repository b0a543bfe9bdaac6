# ruff: noqa: N802 - the names are the protocol's
"""GRPCInferenceService: what unmodified Open Inference Protocol and Triton clients call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import cast

import grpc.aio

from simcloud.errors import NotFound, SimcloudError
from simcloud.oip.pool import SERVICE_NAME, OipMessage
from simcloud.oip.service import Context, Servicer, add_servicer
from simcloud.oip.tensors import new
from simcloud.rpc.auth import caller_of
from simcloud.rpc.server import Service
from simcloud_inference_router.calls import call_of
from simcloud_inference_router.oip_wire import (
    answer_to_wire,
    config_to_wire,
    metadata_to_wire,
    request_from_wire,
    statistics_to_wire,
)
from simcloud_inference_router.pipeline import Pipeline
from simcloud_inference_router.router import Call, Router
from simcloud_inference_router.statistics import CallTrace

EXTENSIONS = ("model_configuration", "parameters", "statistics")
"""Extensions that are there; Triton's others (sequence, shared memory, model control) are not."""

GRPC_ERRORS = ("triton_grpc_error", "true")
"""Metadata of a stream whose client wants errors as the stream's status."""


class OipServicer:
    """The service.

    Args:
        router: what answers.
    """

    def __init__(self, router: Router) -> None:
        self._router = router

    async def ServerLive(self, request: OipMessage, context: Context) -> OipMessage:
        """Whoever can ask is answered: alive."""
        response = new("ServerLiveResponse")
        response.live = True
        return response

    async def ServerReady(self, request: OipMessage, context: Context) -> OipMessage:
        """Ready until the drain begins."""
        response = new("ServerReadyResponse")
        response.ready = not self._router.drain.begun
        return response

    async def ModelReady(self, request: OipMessage, context: Context) -> OipMessage:
        """Whether the catalogue has the model; as Triton, an unknown one is not ready."""
        response = new("ModelReadyResponse")
        try:
            self._router.model_for(caller_of(context), request.name, request.version)
        except NotFound:
            response.ready = False
        else:
            response.ready = not self._router.drain.begun
        return response

    async def ServerMetadata(self, request: OipMessage, context: Context) -> OipMessage:
        """Who we are."""
        response = new("ServerMetadataResponse")
        response.name = "simcloud-inference-router"
        response.version = version("simcloud-inference-router")
        response.extensions.extend(EXTENSIONS)
        return response

    async def ModelMetadata(self, request: OipMessage, context: Context) -> OipMessage:
        """A model's tensors, from the catalogue: endpoints can't be asked for them."""
        model = self._router.model_for(caller_of(context), request.name, request.version)
        return metadata_to_wire(model.entry)

    async def ModelConfig(self, request: OipMessage, context: Context) -> OipMessage:
        """A model's configuration, from the catalogue."""
        model = self._router.model_for(caller_of(context), request.name, request.version)
        return config_to_wire(model.entry)

    async def ModelStatistics(self, request: OipMessage, context: Context) -> OipMessage:
        """Counts since this replica began, of one model or of all."""
        response = new("ModelStatisticsResponse")
        if request.name:
            caller = caller_of(context)
            models = [self._router.model_for(caller, request.name, request.version).entry]
        else:
            models = list(self._router.catalog.models)
        response.model_stats.extend(
            statistics_to_wire(model, self._router.statistics.of(model.name)) for model in models
        )
        return response

    async def RepositoryIndex(self, request: OipMessage, context: Context) -> OipMessage:
        """The catalogue; all of it is served."""
        response = new("RepositoryIndexResponse")
        for model in self._router.catalog.models:
            for each in model.versions:
                response.models.add(name=model.name, version=each, state="READY")
        return response

    async def ModelInfer(self, request: OipMessage, context: Context) -> OipMessage:
        """One inference."""
        call = call_of(context, clock=self._router.clock, patient=False)
        return await self._infer(request, call)

    async def ModelStreamInfer(
        self, request_iterator: AsyncIterator[OipMessage], context: Context
    ) -> None:
        """Inferences in order, several at once; a request's error is in-band unless asked else."""
        call = call_of(context, clock=self._router.clock, patient=True)
        as_status = GRPC_ERRORS in (context.invocation_metadata() or ())

        async def answer(request: OipMessage) -> OipMessage | SimcloudError:
            try:
                return await self._infer(request, call)
            except SimcloudError as exc:
                return exc if as_status else _in_band(request, exc)

        async def write(answer: OipMessage | SimcloudError) -> None:
            if isinstance(answer, SimcloudError):
                raise answer
            if answer.DESCRIPTOR.name != "ModelStreamInferResponse":
                response = new("ModelStreamInferResponse")
                response.infer_response.CopyFrom(answer)
                answer = response
            await context.write(answer)

        pipeline: Pipeline[OipMessage, OipMessage | SimcloudError] = Pipeline(
            answer=answer,
            write=write,
            window=self._router.stream_window,
            ordered=True,
            drain=self._router.drain,
        )
        await pipeline.run(aiter(request_iterator))

    async def _infer(self, request: OipMessage, call: Call) -> OipMessage:
        model = self._router.model_for(call.caller, request.model_name, request.model_version)
        trace = CallTrace()
        with self._router.recorded(model, trace):
            tensors = request_from_wire(model.entry, request)
            answer = await self._router.infer_tensors(model, tensors, call, trace)
            return answer_to_wire(model.entry, request, answer)


def _in_band(request: OipMessage, error: SimcloudError) -> OipMessage:
    response = new("ModelStreamInferResponse")
    response.error_message = error.message
    response.infer_response.id = request.id
    response.infer_response.model_name = request.model_name
    return response


def oip_service(router: Router) -> Service:
    """The service, ready to be served."""

    def add(server: grpc.aio.Server) -> None:
        # Our stream method writes instead of yielding, which gRPC takes as well; the protocol of
        # servicers names the other form.
        add_servicer(server, cast("Servicer", OipServicer(router)))

    return Service(SERVICE_NAME, add)
