"""UploaderService: wire messages to the core and back. The one module that knows the contract."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import grpc
import grpc.aio

from simcloud.client import _wire as wire
from simcloud.client._wire import CommittedShard
from simcloud.dataset.layout import RunLocation
from simcloud.errors import DeadlineExceeded, InvalidRequest
from simcloud.rpc.auth import AllowLists, caller_of
from simcloud.v1 import frame_pb2, uploader_pb2, uploader_pb2_grpc
from simcloud_uploader.chunks import read_request
from simcloud_uploader.core import Uploader
from simcloud_uploader.messages import (
    CommitRequest,
    Credited,
    Durable,
    Event,
    Opened,
    OpenRequest,
    Request,
    Restarted,
)
from simcloud_uploader.receive import FrameStart, LayerClaim, LayerPiece

FULL_NAME: Final = "simcloud.v1.UploaderService"
MAX_WRITER_BYTES: Final = 256

Context = grpc.aio.ServicerContext[Any, Any]
_Message = LayerPiece | uploader_pb2.UploadShardRequest


class UploaderServicer(uploader_pb2_grpc.UploaderServiceServicer):
    """The servicer.

    Args:
        uploader: the core.
        allow: buckets and prefixes that callers may name.
        idle_timeout_s: longest wait for a stream's first message, seconds.
    """

    def __init__(self, uploader: Uploader, *, allow: AllowLists, idle_timeout_s: float) -> None:
        self._uploader = uploader
        self._allow = allow
        self._idle_timeout_s = idle_timeout_s

    async def CreateRun(  # noqa: N802 - gRPC's name
        self, request: uploader_pb2.CreateRunRequest, context: Context
    ) -> uploader_pb2.CreateRunResponse:
        """Creates or grows a run."""
        location = self._location(request.run, context)
        await self._uploader.server_check.require(location)
        created = await self._uploader.runs.create(
            location,
            spec=wire.spec_from_wire(request.spec),
            plan=wire.plan_from_wire(request.plan),
            provenance_json=request.provenance_json,
        )
        return uploader_pb2.CreateRunResponse(
            created=created.created,
            plan_generation=created.generation,
            shards=[wire.frames_to_wire(frames) for frames in created.shards],
            committed=created.committed,
        )

    async def UploadShard(  # noqa: N802 - gRPC's name
        self, request_iterator: AsyncIterator[_Message], context: Context
    ) -> None:
        """Stores one shard."""
        requests = request_iterator.__aiter__()
        request = await self._first(requests, context)
        committed = await self._uploader.upload_shard(
            request,
            _requests(requests),
            lambda event: context.write(_event_to_wire(event)),
        )
        await context.write(_event_to_wire(committed))

    async def PublishRun(  # noqa: N802 - gRPC's name
        self, request: uploader_pb2.PublishRunRequest, context: Context
    ) -> uploader_pb2.PublishRunResponse:
        """Writes the manifest."""
        summary, created = await self._uploader.publish(
            self._location(request.run, context), provenance_json=request.provenance_json
        )
        return uploader_pb2.PublishRunResponse(
            summary=wire.summary_to_wire(summary), created=created
        )

    async def GetRun(  # noqa: N802 - gRPC's name
        self, request: uploader_pb2.GetRunRequest, context: Context
    ) -> uploader_pb2.GetRunResponse:
        """Looks at a run."""
        summary, documents = await self._uploader.runs.get(self._location(request.run, context))
        return uploader_pb2.GetRunResponse(
            summary=wire.summary_to_wire(summary),
            spec=wire.spec_to_wire(documents.spec),
            plan=wire.plan_to_wire(documents.plan),
        )

    async def ListRuns(  # noqa: N802 - gRPC's name
        self, request: uploader_pb2.ListRunsRequest, context: Context
    ) -> uploader_pb2.ListRunsResponse:
        """Lists runs."""
        self._allow.check_bucket(caller_of(context), request.bucket, request.prefix)
        page = await self._uploader.runs.list_page(
            request.bucket,
            request.prefix,
            page_size=request.page_size,
            page_token=request.page_token,
        )
        return uploader_pb2.ListRunsResponse(
            runs=[wire.summary_to_wire(summary) for summary in page.runs],
            next_page_token=page.next_page_token,
        )

    async def AbortRun(  # noqa: N802 - gRPC's name
        self, request: uploader_pb2.AbortRunRequest, context: Context
    ) -> uploader_pb2.AbortRunResponse:
        """Aborts a run."""
        stopped = await self._uploader.abort(
            self._location(request.run, context), reason=request.reason, purge=request.purge
        )
        return uploader_pb2.AbortRunResponse(
            stopped_shards=stopped.shards,
            aborted_uploads=stopped.uploads,
            deleted_objects=stopped.objects,
        )

    def _location(self, message: frame_pb2.RunRef, context: Context) -> RunLocation:
        location = wire.location_from_wire(message)
        self._allow.check_bucket(caller_of(context), location.bucket, location.root)
        return location

    async def _first(self, requests: AsyncIterator[_Message], context: Context) -> OpenRequest:
        try:
            async with asyncio.timeout(self._idle_timeout_s):
                message = await anext(requests, None)
        except TimeoutError as error:
            raise DeadlineExceeded("`open` did not come") from error
        if not isinstance(message, uploader_pb2.UploadShardRequest) or not message.HasField("open"):
            raise InvalidRequest("open", "must be the first message")
        opened = message.open
        if opened.max_frame_bytes < 1:
            raise InvalidRequest("open.max_frame_bytes", "is 1 or more, found 0")
        if len(opened.writer.encode()) > MAX_WRITER_BYTES:
            raise InvalidRequest("open.writer", f"is at most {MAX_WRITER_BYTES} bytes")
        if not 1 <= len(opened.fingerprint) <= MAX_WRITER_BYTES:
            raise InvalidRequest("open.fingerprint", "is the digest of a render fingerprint")
        return OpenRequest(
            location=self._location(opened.run, context),
            frames=wire.frames_from_wire(opened.range, field="open.range"),
            spec_digest=wire.digest_from_wire(opened.spec_digest, field="open.spec_digest"),
            fingerprint=opened.fingerprint,
            max_frame_bytes=opened.max_frame_bytes,
            allow_mixed_fingerprints=opened.allow_mixed_fingerprints,
            writer=opened.writer,
        )


def add_to_server(servicer: UploaderServicer, server: grpc.aio.Server) -> None:
    """Registers the servicer; the stream's messages are read by ``chunks.read_request``."""
    uploader_pb2_grpc.add_UploaderServiceServicer_to_server(servicer, server)
    # The handler that is registered last for a method is the one that serves it.
    server.add_registered_method_handlers(
        FULL_NAME,
        {
            "UploadShard": grpc.stream_stream_rpc_method_handler(
                servicer.UploadShard,
                request_deserializer=read_request,
                response_serializer=uploader_pb2.UploadShardResponse.SerializeToString,
            )
        },
    )


async def _requests(messages: AsyncIterator[_Message]) -> AsyncIterator[Request]:
    async for message in messages:
        yield message if isinstance(message, LayerPiece) else _request_from_wire(message)


def _request_from_wire(message: uploader_pb2.UploadShardRequest) -> Request:
    match message.WhichOneof("message"):
        case "chunk":
            return LayerPiece(message.chunk.layer, message.chunk.data)
        case "frame":
            return _frame_from_wire(message.frame)
        case "commit":
            return CommitRequest(message.commit.frame_count)
        case "open":
            raise InvalidRequest("open", "came twice; a stream is for one shard")
        case _:
            raise InvalidRequest("message", "is empty, damaged or unknown to this version")


def _frame_from_wire(message: frame_pb2.FrameHeader) -> FrameStart:
    return FrameStart(
        frame=message.frame,
        camera=message.camera,
        record=message.record,
        layers=tuple(
            LayerClaim(
                annotator=layer.annotator,
                extension=layer.extension,
                media_type=layer.media_type,
                size_bytes=layer.size_bytes,
                crc64nvme=layer.crc64nvme,
            )
            for layer in message.layers
        ),
    )


def _event_to_wire(event: Event) -> uploader_pb2.UploadShardResponse:
    answer = uploader_pb2.UploadShardResponse
    match event:
        case Opened(epoch, resume_frame, part_size_bytes):
            return answer(
                opened=uploader_pb2.ShardOpened(
                    epoch=epoch, resume_frame=resume_frame, part_size_bytes=part_size_bytes
                )
            )
        case Credited(granted_bytes):
            return answer(credit=uploader_pb2.Credit(granted_bytes=granted_bytes))
        case Durable(durable_before):
            return answer(durable=uploader_pb2.DurableMark(durable_before=durable_before))
        case Restarted(resume_frame, reason):
            return answer(
                restart=uploader_pb2.RestartShard(resume_frame=resume_frame, reason=reason)
            )
        case CommittedShard():
            return answer(committed=wire.committed_to_wire(event))
