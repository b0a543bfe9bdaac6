"""The demo's scene at a small size, in S3, and a generator with its uploader to render it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from simcloud.client.generator import GeneratorClient
from simcloud.client.uploader import UploaderClient
from simcloud.rpc.channel import connect
from simcloud.s3.client import S3Settings
from simcloud.s3.objects import ObjectStore
from simcloud.scene.bundle import make_bundle
from simcloud.scene.store import put_bundle
from simcloud.spec.model import Spec
from simcloud_generator.generator import Generator
from simcloud_generator.serving import running_generator
from simcloud_generator.settings import GeneratorSettings
from simcloud_uploader.serving import running_uploader
from support.uploading import small_settings

SCENE = Path(__file__).parents[2] / "scenes" / "showroom"


def showroom(**changes: object) -> Spec:
    """The demo's spec with a 64x48 picture."""
    raw = yaml.safe_load((SCENE / "spec.yaml").read_text())
    raw["cameras"][0] |= {"width_px": 64, "height_px": 48}
    return Spec.model_validate(raw | changes)


async def stored_showroom(store: ObjectStore, bucket: str, spec: Spec | None = None) -> Spec:
    """Puts the scene into S3; the spec that names it there, its renderer resolved."""
    bundle = make_bundle(SCENE / "stage.usda")
    await put_bundle(store, bundle, bucket=bucket, prefix="")
    raw = (spec or showroom()).model_dump(mode="json")
    raw["scene"] = {"root": bundle.stage, "digest": bundle.digest}
    return Spec.model_validate(raw)


def resolved(spec: Spec, generator: Generator) -> Spec:
    """The spec with the generator's own renderer written into it."""
    raw = spec.model_dump(mode="json")
    identity = generator.pool.identity
    raw["renderer"] |= {"backend": identity.backend, "variant": identity.variant}
    return Spec.model_validate(raw)


@dataclass(frozen=True)
class Generating:
    """A generator and an uploader that serve, and their clients."""

    generator: Generator
    client: GeneratorClient
    uploads: UploaderClient


@asynccontextmanager
async def running_pair(
    s3: S3Settings, cache: Path, *, workers: int = 2
) -> AsyncIterator[Generating]:
    """Both services within this process, over real sockets."""
    async with running_uploader(small_settings(s3)) as (_, uploader):
        settings = GeneratorSettings(
            s3=s3, cache_dir=cache, workers=workers, uploader_target=uploader.address
        )
        async with (
            running_generator(settings) as (generator, server),
            connect(server.address) as channel,
            connect(uploader.address) as uploads,
        ):
            yield Generating(generator, GeneratorClient(channel), UploaderClient(uploads))
