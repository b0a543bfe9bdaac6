"""The client's process: sends the load over gRPC, once for each line of standard input."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from typing import Any

import uvloop
from upload_load import Load

from simcloud.client.uploader import UploaderClient
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.rpc.channel import connect
from simcloud.spec.plan import ShardFrames
from support.dataset_frames import FINGERPRINT, SPEC, SPEC_DIGEST


async def send_shard(
    client: UploaderClient,
    location: RunLocation,
    shard: ShardFrames,
    *,
    frames: list[EncodedFrame],
    max_frame_bytes: int,
) -> None:
    """One shard, from frames that are there already."""
    async with client.open_shard(
        location,
        shard,
        spec_digest=SPEC_DIGEST,
        fingerprint=FINGERPRINT,
        cameras=len(SPEC.cameras),
        max_frame_bytes=max_frame_bytes,
    ) as upload:
        for frame in frames:
            await upload.send(frame)
        await upload.commit()


async def send(load: Load, ready: dict[int, list[EncodedFrame]], asked: dict[str, Any]) -> Any:
    """The whole load at once, a stream a shard; returns its seconds and CPU seconds."""
    location = RunLocation(bucket=asked["bucket"], prefix="", run=asked["run"])
    async with connect(asked["address"]) as channel:
        client = UploaderClient(channel)
        if asked["create"]:
            await client.create_run(location, spec=SPEC, plan=load.plan)
        else:
            await channel.channel_ready()
        wall, cpu = time.perf_counter(), time.process_time()
        async with asyncio.TaskGroup() as group:
            for shard in load.plan.shards():
                group.create_task(
                    send_shard(
                        client,
                        location,
                        shard,
                        frames=ready[shard.shard],
                        max_frame_bytes=load.max_frame_bytes,
                    )
                )
        return {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


def main() -> None:
    """Makes the frames, then sends them as often as asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("shards", "frames", "layer-bytes"):
        parser.add_argument(f"--{name}", type=int, required=True)
    arguments = parser.parse_args()
    load = Load(shards=arguments.shards, frames=arguments.frames, layer_bytes=arguments.layer_bytes)
    ready = {shard.shard: list(load.shard(shard)) for shard in load.plan.shards()}
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        for line in sys.stdin:
            result = runner.run(send(load, ready, json.loads(line)))
            sys.stdout.write(json.dumps(result) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
