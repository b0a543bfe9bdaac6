"""The pool around its processes: one that can't be started, and leaving one that renders."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from simcloud.errors import NotReady
from simcloud.telemetry.metrics import REGISTRY
from simcloud_generator import worker_process
from simcloud_generator.pool import Recycling, WorkerPool, open_pool
from support.eventually import eventually
from support.paper_worker import CONFIGURATION, HANGS, paper_job, run_paper_worker

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
