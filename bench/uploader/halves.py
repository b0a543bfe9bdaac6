"""The two things an uploader can't do without, each alone: ``receive`` by gRPC, ``send`` to S3.

``receive`` reads every message of UploadShard as gRPC's generated code does, counts its bytes and
drops it. ``send`` puts ready parts into S3 with the client, the settings and the concurrency of the
uploader, their checksums known.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import uvloop

from simcloud.client import _wire as wire
from simcloud.client._wire import CommittedShard
from simcloud.rpc.server import ServerSettings, Service, running_server
from simcloud.s3 import checksums
from simcloud.s3.client import S3Settings
from simcloud.s3.multipart import Part
from simcloud.s3.objects import ObjectStore, open_store
from simcloud.telemetry import logging
from simcloud.v1 import uploader_pb2, uploader_pb2_grpc
from simcloud_uploader.settings import UploaderSettings

Answer = uploader_pb2.UploadShardResponse
PART_BYTES = UploaderSettings().part_size_bytes
CONCURRENCY = UploaderSettings().upload_concurrency


class Receiver(uploader_pb2_grpc.UploaderServiceServicer):
    """UploadShard that stores nothing; it says durable as the uploader would, part by part."""

    async def UploadShard(  # noqa: N802 - gRPC's name
        self,
        request_iterator: AsyncIterator[uploader_pb2.UploadShardRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> None:
        """Receives one shard."""
        requests = request_iterator.__aiter__()
        opened = (await anext(requests)).open
        frames = wire.frames_from_wire(opened.range)
        await context.write(
            Answer(
                opened=uploader_pb2.ShardOpened(
                    epoch=1, resume_frame=frames.first, part_size_bytes=PART_BYTES
                )
            )
        )
        await context.write(Answer(credit=uploader_pb2.Credit(granted_bytes=1 << 60)))
        size = whole = 0
        async for request in requests:
            match request.WhichOneof("message"):
                case "chunk":
                    size += len(request.chunk.data)
                case "frame":
                    size += len(request.frame.record)
                    if size - whole >= PART_BYTES:
                        whole = size
                        mark = uploader_pb2.DurableMark(durable_before=request.frame.frame)
                        await context.write(Answer(durable=mark))
                case _:
                    break
        committed = CommittedShard(
            frames=frames,
            key="dropped",
            etag="",
            size_bytes=size,
            crc64nvme=0,
            stored_frames=0,
            quarantined_frames=0,
            fingerprints=(),
        )
        await context.write(Answer(committed=wire.committed_to_wire(committed)))


async def receive() -> None:
    """Serves until SIGTERM; the port is the first line of standard output."""
    service = Service(
        "simcloud.v1.UploaderService",
        lambda server: uploader_pb2_grpc.add_UploaderServiceServicer_to_server(Receiver(), server),
    )
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with running_server(ServerSettings(log_requests=False), services=[service]) as running:
        sys.stdout.write(json.dumps({"grpc": running.port}) + "\n")
        sys.stdout.flush()
        await stopped.wait()


async def _send_object(
    store: ObjectStore, bucket: str, key: str, parts: list[tuple[bytes, int]]
) -> None:
    upload_id = await store.create_multipart(
        bucket, key, metadata={}, content_type="application/x-tar"
    )
    done: list[Part] = []
    room = asyncio.Semaphore(max(1, CONCURRENCY // 4))

    async def put(number: int, data: bytes, crc: int) -> None:
        async with room:
            etag = await store.upload_part(
                bucket, key, upload_id=upload_id, number=number, data=data, crc64nvme=crc
            )
        done.append(Part(number, len(data), etag, crc))

    async with asyncio.TaskGroup() as group:
        for number, (data, crc) in enumerate(parts, 1):
            group.create_task(put(number, data, crc))
    done.sort(key=lambda part: part.number)
    crc = 0
    for part in done:
        crc = checksums.combine(crc, part.crc64nvme or 0, part.size_bytes)
    await store.complete_multipart(
        bucket,
        key,
        upload_id=upload_id,
        parts=done,
        size_bytes=sum(part.size_bytes for part in done),
        crc64nvme=crc,
    )


async def send(asked: dict[str, Any], objects: list[list[tuple[bytes, int]]]) -> Any:
    """Every object at once; returns seconds and CPU seconds."""
    async with open_store(S3Settings.model_validate(asked["s3"])) as store:
        await store.check_bucket(asked["bucket"])
        wall, cpu = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for number, parts in enumerate(objects):
                key = f"{asked['run']}/{number}.tar"
                group.create_task(_send_object(store, asked["bucket"], key, parts))
        return {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


def _parts(file: str) -> list[tuple[bytes, int]]:
    with open(file, "rb") as opened:  # noqa: PTH123 - read in steps
        pieces = iter(lambda: opened.read(PART_BYTES), b"")
        return [(piece, checksums.crc64nvme(piece)) for piece in pieces]


def main() -> None:
    """One of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("half", choices=("receive", "send"))
    parser.add_argument("files", nargs="*", help="send: what to send")
    arguments = parser.parse_args()
    logging.configure("error", "halves")
    if arguments.half == "receive":
        uvloop.run(receive())
        return
    objects = [_parts(file) for file in arguments.files]
    for line in sys.stdin:
        result = uvloop.run(send(json.loads(line), objects))
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
