"""Images of several requests become one batch."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType

import numpy as np
import numpy.typing as npt
import structlog

from simcloud_model_container.errors import InferenceFailed, NotReady, Overloaded
from simcloud_model_container.models.family import Tensors
from simcloud_model_container.settings import BatchingSettings
from simcloud_model_container.telemetry import Metrics

Image = npt.NDArray[np.float32]
Runner = Callable[[Image], list[Tensors]]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Unit:
    """One image on its way through the network."""

    image: Image
    arrived_s: float
    answer: asyncio.Future[Tensors]


class Slots:
    """A request's share of the model's `max_queue`, held until it is answered."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self.count = 0

    def take(self, count: int) -> None:
        """Take `count` more.

        Raises:
            Overloaded: so many aren't free.
        """
        self._admission.change(count)
        self.count += count


class Admission:
    """Counts the images which are admitted and not yet answered; the one bound of a model."""

    def __init__(self, *, model: str, limit: int, metrics: Metrics) -> None:
        self._model = model
        self._limit = limit
        self._gauge = metrics.images_admitted.labels(model)
        self._admitted = 0

    @contextmanager
    def slots(self) -> Iterator[Slots]:
        """No slots yet; whatever is taken is given back at the end."""
        slots = Slots(self)
        try:
            yield slots
        finally:
            self.change(-slots.count)

    def change(self, count: int) -> None:
        """Add `count`, which may be negative.

        Raises:
            Overloaded: the limit would be exceeded.
        """
        if count > 0 and self._admitted + count > self._limit:
            message = (
                f"{self._model} is overloaded: {self._admitted} of {self._limit} images are in "
                f"work and {count} more were asked for; try again later"
            )
            raise Overloaded(message)
        self._admitted += count
        self._gauge.set(self._admitted)


class Batcher:
    """Runs images on several threads at once, in batches.

    An async context manager: entered, it works; leaving it answers what waits, then ends the
    threads. Its queue is bounded by the caller's `Admission`. A cancelled `infer` takes its waiting
    images out; those in a running batch are computed and dropped. When a batch fails, its images
    run once more, each alone, so that only the one at fault fails.

    Args:
        model: the name in metrics.
        runner: the network; called by `settings.workers` threads at once.
        settings: workers, batch size and waiting time.
        metrics: where batch sizes are counted.
    """

    def __init__(
        self, *, model: str, runner: Runner, settings: BatchingSettings, metrics: Metrics
    ) -> None:
        self._model = model
        self._runner = runner
        self._worker_count = settings.workers
        self._max_batch = settings.max_batch
        self._max_wait_s = settings.max_wait_ms / 1000
        self._batch_images = metrics.batch_images.labels(model)
        self._threads = ThreadPoolExecutor(settings.workers, thread_name_prefix=f"{model}-infer")
        self._workers = asyncio.TaskGroup()
        # The mutable state, changed only under the condition.
        self._changed = asyncio.Condition()
        self._waiting: deque[_Unit] = deque()
        self._closed = False

    async def __aenter__(self) -> Batcher:
        """Start the workers."""
        await self._workers.__aenter__()
        for _ in range(self._worker_count):
            self._workers.create_task(self._work())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Answer what waits and end."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()
        try:
            await self._workers.__aexit__(kind, error, trace)
        finally:
            self._threads.shutdown()

    async def infer(self, images: Sequence[Image]) -> list[Tensors]:
        """Each image's network outputs, without batch.

        Raises:
            InferenceFailed: the network failed on one of them.
            NotReady: the context was left.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        units = [_Unit(image, now, loop.create_future()) for image in images]
        async with self._changed:
            if self._closed:
                message = f"{self._model} is no longer served"
                raise NotReady(message)
            self._waiting.extend(units)
            self._changed.notify_all()
        answers = [unit.answer for unit in units]
        try:
            await asyncio.wait(answers)
        finally:
            for answer in answers:
                answer.cancel()
        return [answer.result() for answer in answers]

    async def _work(self) -> None:
        while units := await self._next_batch():
            self._batch_images.observe(len(units))
            await self._run(units)

    async def _next_batch(self) -> list[_Unit]:
        """Wait for a batch: full, or its first image has waited long enough; empty at the end."""
        loop = asyncio.get_running_loop()
        async with self._changed:
            while True:
                while self._waiting and self._waiting[0].answer.done():
                    self._waiting.popleft()
                due_s = self._waiting[0].arrived_s + self._max_wait_s if self._waiting else None
                full = len(self._waiting) >= self._max_batch
                if full or self._closed or (due_s is not None and loop.time() >= due_s):
                    size = min(len(self._waiting), self._max_batch)
                    return [self._waiting.popleft() for _ in range(size)]
                try:
                    async with asyncio.timeout_at(due_s):
                        await self._changed.wait()
                except TimeoutError:
                    continue

    async def _run(self, units: Sequence[_Unit]) -> None:
        batch = np.stack([unit.image for unit in units])
        try:
            rows = await asyncio.get_running_loop().run_in_executor(
                self._threads, self._runner, batch
            )
        except Exception as error:  # whatever the network raises is this batch's, not the server's
            await self._blame(units, error)
            return
        for unit, row in zip(units, rows, strict=True):
            if not unit.answer.done():
                unit.answer.set_result(row)

    async def _blame(self, units: Sequence[_Unit], error: Exception) -> None:
        if len(units) > 1:
            for unit in units:
                await self._run([unit])
            return
        _log.error("the network failed", model=self._model, exc_info=error)
        if not units[0].answer.done():
            message = f"{self._model} failed on an image: {error}"
            units[0].answer.set_exception(InferenceFailed(message))
