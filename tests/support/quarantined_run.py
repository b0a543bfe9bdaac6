"""A run of two shards, six frames by two cameras, of which the very last is quarantined."""

from __future__ import annotations

from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.publishing import build_manifest, publish_manifest
from simcloud.dataset.record import Quarantine
from simcloud.dataset.rundoc import load_run, write_plan, write_spec
from simcloud.s3.objects import ObjectStore
from simcloud.spec.plan import Plan
from support.dataset_frames import SPEC, make_frame, put_shard

PLAN = Plan(frames=6, frames_per_shard=4)
QUARANTINE = Quarantine(rule="tight_box", detail="chair_00")


async def begin(store: ObjectStore, bucket: str) -> RunLocation:
    """Begins the run: its spec and plan, and no shard."""
    location = RunLocation(bucket=bucket, prefix="team/a", run="first")
    assert await write_spec(store, location, SPEC, {"commit": "abc"})
    assert await write_plan(store, location, PLAN, 1)
    return location


def with_quarantine(frame: int, camera: str) -> EncodedFrame:
    """Makes a frame; one of all is quarantined."""
    bad = frame == 5 and camera == "right"
    return make_frame(frame, camera, quarantine=QUARANTINE if bad else None)


async def publish(store: ObjectStore, run: RunLocation) -> None:
    """Writes the manifest."""
    manifest = await build_manifest(store, await load_run(store, run), provenance={"cost": 0.5})
    await publish_manifest(store, run, manifest)


async def commit_all(store: ObjectStore, run: RunLocation) -> None:
    """Stores every shard, and publishes."""
    for shard in PLAN.shards():
        await put_shard(store, run, shard, make=with_quarantine)
    await publish(store, run)
