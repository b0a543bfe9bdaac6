"""The generator itself: admission, scenes, shards. No wire types here."""

from __future__ import annotations

import contextlib
import os
import platform
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

from simcloud.client.uploader import UploaderClient
from simcloud.concurrency.drain import Drain
from simcloud.errors import InvalidRequest, NotReady, Overloaded, PreconditionFailed
from simcloud.spec.plan import Plan
from simcloud_generator.call import GenerateCall
from simcloud_generator.frame import max_frame_bytes
from simcloud_generator.jobs import FrameResult, InspectJob, RenderJob, SceneReport
from simcloud_generator.pool import WorkerPool
from simcloud_generator.renderers import resolved_digest
from simcloud_generator.requests import (
    GenerateEvent,
    GenerateRequest,
    SpecRequest,
    StreamRequest,
)
from simcloud_generator.scenes import Scenes
from simcloud_generator.settings import GeneratorSettings
from simcloud_generator.shard_run import RunContext, lookahead, make_frame
from simcloud_generator.stream_call import stream_results
from simcloud_generator.uploaders import Uploaders

_RETRY_BUSY_S = 5.0
_DEFAULT_PLAN = Plan(frames=1)
_REMEMBERED = 256
"""Specs known to fit their scene: neither changes, both are content-addressed."""


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
        self._drain = Drain()
        self._fitting: OrderedDict[tuple[Path, str], None] = OrderedDict()

    @property
    def calls(self) -> int:
        """Generate and StreamFrames calls being served now."""
        return self._calls

    async def validate(self, ask: SpecRequest, caller: str) -> SceneReport:
        """Every reason why Generate would refuse a spec, and what works but not as written."""
        try:
            self._check(ask, caller, resolved=False)
            stage = await self._scenes.fetch(ask.bucket, ask.prefix, ask.spec.scene)
        except InvalidRequest as error:
            return SceneReport(problems=((error.field, error.problem),), warnings=())
        except PreconditionFailed as error:
            return SceneReport(problems=(("renderer", str(error)),), warnings=())
        try:
            return await self._inspect(stage, ask)
        except PreconditionFailed as error:
            return SceneReport(problems=(("randomization.plugins", str(error)),), warnings=())

    async def preview(self, ask: SpecRequest, frame: int, caller: str) -> FrameResult:
        """One frame; waits for a free worker like any other."""
        self._check(ask, caller, resolved=False)
        stage = await self._open(ask)
        return await make_frame(self.pool, _job(stage, ask, _DEFAULT_PLAN, frame))

    async def stream(self, ask: StreamRequest, caller: str) -> AsyncGenerator[FrameResult]:
        """Frames in order; the consumer's pace is the renderer's.

        Raises:
            InvalidRequest: the spec or the frames are wrong.
            PreconditionFailed: this worker can't honour the renderer or a plug-in.
            Overloaded: every place for a call is taken.
            NotReady: the generator drains; the frames that were given are whole.
        """
        self._check(ask.ask, caller, resolved=False)
        self._check_count(len(ask.frames))
        with self._admitted():
            stage = await self._open(ask.ask)
            results = stream_results(
                ask.frames,
                lambda frame: make_frame(self.pool, _job(stage, ask.ask, _DEFAULT_PLAN, frame)),
                ahead=lookahead(self.pool),
                drain=self._drain,
            )
            async with contextlib.aclosing(results):
                async for result in results:
                    yield result

    async def generate(self, ask: GenerateRequest, caller: str) -> AsyncGenerator[GenerateEvent]:
        """Renders shards and tells what happens to them.

        Raises:
            InvalidRequest: the spec or the shards are wrong.
            PreconditionFailed: this worker can't honour the renderer or a plug-in, or the run has
                another spec.
            Overloaded: every place for a call is taken.
            NotReady: the generator drains; what is durable stays.
        """
        self._check(ask.ask, caller, resolved=True)
        self.settings.allow.check_bucket(caller, ask.run.bucket, ask.run.prefix)
        self._check_count(sum(len(shard) for shard in ask.shards))
        with self._admitted():
            stage = await self._open(ask.ask)
            uploader = await self._uploaders.client(ask.uploader_target)
            plan = await _plan_of(uploader, ask)
            # A drain that came meanwhile has told only those that rendered.
            self._check_draining()
            call = GenerateCall(
                _context(ask, stage, plan),
                ask.shards,
                pool=self.pool,
                uploader=uploader,
                concurrent_shards=self.settings.concurrent_shards,
                drain=self._drain,
            )
            async with contextlib.aclosing(call.events()) as events:
                async for event in events:
                    yield event

    async def drain(self) -> None:
        """Takes no more calls and stops those that render at their next frame boundary."""
        await self._drain.begin()

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
        for index, plugin in enumerate(ask.spec.randomization.plugins):
            if resolved and not plugin.sha256:
                raise InvalidRequest(
                    f"spec.randomization.plugins[{index}].sha256",
                    "is not filled in: a run names the source that its plug-ins have",
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

    def _check_draining(self) -> None:
        if self._drain.begun:
            raise NotReady("the generator is stopping: repeat the call on another one")

    @contextlib.contextmanager
    def _admitted(self) -> Iterator[None]:
        self._check_draining()
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
        if self._key(stage, ask) not in self._fitting:
            report = await self._inspect(stage, ask)
            for field, problem in report.problems:
                raise InvalidRequest(f"spec.{field}", problem)
        return stage

    async def _inspect(self, stage: Path, ask: SpecRequest) -> SceneReport:
        """Tries a spec on a scene, and remembers it if it fits.

        Where plug-ins take part it does not: they are what is installed now.
        """
        report = await self.pool.inspect(InspectJob(stage=stage, spec_json=ask.spec_json))
        if not report.problems and not ask.spec.randomization.plugins:
            self._fitting[self._key(stage, ask)] = None
            while len(self._fitting) > _REMEMBERED:
                self._fitting.popitem(last=False)
        return report

    def _key(self, stage: Path, ask: SpecRequest) -> tuple[Path, str]:
        return stage, resolved_digest(ask.spec, self.pool.identity)


def _context(ask: GenerateRequest, stage: Path, plan: Plan) -> RunContext:
    return RunContext(
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
