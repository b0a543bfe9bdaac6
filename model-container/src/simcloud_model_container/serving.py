"""A model that answers invocations: codec, admission and batcher together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from prometheus_client import Histogram

from simcloud_model_container.batching import Admission, Batcher, Slots
from simcloud_model_container.catalogue import ModelDescription
from simcloud_model_container.invocation import Answer, Invocation, InvocationCodec
from simcloud_model_container.models import make_family
from simcloud_model_container.session import NetworkSession
from simcloud_model_container.settings import Settings
from simcloud_model_container.telemetry import Metrics

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory, warmed up."""

    description: ModelDescription
    codec: InvocationCodec
    session: NetworkSession


def load_model(description: ModelDescription, settings: Settings) -> LoadedModel:
    """Read, check, load and run once; blocks for some hundred milliseconds.

    Raises:
        RefusedStart: a file is missing, changed or can't be loaded.
    """
    family = make_family(description.family, description.read_labels())
    session = NetworkSession(description.read_weights(), name=description.name)
    # The first runs allocate; a caller should not wait for that.
    for size in sorted({1, settings.batching.max_batch}):
        session.run(np.zeros((size, *family.input_shape), np.float32))
    codec = InvocationCodec(description=description, family=family, limits=settings.limits)
    return LoadedModel(description=description, codec=codec, session=session)


class ServedModel:
    """Answers invocations of one model; made by `serve_model`."""

    def __init__(
        self,
        *,
        loaded: LoadedModel,
        batcher: Batcher,
        admission: Admission,
        threads: ThreadPoolExecutor,
        metrics: Metrics,
    ) -> None:
        self.name = loaded.description.name
        self.admission = admission
        self._codec = loaded.codec
        self._batcher = batcher
        self._threads = threads
        self._stage_seconds = metrics.stage_seconds

    async def invoke(self, invocation: Invocation, slots: Slots) -> Answer:
        """Answer one invocation.

        Args:
            invocation: the request.
            slots: one is taken; the request's further images are taken here.

        Raises:
            RequestRefused: of the family that says what went wrong.
        """
        work = await self._in_thread("read", lambda: self._codec.read(invocation))
        slots.take(len(work.images) - slots.count)
        with _timed(self._stage_seconds, self.name, "infer"):
            raw = await self._batcher.infer(work.images)
        return await self._in_thread("answer", lambda: self._codec.answer(work, raw))

    async def _in_thread(self, stage: str, call: Callable[[], T]) -> T:
        with _timed(self._stage_seconds, self.name, stage):
            return await asyncio.get_running_loop().run_in_executor(self._threads, call)


@asynccontextmanager
async def serve_model(
    loaded: LoadedModel, settings: Settings, metrics: Metrics
) -> AsyncIterator[ServedModel]:
    """Serve a loaded model until the context ends; what it was asked is answered first."""
    name = loaded.description.name
    admission = Admission(model=name, limit=settings.batching.max_queue, metrics=metrics)
    batcher = Batcher(
        model=name,
        runner=loaded.session.run,
        settings=settings.batching,
        metrics=metrics,
    )
    # As many as for inference: decoding keeps up with inference and takes no more cores than it.
    threads = ThreadPoolExecutor(settings.batching.workers, thread_name_prefix=f"{name}-codec")
    try:
        async with batcher:
            yield ServedModel(
                loaded=loaded,
                batcher=batcher,
                admission=admission,
                threads=threads,
                metrics=metrics,
            )
    finally:
        threads.shutdown()


class _timed:  # noqa: N801 - reads as a verb in `with`
    """Observes how long its block took, also when it failed."""

    def __init__(self, histogram: Histogram, model: str, stage: str) -> None:
        self._observe = histogram.labels(model, stage).observe
        self._began_s = 0.0

    def __enter__(self) -> None:
        self._began_s = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self._observe(time.perf_counter() - self._began_s)
