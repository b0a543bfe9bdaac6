"""GeneratorService: reads the request, asks the core, writes the answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

import grpc.aio

from simcloud.errors import InvalidRequest
from simcloud.rpc.auth import caller_of
from simcloud.v1 import generator_pb2 as pb
from simcloud.v1 import generator_pb2_grpc
from simcloud_generator import wire
from simcloud_generator.generator import Generator

Context = grpc.aio.ServicerContext[object, object]


class GeneratorServicer(generator_pb2_grpc.GeneratorServiceServicer):
    """Serves `simcloud.v1.GeneratorService`."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator

    async def Describe(  # noqa: N802 - gRPC's names
        self, request: pb.DescribeRequest, context: Context
    ) -> pb.DescribeResponse:
        """What this worker can do."""
        del request, context
        return wire.description(self._generator)

    async def ValidateSpec(  # noqa: N802
        self, request: pb.ValidateSpecRequest, context: Context
    ) -> pb.ValidateSpecResponse:
        """Checks a spec as Generate would."""
        try:
            ask = wire.spec_request(request.spec, request.scenes)
        except InvalidRequest as error:
            return wire.violations([(error.field, error.problem)], [])
        report = await self._generator.validate(ask, caller_of(context))
        return wire.violations(report.problems, report.warnings)

    async def Preview(  # noqa: N802
        self, request: pb.PreviewRequest, context: Context
    ) -> AsyncIterator[pb.PreviewResponse]:
        """One frame, inline."""
        ask = wire.spec_request(request.spec, request.scenes)
        result = await self._generator.preview(ask, request.frame, caller_of(context))
        for view in result.views:
            for piece in wire.pieces(view):
                yield pb.PreviewResponse(piece=piece)

    async def Generate(  # noqa: N802
        self, request: pb.GenerateRequest, context: Context
    ) -> AsyncIterator[pb.GenerateResponse]:
        """Shards into the uploader."""
        ask = wire.generate_request(request)
        async with aclosing(self._generator.generate(ask, caller_of(context))) as events:
            async for event in events:
                yield wire.event(event)

    async def StreamFrames(  # noqa: N802
        self, request: pb.StreamFramesRequest, context: Context
    ) -> AsyncIterator[pb.StreamFramesResponse]:
        """Frames straight to the caller."""
        ask = wire.stream_request(request)
        async with aclosing(self._generator.stream(ask, caller_of(context))) as results:
            async for result in results:
                for view in result.views:
                    for piece in wire.pieces(view):
                        yield pb.StreamFramesResponse(piece=piece)
