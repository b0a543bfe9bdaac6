"""The life of a run through a real uploader, from its creation to its manifest."""

from __future__ import annotations

import io
import tarfile

from simcloud.client.uploader import RunState
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.manifest import load_manifest
from simcloud.s3 import checksums
from simcloud.s3.objects import ObjectStore
from support.dataset_frames import SPEC, pack
from support.s3_server import S3Server
from support.uploading import PLAN, frames_from, send_shard, small_settings, uploader_client


async def test_a_run_is_created_uploaded_published_and_read_back(
    s3_server: S3Server, store: ObjectStore, bucket: str
) -> None:
    location = RunLocation(bucket=bucket, prefix="a/b", run="life")
    async with uploader_client(small_settings(s3_server.settings)) as (client, uploader):
        created = await client.create_run(location, spec=SPEC, plan=PLAN)
        assert created.created
        assert created.shards == tuple(PLAN.shards())
        again = await client.create_run(location, spec=SPEC, plan=PLAN)
        assert not again.created
        for frames in PLAN.shards():
            committed = await send_shard(client, location, frames)
            tar = (await store.get(bucket, location.shard_key(frames.shard))).data
            expected, _, crc = pack(list(frames_from(frames.first, frames.end)))
            assert tar == expected
            assert committed.crc64nvme == crc == checksums.crc64nvme(tar)
            assert committed.size_bytes == len(tar)
            assert committed.stored_frames == len(frames) * 2
            assert not committed.already_committed
            with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
                assert len(archive.getmembers()) == len(frames) * 2 * 4
        repeated = await send_shard(client, location, PLAN.shard(0))
        assert repeated.already_committed
        published = await client.publish_run(location)
        assert published.created
        assert published.summary.state is RunState.PUBLISHED
        assert not (await client.publish_run(location)).created
        manifest = await load_manifest(store, location)
        assert manifest.stored_frames == manifest.planned_frames == 32
        assert uploader.budget.in_use == 0
