"""``python -m simcloud_inference_router``: settings and catalogue, then serve until stopped."""

from __future__ import annotations

import gc
import sys

from simcloud.rpc.main import run
from simcloud.rpc.server import serve
from simcloud_inference_router.build import open_router
from simcloud_inference_router.catalog import load_catalog
from simcloud_inference_router.services import descriptor_pools, services
from simcloud_inference_router.settings import NAME, RouterSettings


async def serve_router(settings: RouterSettings) -> None:
    """Serves until SIGTERM; answers everything it has taken first."""
    catalog = load_catalog(settings.catalog)
    async with open_router(settings, catalog) as router:
        # What start-up made stays: the collector need not walk it again and again under load.
        gc.collect()
        gc.freeze()
        await serve(
            settings,
            services=services(router),
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
