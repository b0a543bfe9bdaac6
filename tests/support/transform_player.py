"""SageMaker's Batch Transform, played: reads a job's manifest, asks a model, writes its answers.

As CreateTransformJob's documents have it: each object of the manifest is one request, whose answer
is an object of the same name with ``.out``; one that fails has none, and fails the job.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from simcloud.s3.objects import ObjectStore

Model = Callable[[str, bytes, str], Awaitable[bytes | None]]
"""Answers a picture, by its name, bytes and media type; None: it fails."""


async def play(
    store: ObjectStore, created: dict[str, Any], model: Model, *, folder: str = ""
) -> int:
    """Runs a job to its end; how many pictures have no answer.

    Args:
        store: S3.
        created: parameters of CreateTransformJob.
        model: answers.
        folder: of the answers below the job's prefix; SageMaker's documents differ in it.
    """
    source = created["TransformInput"]
    bucket, key = _split(source["DataSource"]["S3DataSource"]["S3Uri"])
    head, *names = json.loads((await store.get(bucket, key)).data)
    inputs, prefix = _split(head["prefix"])
    outputs, output_prefix = _split(created["TransformOutput"]["S3OutputPath"])
    failed = 0
    for name in names:
        picture = (await store.get(inputs, prefix + name)).data
        assert len(picture) <= created["MaxPayloadInMB"] * 1_000_000
        answer = await model(name, picture, source["ContentType"])
        if answer is None:
            failed += 1
            continue
        target = "/".join(filter(None, [output_prefix, folder, f"{name}.out"]))
        await store.put(outputs, target, answer, content_type="application/json")
    return failed


def container(url: str) -> Model:
    """A model container, asked as SageMaker asks it.

    Args:
        url: its base address.
    """

    async def ask(name: str, picture: bytes, media_type: str) -> bytes | None:
        headers = {"Content-Type": media_type, "Accept": "application/json"}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/invocations", data=picture, headers=headers) as answer,
        ):
            return await answer.read() if answer.status == 200 else None

    return ask


def _split(uri: str) -> tuple[str, str]:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
