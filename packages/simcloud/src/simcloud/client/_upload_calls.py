"""One call of UploadShard: how it is begun, and what its end means for the shard."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import grpc
import grpc.aio

from simcloud.client._chunks import Request, serialized
from simcloud.errors import DeadlineExceeded, NotReady, Overloaded, SimcloudError, Transient
from simcloud.rpc.status import DETAILS_KEY, error_from_rpc
from simcloud.v1 import uploader_pb2

_GOODBYE_S = 2.0

Call = grpc.aio.StreamStreamCall[Request, uploader_pb2.UploadShardResponse]
"""A stream of UploadShard."""

OpenStream = Callable[[], Call]
"""Begins an UploadShard call."""


def upload_stream(channel: grpc.aio.Channel) -> OpenStream:
    """UploadShard of a channel, for messages that may be serialized already."""
    return cast(
        "OpenStream",
        channel.stream_stream(
            "/simcloud.v1.UploaderService/UploadShard",
            request_serializer=serialized,
            response_deserializer=uploader_pb2.UploadShardResponse.FromString,
        ),
    )


class Reopen(Exception):
    """The stream ended too early: another may fare better."""

    def __init__(self, cause: SimcloudError) -> None:
        super().__init__(cause.message)
        self.cause = cause


class StreamBroke(Reopen):
    """The stream broke and nothing says why."""


class StreamIdle(Exception):
    """The uploader ended a stream on which nothing had come for its idle time-out."""


async def half_close(call: Call) -> None:
    """Lets the server end the stream with its own status; the shard is committed anyway."""
    with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError, TimeoutError):
        async with asyncio.timeout(_GOODBYE_S):
            await call.done_writing()
            await call.read()


async def cause_of(call: Call, error: grpc.aio.AioRpcError) -> Exception:
    """What to raise for an error of a read or write: ``Reopen``, ``StreamIdle`` or our error."""
    if error.code() is grpc.StatusCode.INTERNAL:
        # A write that met the end of the call: the call's own status says why it ended.
        with suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_S):
                return await status_of(call)
    return _classified(error)


async def status_of(call: Call) -> Exception:
    """What to raise for a call that has ended: ``Reopen``, ``StreamIdle`` or our error."""
    if await call.code() is grpc.StatusCode.OK:
        return Reopen(NotReady("the uploader ended the stream before the shard was committed"))
    return _classified(
        grpc.aio.AioRpcError(
            await call.code(),
            await call.initial_metadata(),
            await call.trailing_metadata(),
            details=await call.details(),
        )
    )


def _classified(error: grpc.aio.AioRpcError) -> Exception:
    ours = error_from_rpc(error)
    if isinstance(ours, DeadlineExceeded):
        # We set no deadline: the uploader has waited for frames long enough.
        return StreamIdle()
    # A proxy or a dying server resets the stream, or a write meets the end of the call before
    # its status is known ("Internal error from Core"): INTERNAL, without our details.
    told = any(key == DETAILS_KEY for key, _ in error.trailing_metadata() or ())
    if error.code() is grpc.StatusCode.INTERNAL and not told:
        return StreamBroke(NotReady(f"the stream broke: {error.details()}"))
    hopeless = isinstance(ours, Overloaded) and ours.retry_after_s is None
    if isinstance(ours, Transient) and not hopeless:
        return Reopen(ours)
    return ours
