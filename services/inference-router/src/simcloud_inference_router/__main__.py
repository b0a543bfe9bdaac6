"""``python -m simcloud_inference_router``: settings and catalogue, then serve until stopped."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys

from simcloud.rpc.main import run
from simcloud.rpc.server import serve
from simcloud_inference_router.admin import RouterAdmin
from simcloud_inference_router.build import open_router
from simcloud_inference_router.catalog import read_catalog
from simcloud_inference_router.discovery.aws import aws_endpoints
from simcloud_inference_router.reload import watched_catalog
from simcloud_inference_router.services import descriptor_pools, services
from simcloud_inference_router.settings import NAME, RouterSettings


async def serve_router(settings: RouterSettings) -> None:
    """Serves until SIGTERM; answers everything it has taken first. SIGHUP: the catalogue again."""
    path, poll_s = settings.catalog, settings.catalog_poll_s
    read = read_catalog(path)
    async with (
        open_router(settings, read.taken()) as router,
        watched_catalog(
            router,
            path=path,
            read=read,
            poll_s=poll_s,
            region=settings.region,
            endpoints=aws_endpoints(settings),
        ) as reloader,
    ):
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloader.wake)
        # What start-up made stays: the collector need not walk it again and again under load.
        gc.collect()
        gc.freeze()
        await serve(
            settings,
            services=services(router, admin=RouterAdmin(reloader, admins=settings.admins)),
            name=NAME,
            extra_pools=descriptor_pools(),
            on_drain=router.drain.begin,
        )


if __name__ == "__main__":
    sys.exit(
        run(
            serve_router,
            settings=RouterSettings,
            name=NAME,
            processes=lambda settings: settings.processes,
        )
    )
