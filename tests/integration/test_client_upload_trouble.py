"""What an upload says when it gives up: what the uploader told of the trouble, if it told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from simcloud.client.uploader import UploaderClient
from simcloud.dataset.layout import RunLocation
from simcloud.errors import NotReady
from simcloud.rpc.channel import connect
from simcloud.v1 import uploader_pb2, uploader_pb2_grpc
from support.uploading import PLAN, send_shard

Stream = AsyncIterator[uploader_pb2.UploadShardRequest]
Context = grpc.aio.ServicerContext[
    uploader_pb2.UploadShardRequest, uploader_pb2.UploadShardResponse
]
Skip = Callable[[float], None]

TOLD = (grpc.StatusCode.UNAVAILABLE, "S3 answers SlowDown")
BROKE = (grpc.StatusCode.INTERNAL, "RST_STREAM")
LOCATION = RunLocation("bucket", "sets", "run")
PATIENCE_S = 30.0


class _Troubled(uploader_pb2_grpc.UploaderServiceServicer):
    """Opens a stream for each of its ends and ends it so; then its client's patience is over."""

    def __init__(self, ends: tuple[tuple[grpc.StatusCode, str], ...], skip: Skip) -> None:
        self.streams = 0
        self._ends = ends
        self._skip = skip

    async def UploadShard(self, stream: Stream, context: Context) -> None:
        self.streams += 1
        await anext(stream)
        if self.streams > len(self._ends):
            self._skip(PATIENCE_S)
            await context.abort(*BROKE)
        opened = uploader_pb2.ShardOpened(epoch=self.streams, part_size_bytes=1 << 20)
        await context.write(uploader_pb2.UploadShardResponse(opened=opened))
        await context.abort(*self._ends[self.streams - 1])


@pytest.fixture
async def skip(monkeypatch: pytest.MonkeyPatch) -> Skip:
    """Lets seconds pass on the loop's clock, by which clients count their patience."""
    loop = asyncio.get_running_loop()
    now, skipped = loop.time, 0.0
    monkeypatch.setattr(loop, "time", lambda: now() + skipped)

    def skip(seconds: float) -> None:
        nonlocal skipped
        skipped += seconds

    return skip


@asynccontextmanager
async def troubled(
    ends: tuple[tuple[grpc.StatusCode, str], ...], skip: Skip
) -> AsyncIterator[tuple[UploaderClient, _Troubled]]:
    """A client of an uploader whose streams end so, in turn."""
    server, service = grpc.aio.server(), _Troubled(ends, skip)
    uploader_pb2_grpc.add_UploaderServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with connect(f"127.0.0.1:{port}") as channel:
            yield UploaderClient(channel), service
    finally:
        await server.stop(None)


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((TOLD, BROKE), "SlowDown"),
        ((BROKE, TOLD, BROKE), "SlowDown"),
        ((BROKE,), "the stream broke: RST_STREAM"),
    ],
)
async def test_what_was_told_of_the_trouble_is_said_and_not_that_a_stream_broke_after_it(
    ends: tuple[tuple[grpc.StatusCode, str], ...], said: str, skip: Skip
) -> None:
    async with troubled(ends, skip) as (client, service):
        with pytest.raises(NotReady, match=said):
            await send_shard(client, LOCATION, PLAN.shard(0), reconnect_for_s=PATIENCE_S)
        assert service.streams == len(ends) + 1
