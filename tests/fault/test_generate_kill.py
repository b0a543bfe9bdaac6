"""kill -9 of the uploader under a Generate call: the call goes on by itself and loses nothing."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from simcloud.client._wire import CommittedShard
from simcloud.client.generation import GenerateTotals, ShardGivenUp, ShardMoved
from simcloud.client.generator import GeneratorClient
from simcloud.client.uploader import UploaderClient
from simcloud.dataset.layout import RunLocation
from simcloud.rpc.channel import connect
from simcloud.s3.objects import ObjectStore
from simcloud.spec.model import Spec
from simcloud.spec.plan import Plan, ShardFrames
from simcloud_generator.serving import running_generator
from simcloud_generator.settings import GeneratorSettings
from support.generating import resolved, stored_showroom
from support.s3_server import S3Server
from support.uploader_process import UploaderProcess, uploader_process

PLAN = Plan(frames=4, frames_per_shard=2)


async def create(process: UploaderProcess, run: RunLocation, spec: Spec) -> Sequence[ShardFrames]:
    async with connect(process.address) as channel:
        return (await UploaderClient(channel).create_run(run, spec=spec, plan=PLAN)).shards


async def tars(store: ObjectStore, run: RunLocation) -> list[bytes]:
    return [
        (await store.get(run.bucket, run.shard_key(shard.shard))).data for shard in PLAN.shards()
    ]


@pytest.mark.timeout(180)
async def test_a_generate_call_survives_a_kill_of_its_uploader(
    tmp_path: Path, s3_server: S3Server, store: ObjectStore, bucket: str
) -> None:
    calm = RunLocation(bucket=bucket, prefix="", run="calm")
    shaken = RunLocation(bucket=bucket, prefix="", run="shaken")
    moved: list[int] = []
    committed: list[CommittedShard] = []
    with uploader_process(tmp_path, s3_server) as process:
        await process.start()
        settings = GeneratorSettings(
            s3=s3_server.settings,
            cache_dir=tmp_path / "cache",
            workers=1,
            concurrent_shards=1,
            uploader_target=process.address,
        )
        async with (
            running_generator(settings) as (generator, server),
            connect(server.address) as channel,
            asyncio.TaskGroup() as tasks,
        ):
            client = GeneratorClient(channel)
            spec = resolved(await stored_showroom(store, bucket), generator)
            shards = await create(process, calm, spec)
            async for _ in client.generate(spec, calm, shards):
                pass
            await create(process, shaken, spec)
            async with aclosing(client.generate(spec, shaken, shards)) as events:
                async for event in events:
                    assert not isinstance(event, ShardGivenUp), event.message
                    if isinstance(event, ShardMoved) and event.timings is not None:
                        moved.append(event.frame)
                        if event.frame == 0:
                            assert process.send_signal(signal.SIGKILL) == -signal.SIGKILL
                            tasks.create_task(process.start())
                    elif isinstance(event, CommittedShard):
                        committed.append(event)
                    elif isinstance(event, GenerateTotals):
                        assert (event.rendered_frames, event.failed_shards) == (4, 0)
    assert moved == list(range(4))
    assert [(item.frames.shard, item.stored_frames) for item in committed] == [(0, 2), (1, 2)]
    assert await tars(store, shaken) == await tars(store, calm)
    left = [item async for item in store.list_uploads(bucket, shaken.shards_prefix)]
    assert left == []
