"""`python -m simcloud_generator`: settings, workers, server; composes and nothing else."""

from __future__ import annotations

import sys

from simcloud.rpc.main import run
from simcloud.rpc.server import Service, serve
from simcloud.s3.objects import open_store
from simcloud.scene.store import SceneStore
from simcloud.v1 import generator_pb2, generator_pb2_grpc
from simcloud_generator.generator import Generator
from simcloud_generator.jobs import WorkerConfiguration
from simcloud_generator.pool import Recycling, open_pool
from simcloud_generator.scenes import Scenes
from simcloud_generator.service import GeneratorServicer
from simcloud_generator.settings import GeneratorSettings
from simcloud_generator.uploaders import Uploaders


async def _serve(settings: GeneratorSettings) -> None:
    configuration = WorkerConfiguration(
        variant=settings.backend_variant,
        threads=settings.worker_threads,
        kernel_cache=settings.cache_dir / "kernels",
    )
    recycling = Recycling(
        frames=settings.recycle_frames, rss_bytes=settings.recycle_rss_mib * 1024 * 1024
    )
    async with (
        open_store(settings.s3) as s3,
        Uploaders(default_target=settings.uploader_target, tls=settings.uploader_tls) as uploaders,
        open_pool(
            workers=settings.worker_count, configuration=configuration, recycling=recycling
        ) as pool,
    ):
        store = SceneStore(
            s3,
            cache=settings.cache_dir / "scenes",
            limit_bytes=settings.scene_cache_mib * 1024 * 1024,
        )
        generator = Generator(
            settings=settings, pool=pool, scenes=Scenes(store), uploaders=uploaders
        )
        servicer = GeneratorServicer(generator)
        service = Service(
            generator_pb2.DESCRIPTOR.services_by_name["GeneratorService"].full_name,
            lambda server: generator_pb2_grpc.add_GeneratorServiceServicer_to_server(
                servicer, server
            ),
        )
        await serve(settings, services=[service], name="generator", on_drain=generator.drain)


if __name__ == "__main__":
    sys.exit(run(_serve, settings=GeneratorSettings, name="generator"))
