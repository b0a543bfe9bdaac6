"""One shard from its first missing frame to its commit, reporting on the way."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from simcloud.client._wire import CommittedShard
from simcloud.client.uploader import ResumeMismatch, ShardUpload, UploaderClient
from simcloud.concurrency import OneOperation
from simcloud.dataset.layout import RunLocation
from simcloud.spec.plan import Plan, ShardFrames
from simcloud.telemetry.logging import get_logger
from simcloud_generator.jobs import FrameResult, RenderJob
from simcloud_generator.metrics import (
    CPU_SECONDS,
    FRAMES,
    QUARANTINED_FRAMES,
    RESTARTED_SHARDS,
    STAGE_SECONDS,
)
from simcloud_generator.pool import WorkerDied, WorkerPool

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Started:
    """The uploader opened the shard."""

    shard: ShardFrames
    resume_frame: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Progress:
    """A frame was handed over."""

    shard: ShardFrames
    rendered: int
    """Frames of the shard made by this call."""
    durable_before: int
    send_s: float
    """From hand-over to the last byte taken, back-pressure included."""
    result: FrameResult


Event = Started | Progress | CommittedShard
Report = Callable[[Event], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class RunContext:
    """What the shards of one Generate call share."""

    run: RunLocation
    stage: Path
    spec_json: bytes
    spec_digest: str
    plan: Plan
    cameras: int
    """Cameras of a frame."""
    max_frame_bytes: int
    allow_mixed_fingerprints: bool
    writer: str


class ShardRun:
    """Renders one shard into the uploader.

    Frames are made by all workers at once and handed over in order; a bounded
    number of them is being made or waiting for its turn.
    """

    def __init__(
        self,
        *,
        context: RunContext,
        shard: ShardFrames,
        pool: WorkerPool,
        uploader: UploaderClient,
        report: Report,
    ) -> None:
        self._context = context
        self._shard = shard
        self._pool = pool
        self._uploader = uploader
        self._lookahead = lookahead(pool)
        self._report = report
        self._rendered = 0

    async def run(self) -> CommittedShard:
        """Makes what is missing of the shard and commits it.

        Raises:
            SimcloudError: the shard was given up; what was durable stays so.
        """
        context = self._context
        async with self._uploader.open_shard(
            context.run,
            self._shard,
            spec_digest=context.spec_digest,
            fingerprint=self._pool.identity.fingerprint,
            cameras=context.cameras,
            max_frame_bytes=context.max_frame_bytes,
            allow_mixed_fingerprints=context.allow_mixed_fingerprints,
            writer=context.writer,
        ) as upload:
            if upload.already_committed is not None:
                await self._report(upload.already_committed)
                return upload.already_committed
            await self._report(Started(self._shard, upload.resume_frame, upload.epoch))
            committed = await self._commit(upload)
        await self._report(committed)
        return committed

    async def _commit(self, upload: ShardUpload) -> CommittedShard:
        first = upload.resume_frame
        while True:
            try:
                await self._send_from(upload, first)
                return await upload.commit()
            except ResumeMismatch as lost:
                # The uploader or S3 lost what is no longer kept here: make it again. Pure frames
                # make the second time like the first.
                RESTARTED_SHARDS.inc()
                first = lost.resume_frame

    async def _send_from(self, upload: ShardUpload, first: int) -> None:
        async with OneOperation() as group:
            window: deque[asyncio.Task[FrameResult]] = deque()
            upcoming = first
            while window or upcoming < self._shard.end:
                while upcoming < self._shard.end and len(window) < self._lookahead:
                    _log.debug(
                        "frame begun",
                        run=str(self._context.run),
                        shard=self._shard.shard,
                        epoch=upload.epoch,
                        frame=upcoming,
                    )
                    window.append(group.create_task(self._make(upcoming)))
                    upcoming += 1
                result = await window.popleft()
                begin = time.perf_counter()
                for view in result.views:
                    await upload.send(view)
                self._count(result)
                await self._report(
                    Progress(
                        shard=self._shard,
                        rendered=self._rendered,
                        durable_before=upload.durable_before,
                        send_s=time.perf_counter() - begin,
                        result=result,
                    )
                )

    async def _make(self, frame: int) -> FrameResult:
        job = RenderJob(
            stage=self._context.stage,
            spec_json=self._context.spec_json,
            split=self._context.plan.split_of(frame),
            frame=frame,
        )
        return await make_frame(self._pool, job)

    def _count(self, result: FrameResult) -> None:
        self._rendered += 1
        FRAMES.labels("quarantined" if result.quarantine_rule else "rendered").inc()
        if result.quarantine_rule:
            QUARANTINED_FRAMES.labels(result.quarantine_rule).inc()
        CPU_SECONDS.inc(result.cpu_s)
        for stage, seconds in result.timings_s.items():
            STAGE_SECONDS.labels(stage).observe(seconds)


def lookahead(pool: WorkerPool) -> int:
    """Frames made or waiting for their turn: enough that no worker waits for a slow neighbour."""
    return 2 * pool.workers


async def make_frame(pool: WorkerPool, job: RenderJob) -> FrameResult:
    """Makes a frame; one that kills its renderer is quarantined rather than in everybody's way."""
    try:
        return await pool.render(job)
    except WorkerDied as error:
        return await pool.render(
            RenderJob(
                stage=job.stage,
                spec_json=job.spec_json,
                split=job.split,
                frame=job.frame,
                quarantine=str(error),
            )
        )
