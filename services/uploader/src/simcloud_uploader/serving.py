"""The uploader as a server: the core, the servicer and the drain put together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from simcloud.clock import SYSTEM_CLOCK, Clock
from simcloud.rpc.server import RunningServer, Service, running_server, serve
from simcloud.s3.client import S3Client
from simcloud_uploader.core import Uploader, open_uploader
from simcloud_uploader.service import FULL_NAME, UploaderServicer, add_to_server
from simcloud_uploader.settings import UploaderSettings


def uploader_service(uploader: Uploader, settings: UploaderSettings) -> Service:
    """The gRPC service of an uploader."""
    servicer = UploaderServicer(
        uploader, allow=settings.allow, idle_timeout_s=settings.idle_timeout_s
    )
    return Service(
        FULL_NAME,
        lambda server: add_to_server(servicer, server),
    )


async def serve_uploader(settings: UploaderSettings) -> None:
    """Serves until SIGTERM; every stream then leaves a checkpoint and its epoch is released."""
    async with open_uploader(settings) as uploader:
        await serve(
            settings,
            services=[uploader_service(uploader, settings)],
            name="uploader",
            on_drain=uploader.live.drain,
        )


@asynccontextmanager
async def running_uploader(
    settings: UploaderSettings,
    *,
    wrap: Callable[[S3Client], S3Client] | None = None,
    clock: Clock = SYSTEM_CLOCK,
) -> AsyncIterator[tuple[Uploader, RunningServer]]:
    """An uploader that serves during the block; for tests and embedding."""
    async with (
        open_uploader(settings, wrap=wrap, clock=clock) as uploader,
        running_server(
            settings,
            services=[uploader_service(uploader, settings)],
            name="uploader",
            on_drain=uploader.live.drain,
        ) as running,
    ):
        yield uploader, running
