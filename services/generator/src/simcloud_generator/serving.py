"""The generator as a server: workers, scenes, uploaders and the servicer put together."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from simcloud.rpc.server import RunningServer, Service, running_server, serve
from simcloud.s3.objects import open_store
from simcloud.scene.store import SceneStore
from simcloud.v1 import generator_pb2, generator_pb2_grpc
from simcloud_generator.backends.isaac.settings import IsaacSettings
from simcloud_generator.generator import Generator
from simcloud_generator.jobs import WorkerConfiguration
from simcloud_generator.pool import Recycling, open_pool
from simcloud_generator.renderers import choose_backend
from simcloud_generator.scenes import Scenes
from simcloud_generator.service import GeneratorServicer
from simcloud_generator.settings import GeneratorSettings
from simcloud_generator.uploaders import Uploaders

FULL_NAME = generator_pb2.DESCRIPTOR.services_by_name["GeneratorService"].full_name
_MIB = 1024 * 1024


@asynccontextmanager
async def open_generator(settings: GeneratorSettings) -> AsyncIterator[Generator]:
    """The generator without a server; entered when its first worker can render.

    Raises:
        PreconditionFailed: this machine can't render with the variant of the settings.
    """
    choice = choose_backend(settings.backend, settings.isaac)
    configuration = WorkerConfiguration(
        variant=settings.backend_variant,
        threads=settings.worker_threads,
        kernel_cache=settings.cache_dir / "kernels",
        backend=choice.backend,
        isaac=settings.isaac,
        preflight=choice.preflight,
    )
    workers, recycling = settings.worker_count, _recycling(settings)
    frame_timeout_s = settings.frame_timeout_s
    if choice.backend == "isaac":
        workers, recycling = len(settings.isaac.gpus), _recycling(settings.isaac)
        frame_timeout_s = 0.0  # a worker ends itself by limits that know what it waits for
    async with (
        open_store(settings.s3) as s3,
        Uploaders(default_target=settings.uploader_target, tls=settings.uploader_tls) as uploaders,
        open_pool(
            workers=workers,
            configuration=configuration,
            recycling=recycling,
            frame_timeout_s=frame_timeout_s,
        ) as pool,
    ):
        cache = settings.cache_dir / "scenes"
        limit = settings.scene_cache_mib * _MIB
        # every worker may have one open, every call one to come
        held = settings.worker_count + settings.concurrent_calls
        scene_store = SceneStore(s3, cache=cache, limit_bytes=limit, held=held)
        with contextlib.closing(scene_store) as store:
            looked_at = choice.backend == "mitsuba"
            scenes = Scenes(store, limits=settings.scene_limits if looked_at else None)
            yield Generator(settings=settings, pool=pool, scenes=scenes, uploaders=uploaders)


def _recycling(settings: GeneratorSettings | IsaacSettings) -> Recycling:
    """Each renderer has limits of its own: an idle Isaac Sim is larger than a grown Mitsuba."""
    return Recycling(frames=settings.recycle_frames, rss_bytes=settings.recycle_rss_mib * _MIB)


def generator_service(generator: Generator) -> Service:
    """The gRPC service of a generator."""
    servicer = GeneratorServicer(generator)
    return Service(
        FULL_NAME,
        lambda server: generator_pb2_grpc.add_GeneratorServiceServicer_to_server(servicer, server),
    )


async def serve_generator(settings: GeneratorSettings) -> None:
    """Serves until SIGTERM; calls then stop at their next frame."""
    async with open_generator(settings) as generator:
        await serve(
            settings,
            services=[generator_service(generator)],
            name="generator",
            on_drain=generator.drain,
        )


@asynccontextmanager
async def running_generator(
    settings: GeneratorSettings,
) -> AsyncIterator[tuple[Generator, RunningServer]]:
    """A generator that serves during the block; for tests and embedding."""
    async with (
        open_generator(settings) as generator,
        running_server(
            settings,
            services=[generator_service(generator)],
            name="generator",
            on_drain=generator.drain,
        ) as running,
    ):
        yield generator, running
