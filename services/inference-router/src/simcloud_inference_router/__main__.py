"""``python -m simcloud_inference_router``: settings and catalogue, then serve until stopped."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys

from simcloud.rpc.main import run
from simcloud.rpc.server import serve
from simcloud_inference_router.services import descriptor_pools
from simcloud_inference_router.serving import opened_router
from simcloud_inference_router.settings import NAME, RouterSettings


async def serve_router(settings: RouterSettings) -> None:
    """Serves until SIGTERM; answers everything it has taken first. SIGHUP: the catalogue again."""
    async with opened_router(settings) as opened:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, opened.reloader.wake)
        # What start-up made stays: the collector need not walk it again and again under load.
        gc.collect()
        gc.freeze()
        await serve(
            settings,
            services=opened.services,
            name=NAME,
            extra_pools=descriptor_pools(),
            on_drain=opened.router.drain.begin,
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
