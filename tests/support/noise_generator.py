"""``python -m support.noise_generator``: a generator with a renderer that costs nothing.

The service is the real one, from its gRPC to its client of the uploader. Its renderer alone is
another: a frame's layers are noise, a pure function of the spec and the index, and take as long as
a quick renderer's and none of its CPU.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
from dataclasses import replace
from pathlib import Path

from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.record import record_from_json
from simcloud.rpc.main import run
from simcloud.rpc.server import serve
from simcloud.s3.objects import open_store
from simcloud.scene.store import SceneStore
from simcloud.spec.canonical import digest, parse
from simcloud.spec.model import Spec
from simcloud_generator.generator import Generator
from simcloud_generator.jobs import (
    FrameResult,
    InspectJob,
    RenderJob,
    SceneReport,
    WorkerIdentity,
)
from simcloud_generator.pool import WorkerPool
from simcloud_generator.scenes import Scenes
from simcloud_generator.serving import generator_service
from simcloud_generator.settings import GeneratorSettings
from simcloud_generator.uploaders import Uploaders
from support.dataset_frames import layer_records, make_frame, make_layer
from support.eventually import eventually

HELD_FRAMES = "SIMCLOUD_TEST_HELD_FRAMES"
"""Variable: a folder; a frame is not made as long as a file of its number is there."""

LAYER_BYTES = 900_000
"""Three of them make 2.7 MB: two frames a part of S3's smallest size."""
_FRAME_S = 0.2

IDENTITY = WorkerIdentity(
    backend="mitsuba",
    variant="scalar_rgb",
    variants=("scalar_rgb",),
    stochastic=False,
    fingerprint=digest(b"noise")[:16],
    fingerprint_json='{"renderer":"noise"}',
    preflight=(),
)


def noise_frame(job: RenderJob) -> EncodedFrame:
    """The frame of a job's one camera; its bytes are a function of spec and index."""
    spec = parse(Spec, job.spec_json, field="spec")
    (camera,) = (item.name for item in spec.cameras)
    spec_digest = digest(job.spec_json)
    rng = random.Random(f"{spec_digest}.{job.frame}")
    layers = tuple(
        make_layer(name, rng.randbytes(LAYER_BYTES), encoding=spec.encodings[name])
        for name in spec.annotators
    )
    record = replace(
        record_from_json(make_frame(job.frame, camera, layers=layers).record),
        split=job.split,
        spec_digest=spec_digest,
        fingerprint=IDENTITY.fingerprint,
        layers=layer_records(job.frame, camera, layers),
    )
    return EncodedFrame(frame=job.frame, camera=camera, record=record.to_json(), layers=layers)


class NoisePool(WorkerPool):
    """One worker, within this process."""

    def __init__(self) -> None:
        # Not the parent's: there is no hand-over to other processes.
        self.identity = IDENTITY
        self.workers = 1
        self.busy_s = 0.0
        self._turn = asyncio.Lock()

    async def render(self, job: RenderJob) -> FrameResult:
        if HELD_FRAMES in os.environ:
            held = Path(os.environ[HELD_FRAMES], str(job.frame))
            await eventually(lambda: not held.exists(), within_s=300)
        async with self._turn:
            await asyncio.sleep(_FRAME_S)
            self.busy_s += _FRAME_S
            return FrameResult(
                frame=job.frame,
                views=(noise_frame(job),),
                timings_s={},
                cpu_s=0.0,
                quarantine="",
                quarantine_rule="",
                rss_bytes=0,
            )

    async def inspect(self, job: InspectJob) -> SceneReport:
        del job
        return SceneReport(problems=(), warnings=())


async def serve_noise(settings: GeneratorSettings) -> None:
    """Serves until it is stopped."""
    async with (
        open_store(settings.s3) as s3,
        Uploaders(default_target=settings.uploader_target, tls=None) as uploaders,
    ):
        cache = settings.cache_dir / "scenes"
        scene_store = SceneStore(s3, cache=cache, limit_bytes=1 << 30, held=4)
        with contextlib.closing(scene_store) as store:
            scenes = Scenes(store, limits=None)
            generator = Generator(
                settings=settings, pool=NoisePool(), scenes=scenes, uploaders=uploaders
            )
            await serve(
                settings,
                services=[generator_service(generator)],
                name="generator",
                on_drain=generator.drain,
            )


if __name__ == "__main__":
    sys.exit(run(serve_noise, settings=GeneratorSettings, name="generator"))
