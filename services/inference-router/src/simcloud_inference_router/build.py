"""Settings to a router that runs: the one place where its parts are put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

from simcloud.clock import SYSTEM_CLOCK, Clock
from simcloud.concurrency.budget import ByteBudget
from simcloud.concurrency.drain import Drain
from simcloud.concurrency.retry import Backoff
from simcloud.s3.client import open_client
from simcloud_inference_router.background import open_background
from simcloud_inference_router.build_model import ModelBuilder
from simcloud_inference_router.catalog import Catalog
from simcloud_inference_router.discovery.merging import merge
from simcloud_inference_router.dispatch import Dispatcher
from simcloud_inference_router.metrics import RefCollector, RouterCollector, exported
from simcloud_inference_router.quotas import Quotas
from simcloud_inference_router.router import Router
from simcloud_inference_router.served import Served
from simcloud_inference_router.settings import RouterSettings
from simcloud_inference_router.sources import FrameSource
from simcloud_inference_router.targets.factory import open_factory


@asynccontextmanager
async def open_router(
    settings: RouterSettings,
    catalog: Catalog,
    *,
    clock: Clock = SYSTEM_CLOCK,
    random: Random | None = None,
) -> AsyncIterator[Router]:
    """The router, with its pools open; they are closed on exit.

    Args:
        settings: of the process.
        catalog: models; those without targets are served when some are found.
        clock: the process's.
        random: of jitter and draws; one of its own by default.
    """
    backoff = Backoff(base_s=settings.retry.base_s)
    if random is None:
        # Jitter and draws need no secrecy.
        random = Random()  # noqa: S311
    async with (
        open_client(settings.s3) as s3,
        open_factory(settings, s3=s3, clock=clock) as targets,
        open_background() as background,
    ):
        builder = ModelBuilder(
            settings, make=targets.make, background=background, clock=clock, random=random
        )
        payloads = ByteBudget(settings.payload_budget_bytes, name="router_payloads")
        source = FrameSource(
            s3,
            settings=settings.refs,
            memory=payloads,
            background=background,
            clock=clock,
            backoff=backoff,
            random=random,
            expected_bucket_owner=settings.s3.expected_bucket_owner,
        )
        router = Router(
            served=Served(merge(catalog, region=settings.region).catalog, build=builder.build),
            dispatcher=Dispatcher(
                clock=clock, backoff=backoff, random=random, background=background
            ),
            source=source,
            payloads=payloads,
            authorizer=settings.authorizer(),
            quotas=Quotas(settings.quotas, clock=clock),
            stream_window=settings.stream_window,
            answer_limit=settings.answer_limit,
            clock=clock,
            drain=Drain(),
        )
        with (
            exported(RouterCollector(lambda: router.models)),
            exported(RefCollector(source.reads)),
        ):
            yield router
