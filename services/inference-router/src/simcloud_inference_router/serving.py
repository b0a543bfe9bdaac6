"""The router with its catalogue watched and its services made, ready to be served."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from simcloud.rpc.server import Service
from simcloud_inference_router.admin import RouterAdmin
from simcloud_inference_router.build import open_router
from simcloud_inference_router.catalog import read_catalog
from simcloud_inference_router.discovery.aws import aws_endpoints
from simcloud_inference_router.reload import CatalogReloader, watched_catalog
from simcloud_inference_router.router import Router
from simcloud_inference_router.services import services
from simcloud_inference_router.settings import RouterSettings


@dataclass(frozen=True, slots=True)
class OpenedRouter:
    """What there is before a port listens."""

    router: Router
    reloader: CatalogReloader
    services: tuple[Service, ...]


@asynccontextmanager
async def opened_router(settings: RouterSettings) -> AsyncIterator[OpenedRouter]:
    """The router of the settings' catalogue, which is watched within the block.

    Raises:
        SimcloudError: as ``read_catalog`` and ``open_router``.
    """
    read = read_catalog(settings.catalog)
    async with (
        open_router(settings, read.taken()) as router,
        watched_catalog(
            router,
            path=settings.catalog,
            read=read,
            poll_s=settings.catalog_poll_s,
            region=settings.region,
            endpoints=aws_endpoints(settings),
        ) as reloader,
    ):
        admin = RouterAdmin(reloader, authorizer=router.authorizer)
        yield OpenedRouter(router, reloader, services(router, admin=admin))
