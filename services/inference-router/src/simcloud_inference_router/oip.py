# ruff: noqa: N802 - the names are the protocol's
"""GRPCInferenceService: what unmodified Open Inference Protocol and Triton clients call."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import cast

import grpc.aio

from simcloud.errors import NotFound, Unsupported
from simcloud.oip.pool import SERVICE_NAME, OipMessage
from simcloud.oip.service import STREAM_METHOD, Context, Servicer, add_servicer
from simcloud.oip.tensors import new
from simcloud.rpc.auth import caller_of
from simcloud.rpc.server import Service
from simcloud_inference_router.calls import call_of, writer_of
from simcloud_inference_router.dispatch import RoutedModel
from simcloud_inference_router.oip_answers import Answers
from simcloud_inference_router.oip_stream import InferStream
from simcloud_inference_router.oip_wire import (
    config_to_wire,
    metadata_to_wire,
    statistics_to_wire,
)
from simcloud_inference_router.router import Router
from simcloud_inference_router.versions import counts_of

EXTENSIONS = ("classification", "model_configuration", "parameters", "sequence", "statistics")
"""Extensions that are there; Triton's others (shared memory, model control, trace) are not."""

GRPC_ERRORS = ("triton_grpc_error", "true")
"""Metadata of a stream whose client wants errors as the stream's status."""


class OipServicer:
    """The service.

    Args:
        router: what answers.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        self._answers = Answers(router)

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
        """Whether some target of the model takes requests; as Triton, an unknown one is not ready.

        One that is scaled to zero does: a request is what wakes it up.
        """
        response = new("ModelReadyResponse")
        try:
            model = self._router.model_for(caller_of(context), request.name, request.version)
        except NotFound:
            response.ready = False
        else:
            response.ready = not self._why_not_ready(model)
        return response

    def _why_not_ready(self, model: RoutedModel) -> str:
        """Empty: it is ready."""
        if self._router.drain.begun:
            return "the router is shutting down"
        return model.door.out_of_service

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
        """Counts since this replica began, of one model or of all: a row for each version."""
        response = new("ModelStatisticsResponse")
        if request.name:
            caller = caller_of(context)
            models = [self._router.model_for(caller, request.name, request.version)]
        else:
            models = self._router.models_of(caller_of(context))
        for model in models:
            for each in (request.version,) if request.version else model.entry.versions:
                counts = counts_of(model, each)
                response.model_stats.append(statistics_to_wire(model.entry.name, each, counts))
        return response

    async def RepositoryIndex(self, request: OipMessage, context: Context) -> OipMessage:
        """The catalogue; of a model that takes no requests, why. ``ready`` leaves these out.

        Raises:
            Unsupported: a repository is named; as Triton, there are no names.
        """
        if request.repository_name:
            raise Unsupported("repository_name: the catalogue has no named repositories")
        response = new("RepositoryIndexResponse")
        for model in self._router.models_of(caller_of(context)):
            reason = self._why_not_ready(model)
            if reason and request.ready:
                continue
            # Triton's words (TRITONSERVER_ModelReadyState).
            state = "UNAVAILABLE" if reason else "READY"
            for each in model.entry.versions:
                response.models.add(name=model.entry.name, version=each, state=state, reason=reason)
        return response

    async def ModelInfer(self, request: OipMessage, context: Context) -> OipMessage:
        """One inference."""
        call = call_of(context, clock=self._router.clock, patient=False)
        response = new("ModelInferResponse")
        await self._answers.unary(request, call, response)
        return response

    async def ModelStreamInfer(
        self, request_iterator: AsyncIterator[bytes], context: Context
    ) -> None:
        """Inferences in order, several at once; a request's error is in-band unless asked else.

        Requests of one sequence run one after the other. A model that answers several times does
        so as the answers come, before or after those to other requests.

        Messages are bytes here: their size is known before anything is made of them.
        """
        call = call_of(context, clock=self._router.clock, patient=True)
        stream = InferStream(
            self._router,
            self._answers,
            call=call,
            as_status=GRPC_ERRORS in (context.invocation_metadata() or ()),
            send=writer_of(context),
        )
        await stream.run(request_iterator)


def oip_service(router: Router) -> Service:
    """The service, ready to be served."""

    def add(server: grpc.aio.Server) -> None:
        # Our stream method writes instead of yielding, which gRPC takes as well; the protocol of
        # servicers names the other form.
        servicer = cast("Servicer", OipServicer(router))
        add_servicer(server, servicer, raw_methods=frozenset({STREAM_METHOD}))

    return Service(SERVICE_NAME, add)
