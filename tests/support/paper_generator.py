"""A generator's core alone: no worker processes, no S3, no uploader, all at a test's word."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from simcloud.client.uploader import (
    CommittedShard,
    Run,
    RunState,
    RunSummary,
    ShardUpload,
    UploaderClient,
)
from simcloud.dataset.layout import RunLocation
from simcloud.spec.canonical import canonical_json, digest
from simcloud.spec.model import SceneRef, Spec
from simcloud.spec.plan import Plan, ShardFrames
from simcloud_generator.generator import Generator
from simcloud_generator.jobs import FrameResult, InspectJob, RenderJob, SceneReport
from simcloud_generator.pool import WorkerPool
from simcloud_generator.requests import GenerateRequest, SpecRequest, StreamRequest
from simcloud_generator.scenes import Scenes
from simcloud_generator.settings import GeneratorSettings
from simcloud_generator.uploaders import Uploaders
from support.noise_generator import IDENTITY

LOCATION = RunLocation(bucket="frames", prefix="", run="paper")
PLAN = Plan(frames=100, frames_per_shard=1)
SPEC = Spec.model_validate(
    {
        "scene": {"root": "stage.usda", "digest": "1" * 64},
        "cameras": [
            {
                "name": "main",
                "width_px": 8,
                "height_px": 6,
                "placement": {"kind": "look_at", "eye": [0, -1, 0], "target": [0, 0, 0]},
            }
        ],
        "annotators": ["rgb"],
        "renderer": {"backend": IDENTITY.backend, "variant": IDENTITY.variant},
    }
)
_ASK = SpecRequest(
    spec=SPEC,
    spec_json=canonical_json(SPEC),
    spec_digest=digest(canonical_json(SPEC)),
    bucket=LOCATION.bucket,
    prefix="",
)

Render = Callable[[RenderJob], Awaitable[FrameResult]]
Turn = Callable[[ShardFrames], Awaitable[None]]


def stream_request(frames: int) -> StreamRequest:
    """For the first frames."""
    return StreamRequest(ask=_ASK, frames=range(frames))


def generate_request(shards: int) -> GenerateRequest:
    """For the first shards."""
    return GenerateRequest(
        ask=_ASK,
        run=LOCATION,
        shards=tuple(PLAN.shard(shard) for shard in range(shards)),
        allow_mixed_fingerprints=False,
        uploader_target="",
    )


def blank_frame(job: RenderJob) -> FrameResult:
    """A frame without pictures."""
    return FrameResult(
        frame=job.frame,
        views=(),
        timings_s={},
        cpu_s=0.0,
        quarantine="",
        quarantine_rule="",
        rss_bytes=0,
    )


async def no_frame(job: RenderJob) -> FrameResult:
    """Where nothing is to be rendered."""
    raise AssertionError(f"frame {job.frame} is not to be rendered")


async def at_once(_: ShardFrames) -> None:
    """A shard opens without waiting."""


class PaperPool(WorkerPool):
    """One worker, which is a function."""

    def __init__(self, render: Render) -> None:
        self.identity = IDENTITY
        self.workers = 1
        self.busy_s = 0.0
        self._render = render

    async def render(self, job: RenderJob) -> FrameResult:
        return await self._render(job)

    async def inspect(self, job: InspectJob) -> SceneReport:
        del job
        return SceneReport(problems=(), warnings=())


class PaperScenes(Scenes):
    """Scenes that are all there."""

    def __init__(self) -> None:
        pass

    async def fetch(self, bucket: str, prefix: str, scene: SceneRef) -> Path:
        del bucket, prefix
        return Path(scene.root)


class _Committed(ShardUpload):
    """A shard of which nothing is left to do."""

    def __init__(self, frames: ShardFrames) -> None:
        self._frames = frames

    @property
    def already_committed(self) -> CommittedShard:
        return CommittedShard(
            frames=self._frames,
            key="",
            etag="",
            size_bytes=0,
            crc64nvme=0,
            stored_frames=len(self._frames),
            quarantined_frames=0,
            fingerprints=(),
            already_committed=True,
        )


class PaperUploader(UploaderClient):
    """Has the run, and every shard of it committed.

    Args:
        turn: awaited before a shard is open; what it raises, opening raises.
        looked_up: awaited before the run is found.
    """

    def __init__(self, turn: Turn, looked_up: Callable[[], Awaitable[None]] | None = None) -> None:
        self._turn = turn
        self._looked_up = looked_up

    async def get_run(self, location: RunLocation, *, timeout_s: float | None = None) -> Run:
        del timeout_s
        if self._looked_up is not None:
            await self._looked_up()
        summary = RunSummary(
            location=location,
            spec_digest=_ASK.spec_digest,
            state=RunState.OPEN,
            plan_generation=1,
            planned_frames=PLAN.frames,
            stored_frames=0,
            quarantined_frames=0,
            planned_shards=PLAN.shard_count,
            committed_shards=0,
            stored_bytes=0,
            manifest_key="",
            create_time=datetime.fromtimestamp(0, UTC),
        )
        return Run(summary=summary, spec=SPEC, plan=PLAN)

    @asynccontextmanager
    async def open_shard(
        self, location: RunLocation, frames: ShardFrames, **_: Any
    ) -> AsyncIterator[ShardUpload]:
        del location
        await self._turn(frames)
        yield _Committed(frames)


class _PaperUploaders(Uploaders):
    def __init__(self, uploader: UploaderClient) -> None:
        self._uploader = uploader

    async def client(self, target: str) -> UploaderClient:
        del target
        return self._uploader


def paper_generator(
    *, render: Render = no_frame, uploader: UploaderClient | None = None
) -> Generator:
    """A generator of frames that a function makes, and of shards that are committed already."""
    return Generator(
        settings=GeneratorSettings(concurrent_shards=2),
        pool=PaperPool(render),
        scenes=PaperScenes(),
        uploaders=_PaperUploaders(uploader or PaperUploader(at_once)),
    )
