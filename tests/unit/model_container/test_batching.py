from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from simcloud_model_container.batching import Admission, Batcher
from simcloud_model_container.errors import InferenceFailed, Overloaded
from simcloud_model_container.settings import BatchingSettings
from simcloud_model_container.telemetry import Metrics

Image = npt.NDArray[np.float32]


class Doubler:
    """A network that doubles, can be held, and fails on negative images."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[float]] = []
        self.began = threading.Event()
        self.go = threading.Event()
        if not held:
            self.go.set()

    def run(self, batch: Image) -> list[dict[str, npt.NDArray[Any]]]:
        self.began.set()
        assert self.go.wait(10)
        self.batches.append(batch[:, 0].tolist())
        if (batch < 0).any():
            raise ValueError("negative")
        return [{"doubled": row * 2} for row in batch]


def images(*values: float) -> list[Image]:
    return [np.array([value], np.float32) for value in values]


def doubled(rows: Sequence[dict[str, npt.NDArray[Any]]]) -> list[float]:
    return [float(row["doubled"][0]) for row in rows]


def batcher(network: Doubler, **settings: Any) -> Batcher:
    return Batcher(
        model="m",
        runner=network.run,
        settings=BatchingSettings(**{"workers": 1, "max_wait_ms": 2.0, **settings}),
        metrics=Metrics(),
    )


async def test_requests_share_batches_and_get_their_own_answers() -> None:
    network = Doubler(held=True)
    async with batcher(network, max_batch=3) as running, asyncio.TaskGroup() as group:
        first = group.create_task(running.infer(images(0)))
        await asyncio.to_thread(network.began.wait, 10)
        others = [group.create_task(running.infer(images(i, i + 10))) for i in (1, 2, 3)]
        group.create_task(asyncio.to_thread(network.go.set))
    assert doubled(first.result()) == [0]
    assert [doubled(other.result()) for other in others] == [[2, 22], [4, 24], [6, 26]]
    assert sorted(value for batch in network.batches for value in batch) == [0, 1, 2, 3, 11, 12, 13]
    assert max(len(batch) for batch in network.batches) <= 3


async def test_a_full_batch_does_not_wait() -> None:
    network = Doubler()
    async with batcher(network, max_batch=2, max_wait_ms=1e9) as running, asyncio.timeout(10):
        assert doubled(await running.infer(images(1, 2))) == [2, 4]


async def test_only_the_failing_image_s_request_fails() -> None:
    network = Doubler(held=True)
    async with batcher(network, max_batch=4) as running, asyncio.TaskGroup() as group:
        group.create_task(running.infer(images(0)))
        await asyncio.to_thread(network.began.wait, 10)
        good = [group.create_task(running.infer(images(i))) for i in (1, 2)]
        bad = group.create_task(failure_of(running, images(3, -1)))
        network.go.set()
    assert [doubled(task.result()) for task in good] == [[2], [4]]
    assert "negative" in bad.result()


async def failure_of(running: Batcher, sent: list[Image]) -> str:
    with pytest.raises(InferenceFailed) as failed:
        await running.infer(sent)
    return failed.value.message


async def test_a_cancelled_request_s_waiting_images_are_not_computed() -> None:
    network = Doubler(held=True)
    async with batcher(network, max_batch=1) as running, asyncio.TaskGroup() as group:
        group.create_task(running.infer(images(0)))
        await asyncio.to_thread(network.began.wait, 10)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await running.infer(images(7))
        network.go.set()
    assert network.batches == [[0]]


async def test_leaving_answers_what_waits() -> None:
    network = Doubler(held=True)
    running = batcher(network, max_batch=1, max_wait_ms=1e9)
    async with asyncio.TaskGroup() as group, running:
        tasks = [group.create_task(running.infer(images(i))) for i in range(5)]
        await asyncio.to_thread(network.began.wait, 10)
        network.go.set()
    assert [doubled(task.result()) for task in tasks] == [[2 * i] for i in range(5)]


def test_admission_refuses_beyond_its_limit_and_frees_what_a_request_took() -> None:
    metrics = Metrics()
    admission = Admission(model="m", limit=3, metrics=metrics)
    with admission.slots() as first:
        first.take(1)
        with admission.slots() as second:
            second.take(1)
            with pytest.raises(Overloaded, match="2 of 3 images are in work and 2 more"):
                second.take(2)
            second.take(1)
            assert (
                metrics.registry.get_sample_value("simcloud_model_images_admitted", {"model": "m"})
                == 3
            )
        first.take(2)
    assert metrics.registry.get_sample_value("simcloud_model_images_admitted", {"model": "m"}) == 0
