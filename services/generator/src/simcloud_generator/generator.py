"""The generator itself: admission, scenes, shards. No wire types here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from simcloud.client._wire import CommittedShard
from simcloud.client.uploader import UploaderClient
from simcloud.concurrency import ChannelError, ReceiveEnd, SendEnd, open_channel
from simcloud.dataset.layout import RunLocation
from simcloud.errors import (
    InvalidRequest,
    NotReady,
    Overloaded,
    PreconditionFailed,
    SimcloudError,
)
from simcloud.spec.model import Spec
from simcloud.spec.plan import Plan, ShardFrames
from simcloud_generator.frame import max_frame_bytes
from simcloud_generator.jobs import FrameResult, InspectJob, RenderJob, SceneReport
from simcloud_generator.metrics import SHARDS
from simcloud_generator.pool import WorkerPool
from simcloud_generator.scenes import Scenes
from simcloud_generator.settings import GeneratorSettings
from simcloud_generator.shard_run import Event, Progress, RunContext, ShardRun, make_frame
from simcloud_generator.uploaders import Uploaders

_RETRY_BUSY_S = 5.0
_DEFAULT_PLAN = Plan(frames=1)


@dataclass(frozen=True, slots=True)
class SpecRequest:
    """A spec and where its scene is."""

    spec: Spec
    spec_json: bytes
    spec_digest: str
    bucket: str
    prefix: str


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """Shards to render."""

    ask: SpecRequest
    run: RunLocation
    shards: tuple[ShardFrames, ...]
    allow_mixed_fingerprints: bool
    uploader_target: str


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """Frames to have."""

    ask: SpecRequest
    frames: range


@dataclass(frozen=True, slots=True)
class Failed:
    """A shard was given up."""

    shard: ShardFrames
    error: SimcloudError


@dataclass(frozen=True, slots=True)
class Summary:
    """Totals of one Generate call."""

    rendered: int
    quarantined: int
    wall_s: float
    cpu_s: float
    idle_s: float
    fingerprint: str
    failed: int


GenerateEvent = Event | Failed | Summary


class Generator:
    """Renders what it is asked for on its pool of workers."""

    def __init__(
        self, *, settings: GeneratorSettings, pool: WorkerPool, scenes: Scenes, uploaders: Uploaders
    ) -> None:
        self.settings = settings
        self.pool = pool
        self._scenes = scenes
        self._uploaders = uploaders
        self._calls = 0
        self._draining = False
        self._generating: set[_Call] = set()

    async def validate(self, ask: SpecRequest, caller: str) -> SceneReport:
        """Every reason why Generate would refuse a spec, and what works but not as written."""
        try:
            self._check(ask, caller, resolved=False)
            stage = await self._scenes.fetch(ask.bucket, ask.prefix, ask.spec.scene)
        except InvalidRequest as error:
            return SceneReport(problems=((error.field, error.problem),), warnings=())
        except PreconditionFailed as error:
            return SceneReport(problems=(("renderer", str(error)),), warnings=())
        return await self.pool.inspect(InspectJob(stage=stage, spec_json=ask.spec_json))

    async def preview(self, ask: SpecRequest, frame: int, caller: str) -> FrameResult:
        """One frame; waits for a free worker like any other."""
        self._check(ask, caller, resolved=False)
        stage = await self._open(ask)
        return await make_frame(self.pool, _job(stage, ask, _DEFAULT_PLAN, frame))

    async def stream(self, ask: StreamRequest, caller: str) -> AsyncIterator[FrameResult]:
        """Frames in order; the consumer's pace is the renderer's."""
        self._check(ask.ask, caller, resolved=False)
        self._check_count(len(ask.frames))
        with self._admitted():
            stage = await self._open(ask.ask)
            ends: tuple[SendEnd[FrameResult], ReceiveEnd[FrameResult]] = open_channel(1)
            send, receive = ends
            async with asyncio.TaskGroup() as group:
                task = group.create_task(self._stream_into(send, stage, ask))
                try:
                    async for result in receive:
                        yield result
                finally:
                    receive.close()
                    task.cancel()

    async def _stream_into(
        self, send: SendEnd[FrameResult], stage: Path, ask: StreamRequest
    ) -> None:
        upcoming = iter(ask.frames)
        with contextlib.closing(send), contextlib.suppress(ChannelError):
            async with asyncio.TaskGroup() as group:
                window: deque[asyncio.Task[FrameResult]] = deque()
                while True:
                    while len(window) < self._lookahead:
                        frame = next(upcoming, None)
                        if frame is None:
                            break
                        job = _job(stage, ask.ask, _DEFAULT_PLAN, frame)
                        window.append(group.create_task(make_frame(self.pool, job)))
                    if not window:
                        return
                    await send.send(await window.popleft())

    async def generate(self, ask: GenerateRequest, caller: str) -> AsyncIterator[GenerateEvent]:
        """Renders shards and tells what happens to them.

        Raises:
            InvalidRequest: the spec or the shards are wrong.
            PreconditionFailed: this worker can't honour the renderer, or the run has another spec.
            Overloaded: every place for a call is taken.
        """
        self._check(ask.ask, caller, resolved=True)
        self.settings.allow.check_bucket(caller, ask.run.bucket, ask.run.prefix)
        self._check_count(sum(len(shard) for shard in ask.shards))
        with self._admitted():
            stage = await self._open(ask.ask)
            uploader = await self._uploaders.client(ask.uploader_target)
            plan = await _plan_of(uploader, ask)
            call = _Call(self, uploader, stage, ask, plan)
            self._generating.add(call)
            try:
                async for event in call.events():
                    yield event
            finally:
                self._generating.discard(call)

    async def drain(self) -> None:
        """Takes no more calls and stops those that render at their next frame boundary."""
        self._draining = True
        for call in self._generating:
            call.stop()

    def _check(self, ask: SpecRequest, caller: str, *, resolved: bool) -> None:
        self.settings.allow.check_bucket(caller, ask.bucket, ask.prefix)
        limit = self.settings.max_resolution_px
        for index, camera in enumerate(ask.spec.cameras):
            if max(camera.width_px, camera.height_px) > limit:
                raise InvalidRequest(
                    f"spec.cameras[{index}]",
                    f"is {camera.width_px}x{camera.height_px}; this generator renders up to "
                    f"{limit} px a side",
                )
        identity, wanted = self.pool.identity, ask.spec.renderer
        backends = (identity.backend,) if resolved else (identity.backend, "auto")
        variants = (identity.variant,) if resolved else (identity.variant, "auto")
        if wanted.backend not in backends or wanted.variant not in variants:
            raise PreconditionFailed(
                f"the spec wants {wanted.backend}/{wanted.variant}, this generator renders with "
                f"{identity.backend}/{identity.variant}: use one that has it, or start a new run "
                f"with renderer.backend and renderer.variant set to what this one has",
                backend=identity.backend,
                variant=identity.variant,
            )

    def _check_count(self, frames: int) -> None:
        limit = self.settings.max_frames_per_call
        if not 0 < frames <= limit:
            raise InvalidRequest("shards", f"{frames} frames asked for; 1 to {limit} a call")

    @contextlib.contextmanager
    def _admitted(self) -> Iterator[None]:
        if self._draining:
            raise NotReady("the generator is stopping: repeat the call on another one")
        if self._calls >= self.settings.concurrent_calls:
            raise Overloaded(
                f"{self._calls} calls are being rendered, which is this generator's limit",
                retry_after_s=_RETRY_BUSY_S,
            )
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    async def _open(self, ask: SpecRequest) -> Path:
        stage = await self._scenes.fetch(ask.bucket, ask.prefix, ask.spec.scene)
        report = await self.pool.inspect(InspectJob(stage=stage, spec_json=ask.spec_json))
        for field, problem in report.problems:
            raise InvalidRequest(f"spec.{field}", problem)
        return stage

    @property
    def _lookahead(self) -> int:
        return 2 * self.pool.workers

    def shard_run(
        self, context: RunContext, shard: ShardFrames, uploader: UploaderClient, call: _Call
    ) -> ShardRun:
        """A shard's run on this generator's workers."""
        return ShardRun(
            context=context,
            shard=shard,
            pool=self.pool,
            uploader=uploader,
            lookahead=self._lookahead,
            report=call.report,
        )


class _Call:
    """One Generate call: its shards, some at a time, into one stream of events."""

    def __init__(
        self,
        generator: Generator,
        uploader: UploaderClient,
        stage: Path,
        ask: GenerateRequest,
        plan: Plan,
    ) -> None:
        self._generator = generator
        self._uploader = uploader
        self._shards = deque(ask.shards)
        self._context = RunContext(
            run=ask.run,
            stage=stage,
            spec_json=ask.ask.spec_json,
            spec_digest=ask.ask.spec_digest,
            plan=plan,
            cameras=len(ask.ask.spec.cameras),
            max_frame_bytes=max_frame_bytes(ask.ask.spec),
            allow_mixed_fingerprints=ask.allow_mixed_fingerprints,
            writer=f"{platform.node()}/{os.getpid()}"[:256],
        )
        ends: tuple[SendEnd[GenerateEvent], ReceiveEnd[GenerateEvent]] = open_channel(
            16, name="generate_events"
        )
        self._send, self._receive = ends
        self._stopped = False
        self._task: asyncio.Task[None] | None = None
        self._rendered = self._quarantined = self._failed = 0
        self._cpu_s = 0.0

    def stop(self) -> None:
        """Stops rendering; the stream then ends with an error that says so."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()

    async def report(self, event: GenerateEvent) -> None:
        """Counts an event and hands it on; waits for a slow reader."""
        match event:
            case Progress():
                self._rendered += 1
                self._quarantined += bool(event.result.quarantine)
                self._cpu_s += event.result.cpu_s
                # The pictures are the uploader's by now; a queued event must not hold them.
                event = replace(event, result=replace(event.result, views=()))
            case Failed():
                self._failed += 1
                SHARDS.labels("failed").inc()
            case CommittedShard():
                SHARDS.labels("committed").inc()
        await self._send.send(event)

    async def events(self) -> AsyncIterator[GenerateEvent]:
        """Everything that happens, the summary last."""
        begin, busy_before = time.monotonic(), self._generator.pool.busy_s
        async with asyncio.TaskGroup() as group:
            self._task = group.create_task(self._run_all())
            try:
                async for event in self._receive:
                    yield event
            finally:
                self._receive.close()
                self._task.cancel()
        if self._stopped:
            raise NotReady(
                "the generator is stopping; what is durable stays: repeat the call on another one"
            )
        wall = time.monotonic() - begin
        pool = self._generator.pool
        yield Summary(
            rendered=self._rendered,
            quarantined=self._quarantined,
            wall_s=wall,
            cpu_s=self._cpu_s,
            idle_s=max(0.0, wall * pool.workers - (pool.busy_s - busy_before)),
            fingerprint=pool.identity.fingerprint,
            failed=self._failed,
        )

    async def _run_all(self) -> None:
        with contextlib.closing(self._send), contextlib.suppress(ChannelError):
            async with asyncio.TaskGroup() as group:
                for _ in range(self._generator.settings.concurrent_shards):
                    group.create_task(self._run_some())

    async def _run_some(self) -> None:
        while self._shards:
            shard = self._shards.popleft()
            run = self._generator.shard_run(self._context, shard, self._uploader, self)
            try:
                await run.run()
            except SimcloudError as error:
                await self.report(Failed(shard, error))


async def _plan_of(uploader: UploaderClient, ask: GenerateRequest) -> Plan:
    """The run's plan, once its spec and its shards have been found to be those asked for."""
    found = await uploader.get_run(ask.run)
    if found.summary.spec_digest != ask.ask.spec_digest:
        raise PreconditionFailed(
            f"run {ask.run.run} holds spec {found.summary.spec_digest[:12]}, not "
            f"{ask.ask.spec_digest[:12]}: name another run",
            found=found.summary.spec_digest,
        )
    plan = found.plan
    for index, shard in enumerate(ask.shards):
        if not 0 <= shard.shard < plan.shard_count or plan.shard(shard.shard) != shard:
            raise InvalidRequest(
                f"shards[{index}]",
                f"shard {shard.shard} [{shard.first}, {shard.end}) is not in the run's plan of "
                f"{plan.shard_count} shards of {plan.frames_per_shard} frames",
            )
    return plan


def _job(stage: Path, ask: SpecRequest, plan: Plan, frame: int) -> RenderJob:
    return RenderJob(stage=stage, spec_json=ask.spec_json, split=plan.split_of(frame), frame=frame)
