"""Settings to a router that runs: the one place where its parts are put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from simcloud.clock import SYSTEM_CLOCK, Clock
from simcloud.concurrency.budget import ByteBudget
from simcloud.concurrency.retry import Backoff, RetryBudget
from simcloud.s3.client import open_client
from simcloud_inference_router.catalog import Catalog, ModelEntry
from simcloud_inference_router.codecs import tensor_codec
from simcloud_inference_router.dispatch import Dispatcher, RoutedModel, RoutedTarget
from simcloud_inference_router.metrics import ModelMetrics
from simcloud_inference_router.pipeline import Drain
from simcloud_inference_router.router import Router
from simcloud_inference_router.routing.limiter import AimdLimit, LimitSettings
from simcloud_inference_router.routing.queue import Gate
from simcloud_inference_router.settings import RouterSettings
from simcloud_inference_router.sources import FrameSource
from simcloud_inference_router.targets.factory import TargetFactory, open_factory


@asynccontextmanager
async def open_router(
    settings: RouterSettings, catalog: Catalog, *, clock: Clock = SYSTEM_CLOCK
) -> AsyncIterator[Router]:
    """The router, with its pools open; they are closed on exit.

    Args:
        settings: of the process.
        catalog: models.
        clock: the process's.
    """
    backoff = Backoff(base_s=settings.retry.base_s)
    # Jitter needs no secrecy.
    random = Random()  # noqa: S311
    async with (
        open_client(settings.s3) as s3,
        open_factory(settings, s3=s3, clock=clock) as targets,
    ):
        models = {entry.name: _model(entry, settings, targets, clock) for entry in catalog.models}
        yield Router(
            catalog=catalog,
            models=models,
            dispatcher=Dispatcher(clock=clock, backoff=backoff, random=random),
            source=FrameSource(
                s3,
                clock=clock,
                backoff=backoff,
                random=random,
                expected_bucket_owner=settings.s3.expected_bucket_owner,
            ),
            payloads=ByteBudget(settings.payload_budget_bytes, name="router_payloads"),
            allow=settings.allow_lists(),
            stream_window=settings.stream_window,
            answer_limit=settings.answer_limit,
            clock=clock,
            drain=Drain(),
        )


def _model(
    entry: ModelEntry,
    settings: RouterSettings,
    targets: TargetFactory,
    clock: Clock,
) -> RoutedModel:
    place = entry.targets[0]
    limit = AimdLimit(
        LimitSettings(
            start=settings.limiter.start,
            minimum=settings.limiter.minimum,
            maximum=settings.limiter.maximum,
            decrease=settings.limiter.decrease,
        )
    )
    gate = Gate(target=place.name, limit=limit, clock=clock)
    target = targets.make(place)
    return RoutedModel(
        entry=entry,
        target=RoutedTarget(place, target, gate),
        retries=RetryBudget(
            clock, ratio=settings.retry.ratio, floor_per_s=settings.retry.floor_per_s
        ),
        metrics=ModelMetrics(model=entry.name, target=place.name, gate=gate),
        codec=tensor_codec(entry),
    )
