"""The worker processes, and the one queue in front of them.

Callers wait at a hand-over without a buffer, so that at most one job per worker is on its way and
back-pressure reaches whoever asks for frames. A worker that dies or hangs is replaced and its job
tried once more; recycling by frame count or memory is a setting, because renderers leak.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

from simcloud.concurrency import ChannelError, OneOperation, ReceiveEnd, SendEnd, open_channel
from simcloud.errors import Bug, NotReady, SimcloudError
from simcloud_generator.jobs import (
    FrameResult,
    InspectJob,
    Job,
    RenderJob,
    SceneReport,
    WorkerConfiguration,
    WorkerIdentity,
)
from simcloud_generator.metrics import KERNELS, LOST_WORKERS, RECYCLED_WORKERS, WORKERS_BUSY
from simcloud_generator.renderers import try_variants
from simcloud_generator.worker_process import WorkerProcess, start_worker

_START_TIMEOUT_S = 600.0
"""A start takes seconds; on a machine so busy that it takes minutes it still isn't a hang."""
_STOPPING = "the renderers are being stopped: repeat the call elsewhere"

Answer = TypeVar("Answer", FrameResult, SceneReport)


class WorkerDied(SimcloudError):
    """A worker process died or hung in the middle of a job, twice."""

    reason = "WORKER_DIED"
    retryable = True


@dataclass(frozen=True, slots=True)
class Recycling:
    """When a worker has rendered or grown enough to be replaced by a fresh one."""

    frames: int
    """After this many frames; 0: never."""
    rss_bytes: int
    """When its resident memory exceeds this; 0: never."""

    def is_due(self, frames: int, rss_bytes: int) -> bool:
        """Whether a worker is to be replaced."""
        return 0 < self.frames <= frames or 0 < self.rss_bytes < rss_bytes


@dataclass(slots=True)
class _Request:
    job: Job
    answer: asyncio.Future[FrameResult | SceneReport]


class WorkerPool:
    """Renders jobs on a fixed number of worker processes; use as made by `open_pool`.

    Bounded: one job per worker is in flight, callers beyond that wait. A cancelled caller leaves
    its job running to the end of the frame; the result is dropped.
    """

    def __init__(self, *, send: SendEnd[_Request], identity: WorkerIdentity, workers: int) -> None:
        self._send = send
        self.identity = identity
        self.workers = workers
        self.busy_s = 0.0
        """Seconds that workers spent on jobs, all together."""

    async def render(self, job: RenderJob) -> FrameResult:
        """Makes a frame.

        Raises:
            WorkerDied: two workers died or hung with the frame.
            NotReady: no worker can be started, or the pool is being left.
            SimcloudError: what the worker found wrong with the job.
        """
        return await self._ask(job, FrameResult)

    async def inspect(self, job: InspectJob) -> SceneReport:
        """Tries a spec on a scene without rendering."""
        return await self._ask(job, SceneReport)

    async def _ask(self, job: Job, kind: type[Answer]) -> Answer:
        answer: asyncio.Future[FrameResult | SceneReport] = (
            asyncio.get_running_loop().create_future()
        )
        try:
            await self._send.send(_Request(job, answer))
        except ChannelError as error:
            raise NotReady(_STOPPING) from error
        result = await answer
        if not isinstance(result, kind):
            raise Bug(f"a worker answered {type(result).__name__} instead of {kind.__name__}")
        return result


@contextlib.asynccontextmanager
async def open_pool(
    *,
    workers: int,
    configuration: WorkerConfiguration,
    recycling: Recycling,
    frame_timeout_s: float = 0.0,
) -> AsyncIterator[WorkerPool]:
    """Starts the workers; when entered, the first one has said who it is, the others start.

    Leaving it ends the pipes: idle workers end at once, a rendering one within five seconds; who
    still waits for its frame gets NotReady.

    Args:
        workers: how many.
        configuration: theirs; variants that it has no verdict on are tried first, once for all.
        recycling: when they are replaced.
        frame_timeout_s: seconds for each job, after which its worker is killed and replaced; 0:
            jobs and starts take as long as they take.

    Raises:
        SimcloudError: a worker could not start, with its own words.
    """
    if not configuration.verdicts:
        configuration = await asyncio.to_thread(try_variants, configuration)
    ends: tuple[SendEnd[_Request], ReceiveEnd[_Request]] = open_channel(0, name="render_jobs")
    send, receive = ends
    with ThreadPoolExecutor(workers, thread_name_prefix="worker-pipe") as threads:
        tenders = [
            _Tender(
                threads=threads,
                configuration=replace(configuration, place=place),
                recycling=recycling,
                timeout_s=frame_timeout_s,
            )
            for place in range(workers)
        ]
        identity = await tenders[0].start()
        pool = WorkerPool(send=send, identity=identity, workers=workers)
        try:
            async with OneOperation() as group:
                tending = [group.create_task(tender.tend(receive, pool)) for tender in tenders]
                try:
                    yield pool
                finally:
                    send.close()
                    # A frame that nobody takes any more may last for minutes, or for ever.
                    for task in tending:
                        task.cancel()
        finally:
            # A tender that is cancelled before its first step has cleaned up nothing.
            for tender in tenders:
                await tender.stop()
            async for left in receive:
                _settle(left, NotReady(_STOPPING))


class _Tender:
    """Keeps one place of the pool occupied by a living worker."""

    def __init__(
        self,
        *,
        threads: ThreadPoolExecutor,
        configuration: WorkerConfiguration,
        recycling: Recycling,
        timeout_s: float,
    ) -> None:
        self._threads = threads
        self._configuration = configuration
        self._recycling = recycling
        self._timeout_s = timeout_s
        self._worker: WorkerProcess | None = None

    async def start(self) -> WorkerIdentity:
        """Fills the place.

        Raises:
            SimcloudError: the worker could not start.
        """
        self._worker, identity = await start_worker(
            threads=self._threads,
            configuration=self._configuration,
            timeout_s=_START_TIMEOUT_S if self._timeout_s else 0.0,
        )
        return identity

    async def tend(self, receive: ReceiveEnd[_Request], pool: WorkerPool) -> None:
        """Serves requests until the hand-over is closed."""
        try:
            if self._worker is None:
                # Scenes are fetched and looked at meanwhile. The first job starts it again if it
                # can't, and is told why.
                with contextlib.suppress(SimcloudError):
                    await self.start()
            async for request in receive:
                begin = time.monotonic()
                with WORKERS_BUSY.track_inprogress():
                    await self._serve(request)
                pool.busy_s += time.monotonic() - begin
        finally:
            await self.stop()

    async def _serve(self, request: _Request) -> None:
        try:
            await self._answer(request)
        finally:
            # Nothing if it has its answer; else nobody else would give it one.
            _settle(request, NotReady(_STOPPING))

    async def _answer(self, request: _Request) -> None:
        ends = []
        for _attempt in range(2):
            if request.answer.cancelled():
                return
            try:
                if self._worker is None:
                    await self.start()
                assert self._worker is not None
                reply = await self._worker.ask(request.job, self._timeout_s)
            except (EOFError, OSError):
                ends.append(await self._lost())
                continue
            except SimcloudError as error:
                _settle(request, error)
                return
            _settle(request, reply)
            await self._count_and_recycle(reply)
            return
        _settle(request, WorkerDied(f"{_what(request.job)}: {' and '.join(ends)}"))

    async def _lost(self) -> str:
        """Counts a worker that is no more, and says how it ended."""
        worker = self._worker
        assert worker is not None
        await self.stop()
        LOST_WORKERS.labels("hung" if worker.hung else "died").inc()
        if worker.hung:
            return f"a renderer process took more than {self._timeout_s:g} s (frame_timeout_s)"
        return f"a renderer process ended with code {worker.exit_code}"

    async def _count_and_recycle(self, reply: object) -> None:
        if self._worker is None or not isinstance(reply, FrameResult):
            return
        place = str(self._configuration.place)
        KERNELS.labels(place, "compiled").inc(reply.kernels.compiled)
        KERNELS.labels(place, "cached").inc(reply.kernels.cached)
        self._worker.frames += 1
        if self._recycling.is_due(self._worker.frames, reply.rss_bytes):
            RECYCLED_WORKERS.inc()
            await self.stop()

    async def stop(self) -> None:
        """Ends the worker that is there. Idempotent."""
        worker, self._worker = self._worker, None
        if worker is not None:
            await worker.stop()


def _what(job: Job) -> str:
    return f"frame {job.frame}" if isinstance(job, RenderJob) else f"scene {job.stage.name}"


def _settle(request: _Request, reply: object) -> None:
    if request.answer.done():
        return
    if isinstance(reply, Exception):
        request.answer.set_exception(reply)
    elif isinstance(reply, FrameResult | SceneReport):
        request.answer.set_result(reply)
    else:
        request.answer.set_exception(Bug(f"a worker answered {type(reply).__name__}"))
