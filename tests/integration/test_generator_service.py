"""The generator's RPCs on real parts: SeaweedFS, a real uploader, real renderers."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import pytest

from simcloud.client._wire import CommittedShard
from simcloud.client.generation import GenerateTotals, ShardMoved, ShardOpened
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.record import record_from_json
from simcloud.errors import InvalidRequest, NotFound, PreconditionFailed
from simcloud.s3.objects import ObjectStore
from simcloud.spec.model import Spec
from simcloud.spec.plan import Plan
from simcloud_uploader.epochs import EpochState
from simcloud_uploader.ownership import newest_epoch
from support.eventually import eventually
from support.generating import resolved, running_pair, showroom, stored_showroom
from support.s3_server import S3Server
from support.uploading import until

PLAN = Plan(frames=6, frames_per_shard=3)


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Kernels are compiled once for all tests of a machine."""
    return tmp_path_factory.getbasetemp().parent / "simcloud-cache"


async def test_shards_are_rendered_committed_and_never_rendered_again(
    s3_server: S3Server, store: ObjectStore, bucket: str, cache: Path
) -> None:
    location = RunLocation(bucket=bucket, prefix="", run="one")
    async with running_pair(s3_server.settings, cache) as pair:
        spec = resolved(await stored_showroom(store, bucket), pair.generator)
        created = await pair.uploads.create_run(location, spec=spec, plan=PLAN)
        events = [event async for event in pair.client.generate(spec, location, created.shards)]
        committed = {
            event.frames.shard: event for event in events if isinstance(event, CommittedShard)
        }
        assert sorted(committed) == [0, 1]
        assert all(not shard.already_committed for shard in committed.values())
        assert sum(shard.stored_frames for shard in committed.values()) == 6
        opened = [event for event in events if isinstance(event, ShardOpened)]
        assert sorted(event.resume_frame for event in opened) == [0, 3]  # both open at once
        moved = [event for event in events if isinstance(event, ShardMoved)]
        assert sorted(event.frame for event in moved) == list(range(6))
        assert all(event.timings is not None and event.timings.render > 0 for event in moved)
        totals = events[-1]
        assert isinstance(totals, GenerateTotals)
        assert (totals.rendered_frames, totals.failed_shards) == (6, 0)
        assert totals.cpu_s > 0

        again = [event async for event in pair.client.generate(spec, location, created.shards)]
        assert [event.already_committed for event in again if isinstance(event, CommittedShard)]
        assert isinstance(again[-1], GenerateTotals)
        assert again[-1].rendered_frames == 0
        assert (await pair.uploads.publish_run(location)).created

        # What was stored is what the stream and the preview show: one function of (spec, index).
        streamed = [
            frame
            async for frame in pair.client.stream_frames(
                spec, bucket=bucket, prefix="", frames=range(4, 6)
            )
        ]
        assert [frame.frame for frame in streamed] == [4, 5]
        (preview,) = await pair.client.preview(spec, bucket=bucket, prefix="", frame=5)
        assert preview == streamed[1]
        tar = (await store.get(bucket, location.shard_key(1))).data
        for layer in preview.layers:
            assert layer.data in tar
        assert record_from_json(preview.record).frame == 5


async def test_a_cancelled_call_gives_its_place_and_its_shard_back_at_once(
    s3_server: S3Server, store: ObjectStore, bucket: str, cache: Path
) -> None:
    location = RunLocation(bucket=bucket, prefix="", run="left")
    async with running_pair(s3_server.settings, cache, workers=1) as pair:
        spec = resolved(await stored_showroom(store, bucket), pair.generator)
        created = await pair.uploads.create_run(location, spec=spec, plan=PLAN)
        async with aclosing(pair.client.generate(spec, location, created.shards[:1])) as events:
            async for event in events:
                if isinstance(event, ShardOpened):
                    break
        await eventually(lambda: pair.generator.calls == 0)

        async def is_released() -> bool:
            newest = await newest_epoch(store, location, 0)
            return newest is not None and newest.document.state is EpochState.RELEASED

        await until(is_released)


async def test_what_cannot_be_rendered_is_refused_before_any_work(
    s3_server: S3Server, store: ObjectStore, bucket: str, cache: Path
) -> None:
    location = RunLocation(bucket=bucket, prefix="", run="two")
    async with running_pair(s3_server.settings, cache, workers=1) as pair:
        spec = resolved(await stored_showroom(store, bucket), pair.generator)
        created = await pair.uploads.create_run(location, spec=spec, plan=PLAN)

        async def generate(asked: Spec, where: RunLocation = location) -> None:
            async for _ in pair.client.generate(asked, where, created.shards):
                pass

        raw = spec.model_dump(mode="json")
        raw["renderer"]["variant"] = "cuda_ad_rgb"
        with pytest.raises(PreconditionFailed, match="cuda_ad_rgb"):
            await generate(Spec.model_validate(raw))
        raw = spec.model_dump(mode="json")
        raw["scene"]["digest"] = "0" * 64
        with pytest.raises(NotFound, match="scene"):
            await generate(Spec.model_validate(raw))
        raw = spec.model_dump(mode="json")
        raw["randomization"]["objects"][0]["assets"] = "flying_carpet"
        with pytest.raises(InvalidRequest, match="flying_carpet") as caught:
            await generate(Spec.model_validate(raw))
        assert caught.value.field == "spec.randomization.objects[0].assets"
        other = spec.model_dump(mode="json")
        other["seed"] = 5
        with pytest.raises(PreconditionFailed, match="holds spec"):
            await generate(Spec.model_validate(other))
        with pytest.raises(NotFound):
            await generate(spec, RunLocation(bucket=bucket, prefix="", run="none"))
        with pytest.raises(InvalidRequest, match="digest"):
            await generate(showroom())

        check = await pair.client.validate(spec, bucket=bucket, prefix="")
        assert check.valid
        check = await pair.client.validate(Spec.model_validate(raw), bucket=bucket, prefix="")
        assert [field for field, _ in check.violations] == ["randomization.objects[0].assets"]


async def test_a_worker_describes_itself(s3_server: S3Server, cache: Path) -> None:
    async with running_pair(s3_server.settings, cache, workers=1) as pair:
        described = await pair.client.describe()
        (backend,) = described.backends
        assert backend.name == "mitsuba"
        assert backend.variants[0] in ("llvm_ad_rgb", "scalar_rgb")
        assert not backend.stochastic
        assert backend.fingerprint == pair.generator.pool.identity.fingerprint
        assert {check.name for check in backend.preflight} == {"llvm"}
        assert "pointcloud" in described.annotators
