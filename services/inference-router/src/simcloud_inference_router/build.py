"""Settings to a router that runs: the one place where its parts are put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from simcloud.clock import SYSTEM_CLOCK, Clock
from simcloud.concurrency.budget import ByteBudget
from simcloud.concurrency.retry import Backoff, RetryBudget
from simcloud.s3.client import open_client
from simcloud_inference_router.catalog import Catalog, ModelEntry, TargetEntry
from simcloud_inference_router.codecs import tensor_codec
from simcloud_inference_router.dispatch import Dispatcher, RoutedModel, RoutedTarget
from simcloud_inference_router.metrics import ModelMetrics
from simcloud_inference_router.pipeline import Drain
from simcloud_inference_router.router import Router
from simcloud_inference_router.routing.limiter import AimdLimit, LimitSettings
from simcloud_inference_router.routing.queue import Gate
from simcloud_inference_router.settings import RouterSettings, SageMakerSettings
from simcloud_inference_router.sources import FrameSource
from simcloud_inference_router.targets.base import Target
from simcloud_inference_router.targets.container import ContainerTarget
from simcloud_inference_router.targets.credentials import (
    CredentialSource,
    FixedCredentials,
    ProviderChain,
)
from simcloud_inference_router.targets.http_pool import HttpPool, open_pool
from simcloud_inference_router.targets.sagemaker import SageMakerTarget
from simcloud_inference_router.targets.sigv4 import Credentials


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
        open_pool(
            connect_timeout_s=settings.connect_timeout_s,
            keepalive_s=settings.keepalive_idle_s,
            max_answer_bytes=settings.answer_limit,
        ) as pool,
        open_client(settings.s3) as s3,
    ):
        credentials = _credentials(settings.sagemaker, clock)
        models = {
            entry.name: _model(entry, settings, pool, credentials, clock)
            for entry in catalog.models
        }
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
    pool: HttpPool,
    credentials: CredentialSource,
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
    target = _target(place, settings, pool, credentials, clock)
    return RoutedModel(
        entry=entry,
        target=RoutedTarget(place, target, gate),
        retries=RetryBudget(
            clock, ratio=settings.retry.ratio, floor_per_s=settings.retry.floor_per_s
        ),
        metrics=ModelMetrics(model=entry.name, target=place.name, gate=gate),
        codec=tensor_codec(entry),
    )


def _target(
    entry: TargetEntry,
    settings: RouterSettings,
    pool: HttpPool,
    credentials: CredentialSource,
    clock: Clock,
) -> Target:
    if entry.kind == "container":
        return ContainerTarget(entry, pool=pool)
    region = entry.region or settings.region
    # The setting outranks the catalogue: the same catalogue serves a laptop and an account.
    base_url = settings.sagemaker_endpoint_url or entry.url or _runtime_url(region)
    return SageMakerTarget(
        entry,
        base_url=base_url.rstrip("/"),
        region=region,
        pool=pool,
        credentials=credentials,
        clock=clock,
    )


def _runtime_url(region: str) -> str:
    # botocore's endpoints.json: the China partition has a suffix of its own.
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://runtime.sagemaker.{region}.{suffix}"


def _credentials(settings: SageMakerSettings, clock: Clock) -> CredentialSource:
    if not settings.access_key_id:
        return ProviderChain(clock)
    return FixedCredentials(
        Credentials(
            access_key_id=settings.access_key_id,
            secret_access_key=settings.secret_access_key.get_secret_value(),
            session_token=settings.session_token.get_secret_value(),
        )
    )
