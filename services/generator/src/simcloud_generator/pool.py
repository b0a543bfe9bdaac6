"""The worker processes, and the one queue in front of them.

Callers wait at a hand-over without a buffer, so that at most one job per worker is on its way and
back-pressure reaches whoever asks for frames. A worker that dies is replaced and its job tried once
more; recycling by frame count or memory is a setting, because renderers leak.
"""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import TypeVar

from simcloud.concurrency import ReceiveEnd, SendEnd, open_channel, single_error
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
from simcloud_generator.metrics import RECYCLED_WORKERS, WORKERS_BUSY
from simcloud_generator.worker import run_worker

_STOP_S = 5.0
"""A worker that is idle ends at once when its pipe closes; one that renders is killed after this:
its frame is not needed any more."""
_SPAWN = multiprocessing.get_context("spawn")

Answer = TypeVar("Answer", FrameResult, SceneReport)


class WorkerDied(SimcloudError):
    """A worker process ended in the middle of a job, twice."""

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


@dataclass(slots=True)
class _Process:
    process: SpawnProcess
    connection: Connection
    identity: WorkerIdentity
    frames: int = 0


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
            WorkerDied: the frame killed two workers.
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
        await self._send.send(_Request(job, answer))
        result = await answer
        if not isinstance(result, kind):
            raise Bug(f"a worker answered {type(result).__name__} instead of {kind.__name__}")
        return result


@contextlib.asynccontextmanager
async def open_pool(
    *, workers: int, configuration: WorkerConfiguration, recycling: Recycling
) -> AsyncIterator[WorkerPool]:
    """Starts the workers; when entered, the first one has said who it is.

    Leaving it closes the pipes: idle workers end at once, a rendering one within five seconds.

    Raises:
        SimcloudError: a worker could not start, with its own words.
    """
    ends: tuple[SendEnd[_Request], ReceiveEnd[_Request]] = open_channel(0, name="render_jobs")
    send, receive = ends
    with ThreadPoolExecutor(workers, thread_name_prefix="worker-pipe") as threads:
        first = await _start(threads, configuration)
        pool = WorkerPool(send=send, identity=first.identity, workers=workers)
        async with single_error(), asyncio.TaskGroup() as group:
            for number in range(workers):
                tender = _Tender(pool, threads, replace(configuration, place=number), recycling)
                group.create_task(tender.tend(receive, first if number == 0 else None))
            try:
                yield pool
            finally:
                send.close()


class _Tender:
    """Keeps one place of the pool occupied by a living worker."""

    def __init__(
        self,
        pool: WorkerPool,
        threads: ThreadPoolExecutor,
        configuration: WorkerConfiguration,
        recycling: Recycling,
    ) -> None:
        self._pool = pool
        self._threads = threads
        self._configuration = configuration
        self._recycling = recycling
        self._worker: _Process | None = None

    async def tend(self, receive: ReceiveEnd[_Request], worker: _Process | None) -> None:
        """Serves requests until the hand-over is closed."""
        self._worker = worker
        try:
            async for request in receive:
                begin = time.monotonic()
                with WORKERS_BUSY.track_inprogress():
                    await self._serve(request)
                self._pool.busy_s += time.monotonic() - begin
        finally:
            await self._stop()

    async def _serve(self, request: _Request) -> None:
        for _attempt in range(2):
            if request.answer.cancelled():
                return
            try:
                if self._worker is None:
                    self._worker = await _start(self._threads, self._configuration)
                reply = await _exchange(self._threads, self._worker.connection, request.job)
            except (EOFError, OSError):
                await self._stop()
                continue
            except SimcloudError as error:
                _settle(request, error)
                return
            _settle(request, reply)
            await self._recycle(reply)
            return
        frame = request.job.frame if isinstance(request.job, RenderJob) else None
        _settle(request, WorkerDied(f"a renderer process died twice on frame {frame}"))

    async def _recycle(self, reply: object) -> None:
        if self._worker is None or not isinstance(reply, FrameResult):
            return
        self._worker.frames += 1
        if self._recycling.is_due(self._worker.frames, reply.rss_bytes):
            RECYCLED_WORKERS.inc()
            await self._stop()

    async def _stop(self) -> None:
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.connection.close()
            await asyncio.to_thread(_reap, worker.process)


def _settle(request: _Request, reply: object) -> None:
    if request.answer.done():
        return
    if isinstance(reply, Exception):
        request.answer.set_exception(reply)
    elif isinstance(reply, FrameResult | SceneReport):
        request.answer.set_result(reply)
    else:
        request.answer.set_exception(Bug(f"a worker answered {type(reply).__name__}"))


async def _start(threads: ThreadPoolExecutor, configuration: WorkerConfiguration) -> _Process:
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(
        target=run_worker, args=(theirs, configuration), name="simcloud-renderer", daemon=True
    )
    process.start()
    theirs.close()
    loop = asyncio.get_running_loop()
    try:
        identity = await loop.run_in_executor(threads, ours.recv)
    except (EOFError, OSError) as error:
        await asyncio.to_thread(_reap, process)
        raise NotReady(
            f"a renderer process ended with code {process.exitcode} before it was ready"
        ) from error
    if isinstance(identity, Exception):
        await asyncio.to_thread(_reap, process)
        raise identity
    if not isinstance(identity, WorkerIdentity):
        raise Bug(f"a worker began with {type(identity).__name__}")
    return _Process(process, ours, identity)


async def _exchange(threads: ThreadPoolExecutor, connection: Connection, job: Job) -> object:
    def exchange() -> object:
        connection.send(job)
        return connection.recv()

    return await asyncio.get_running_loop().run_in_executor(threads, exchange)


def _reap(process: SpawnProcess) -> None:
    process.join(_STOP_S)
    if process.is_alive():
        process.kill()
        process.join()
