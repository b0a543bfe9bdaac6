"""The pool around its processes: one that can't be started, and leaving one that renders."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

import pytest

from simcloud.errors import NotReady
from simcloud.telemetry.metrics import REGISTRY
from simcloud_generator import worker_process
from simcloud_generator.jobs import WorkerConfiguration
from simcloud_generator.pool import Recycling, WorkerPool, open_pool
from simcloud_generator.worker_process import WorkerProcess
from support.eventually import eventually
from support.paper_worker import (
    CONFIGURATION,
    HANGS,
    paper_job,
    run_paper_worker,
    run_silent_worker,
)

NEVER = Recycling(frames=0, rss_bytes=0)


@pytest.fixture(autouse=True)
def _workers_of_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried here is the pool; a renderer would cost seconds."""
    monkeypatch.setattr(worker_process, "run_worker", run_paper_worker)


def only_worker() -> int:
    (worker,) = multiprocessing.active_children()
    assert worker.pid is not None
    return worker.pid


@contextmanager
def no_more_files() -> Iterator[None]:
    """Whatever this process would open fails: EMFILE."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # Those of the standard streams are taken; with none at all, poll() would be refused too.
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_worker_that_cannot_be_started_fails_its_job_and_the_next_job_tries_again() -> None:
    async with open_pool(workers=1, configuration=CONFIGURATION, recycling=NEVER) as pool:
        assert (await pool.render(paper_job(0))).frame == 0
        os.kill(only_worker(), signal.SIGKILL)
        with no_more_files():
            for frame in (1, 2):
                with pytest.raises(NotReady, match=r"can't be started: .*Too many open files"):
                    await pool.render(paper_job(frame))
        assert (await pool.render(paper_job(3))).frame == 3


async def refused(pool: WorkerPool, frame: int) -> str:
    """Why a frame was not made."""
    with pytest.raises(NotReady) as caught:
        await pool.render(paper_job(frame))
    return str(caught.value)


def busy_workers() -> float:
    return REGISTRY.get_sample_value("simcloud_generator_workers_busy") or 0.0


async def test_leaving_the_pool_does_not_wait_for_the_frame_that_is_being_rendered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_process, "_STOP_S", 0.0)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        async with open_pool(workers=1, configuration=CONFIGURATION, recycling=NEVER) as pool:
            asked = group.create_task(refused(pool, HANGS))
            await eventually(lambda: busy_workers() == 1)
        assert multiprocessing.active_children() == []
    assert "being stopped" in asked.result()


async def test_a_pool_that_is_left_at_once_leaves_no_worker_behind() -> None:
    async with open_pool(workers=2, configuration=CONFIGURATION, recycling=NEVER):
        # No turn of the loop between the first worker's start and the end.
        assert multiprocessing.active_children()
    assert multiprocessing.active_children() == []


async def test_whoever_waits_for_a_worker_when_the_pool_is_left_is_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_process, "_STOP_S", 0.0)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        async with open_pool(workers=1, configuration=CONFIGURATION, recycling=NEVER) as pool:
            asked = [group.create_task(refused(pool, HANGS))]
            await eventually(lambda: busy_workers() == 1)
            asked += [group.create_task(refused(pool, frame)) for frame in range(3)]
            await asyncio.sleep(0)
        asked.append(group.create_task(refused(pool, 4)))
    assert all("being stopped" in each.result() for each in asked)


class SeenConnection(Connection):
    """Our end of a pipe that keeps what was done with it."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__(os.dup(pipe.fileno()))
        self.seen: list[str] = []

    def recv(self) -> object:
        """As it is, and when it ended."""
        self.seen.append("read begins")
        try:
            return super().recv()
        finally:
            self.seen.append("read ends")

    def close(self) -> None:
        """As it is, and when."""
        self.seen.append("closed")
        super().close()


@contextmanager
def held_process(
    run: Callable[[Connection, WorkerConfiguration], None],
) -> Iterator[tuple[SpawnProcess, SeenConnection]]:
    """A worker's process and our end of its pipe, whose other end another process holds too.

    As one does that its renderer has started; here it is this one.
    """
    ours, theirs = worker_process._SPAWN.Pipe()
    process = worker_process._SPAWN.Process(target=run, args=(theirs, CONFIGURATION))
    process.start()
    seen = SeenConnection(ours)
    ours.close()
    with theirs:
        yield process, seen


@contextmanager
def held_worker() -> Iterator[tuple[WorkerProcess, SeenConnection]]:
    """A worker whose end of the pipe another process holds too."""
    with held_process(run_paper_worker) as (process, seen), ThreadPoolExecutor(1) as threads:
        yield WorkerProcess(process=process, connection=seen, threads=threads), seen


async def test_the_pipe_of_a_worker_that_renders_is_closed_after_its_last_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_process, "_STOP_S", 0.0)
    with held_worker() as (worker, pipe):
        await worker.identity(0.0)
        async with asyncio.TaskGroup() as group:
            asked = group.create_task(worker.ask(paper_job(HANGS), 0.0))
            await eventually(lambda: pipe.seen[2:] == ["read begins"])
            asked.cancel()
        await worker.stop()
    assert pipe.seen[2:] == ["read begins", "read ends", "closed"]
    assert worker.exit_code == -signal.SIGKILL


async def test_a_worker_that_hangs_is_ended_whoever_else_holds_its_pipe() -> None:
    with held_worker() as (worker, _):
        await worker.identity(0.0)
        with pytest.raises(EOFError):
            await worker.ask(paper_job(HANGS), 0.01)
        await worker.stop()
    assert (worker.hung, worker.exit_code) == (True, -signal.SIGKILL)


async def test_a_worker_that_takes_no_job_is_ended_whoever_else_holds_its_pipe() -> None:
    with held_worker() as (worker, _):
        await worker.identity(0.0)
        os.kill(only_worker(), signal.SIGSTOP)
        # More than a pipe holds, so that its sender waits for a reader.
        with pytest.raises(BrokenPipeError):
            await worker.ask(replace(paper_job(0), spec_json=bytes(4 << 20)), 0.01)
        await worker.stop()
    assert (worker.hung, worker.exit_code) == (True, -signal.SIGKILL)


async def test_leaving_the_pool_ends_a_worker_that_starts_whoever_else_holds_its_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def enters() -> None:
        async with open_pool(workers=1, configuration=CONFIGURATION, recycling=NEVER):
            pass

    with held_process(run_silent_worker) as (process, pipe):
        monkeypatch.setattr(worker_process, "_spawned", lambda _: (process, pipe))
        async with asyncio.TaskGroup() as group:
            entering = group.create_task(enters())
            await eventually(lambda: pipe.seen == ["read begins"])
            entering.cancel()
    assert pipe.seen == ["read begins", "read ends", "closed"]
    # Killed and reaped: nothing is left of it, not even a zombie.
    assert process.pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


async def test_a_worker_that_is_idle_ends_by_itself_when_it_is_stopped() -> None:
    with held_worker() as (worker, pipe):
        await worker.identity(0.0)
        await worker.stop()
    assert (worker.exit_code, pipe.closed) == (0, True)
