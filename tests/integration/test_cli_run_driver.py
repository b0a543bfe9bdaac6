"""The run driver against a real generator, uploader and S3 server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from simcloud.client.events import (
    FirstPicture,
    FrameMade,
    RunEvent,
    RunOpened,
    RunStored,
    ShardLost,
    ShardStored,
)
from simcloud.client.renderer import resolve_renderer
from simcloud.client.run import RunDriver, RunPatience, RunRequest
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.manifest import load_manifest
from simcloud.errors import AlreadyExists, InvalidRequest, PreconditionFailed
from simcloud.s3.objects import ObjectStore
from simcloud.spec.model import Spec
from simcloud.spec.plan import Plan
from support.generating import Generating, running_pair, stored_showroom
from support.s3_server import S3Server

PLAN = Plan(frames=4, frames_per_shard=2)
IMPATIENT = RunPatience(attempts=2, pause_s=0.01, others_poll_s=0.1, others_for_s=0.2)


@pytest.fixture
async def pair(s3_server: S3Server, tmp_path: Path) -> AsyncIterator[Generating]:
    """The two services of a run."""
    async with running_pair(s3_server.settings, tmp_path / "cache", workers=1) as running:
        yield running


@pytest.fixture
async def spec(pair: Generating, store: ObjectStore, bucket: str) -> Spec:
    """A small spec whose scene is in S3."""
    return resolve_renderer(await stored_showroom(store, bucket), await pair.client.describe())


def _driver(pair: Generating, request: RunRequest, patience: RunPatience = IMPATIENT) -> RunDriver:
    return RunDriver(
        generator=pair.client, uploader=pair.uploads, request=request, patience=patience
    )


async def _run(
    pair: Generating, request: RunRequest, patience: RunPatience = IMPATIENT
) -> tuple[list[RunEvent], RunStored]:
    events = [event async for event in _driver(pair, request, patience).generate()]
    ended = events[-1]
    assert isinstance(ended, RunStored)
    return events, ended


@pytest.mark.timeout(300)
async def test_a_run_is_stored_published_and_resumed_without_rendering(
    pair: Generating, store: ObjectStore, bucket: str, spec: Spec
) -> None:
    location = RunLocation(bucket=bucket, prefix="", run="driven")
    request = RunRequest(location=location, spec=spec, plan=PLAN, provenance={"commit": "abc"})
    events, ended = await _run(pair, request)
    assert isinstance(events[0], RunOpened)
    assert isinstance(events[1], FirstPicture)
    assert sorted(event.frame for event in events if isinstance(event, FrameMade)) == [0, 1, 2, 3]
    assert len([event for event in events if isinstance(event, ShardStored)]) == 2
    assert ended.published
    assert ended.summary.stored_frames == 4
    assert ended.cost.rendered_frames == 4
    assert ended.cost.cpu_s > 0
    manifest = await load_manifest(store, location)
    assert manifest.provenance["commit"] == "abc"

    events, ended = await _run(pair, request)
    assert [type(event) for event in events] == [RunOpened, RunStored]
    assert ended.cost.rendered_frames == 0

    grown = RunRequest(
        location=location, spec=spec, plan=PLAN.model_copy(update={"frames": 6}), preview=False
    )
    events, ended = await _run(pair, grown)
    assert sorted(event.frame for event in events if isinstance(event, FrameMade)) == [4, 5]
    assert ended.summary.plan_generation == 2
    assert ended.published

    other = spec.model_copy(update={"seed": spec.seed + 1})
    with pytest.raises(AlreadyExists, match="seed"):
        await _run(pair, RunRequest(location=location, spec=other, plan=PLAN))


@pytest.mark.timeout(300)
async def test_two_workers_share_a_run_and_the_last_one_publishes(
    pair: Generating, bucket: str, spec: Spec
) -> None:
    location = RunLocation(bucket=bucket, prefix="", run="shared")

    def part(*shards: int) -> RunRequest:
        return RunRequest(
            location=location, spec=spec, plan=PLAN, shards=frozenset(shards), preview=False
        )

    _, first = await _run(pair, part(1))
    assert not first.published
    assert not first.lost
    assert [item.shard for item in first.summary.missing] == [0]
    _, idle = await _run(pair, part())
    assert not idle.published
    _, last = await _run(pair, part(0))
    assert last.published
    with pytest.raises(InvalidRequest, match="shards 0 to 1"):
        await _run(pair, part(7))


@pytest.mark.timeout(300)
async def test_a_driver_that_is_closed_early_leaves_a_run_that_resumes(
    pair: Generating, bucket: str, spec: Spec
) -> None:
    location = RunLocation(bucket=bucket, prefix="", run="closed")
    request = RunRequest(location=location, spec=spec, plan=PLAN, preview=False)
    async with aclosing(_driver(pair, request).generate()) as events:
        async for event in events:
            if isinstance(event, ShardStored):
                break
    # What the first call held is let go of a moment after it has left.
    _, ended = await _run(pair, request, RunPatience(pause_s=0.01, others_poll_s=0.05))
    assert ended.published
    assert ended.cost.rendered_frames <= 3


@pytest.mark.timeout(300)
async def test_a_shard_that_another_writer_keeps_is_given_up_after_the_patience(
    pair: Generating, bucket: str, spec: Spec
) -> None:
    location = RunLocation(bucket=bucket, prefix="", run="kept")
    request = RunRequest(
        location=location, spec=spec, plan=Plan(frames=1, frames_per_shard=1), preview=False
    )
    await pair.uploads.create_run(location, spec=spec, plan=request.plan)
    fingerprint = (await pair.client.describe()).backends[0].fingerprint
    shard = request.plan.shard(0)
    impatient = RunPatience(attempts=2, pause_s=0.01, others_poll_s=0.01, others_for_s=0.0)
    async with pair.uploads.open_shard(
        location,
        shard,
        spec_digest=_digest(spec),
        fingerprint=fingerprint,
        cameras=1,
        max_frame_bytes=1 << 20,
    ):
        driver = RunDriver(
            generator=pair.client, uploader=pair.uploads, request=request, patience=impatient
        )
        events = [event async for event in driver.generate()]
    ended = events[-1]
    assert isinstance(ended, RunStored)
    assert [lost.frames.shard for lost in ended.lost] == [0]
    assert any(isinstance(event, ShardLost) for event in events)
    assert not ended.published


async def test_a_renderer_that_the_generator_lacks_is_refused(pair: Generating, spec: Spec) -> None:
    isaac = spec.model_copy(
        update={"renderer": spec.renderer.model_copy(update={"backend": "isaac"})}
    )
    with pytest.raises(PreconditionFailed, match="the generator has mitsuba"):
        resolve_renderer(isaac, await pair.client.describe())


def _digest(spec: Spec) -> str:
    from simcloud.spec.canonical import canonical_json, digest

    return digest(canonical_json(spec))
