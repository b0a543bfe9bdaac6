"""A generator that stops, as a caller of its frames sees it over a real connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from simcloud.client.generator import open_generator
from simcloud.dataset.frames import EncodedFrame
from simcloud.errors import NotReady
from simcloud.rpc.server import ServerSettings, running_server
from simcloud_generator.jobs import FrameResult, RenderJob
from simcloud_generator.serving import generator_service
from support.dataset_frames import make_frame
from support.eventually import eventually
from support.paper_generator import LOCATION, SPEC, Render, blank_frame, paper_generator

CAMERAS = ("left", "right")


def views(frame: int) -> tuple[EncodedFrame, ...]:
    return tuple(make_frame(frame, camera) for camera in CAMERAS)


async def made(job: RenderJob) -> FrameResult:
    return replace(blank_frame(job), views=views(job.frame))


@asynccontextmanager
async def serving(render: Render) -> AsyncIterator[str]:
    """Address of a generator that serves; leaving drains it."""
    generator = paper_generator(render=render)
    async with running_server(
        ServerSettings(drain_s=60),
        services=[generator_service(generator)],
        on_drain=generator.drain,
    ) as server:
        yield server.address


async def take(address: str, frames: range, taken: list[EncodedFrame]) -> None:
    async with open_generator(address) as client:
        stream = client.stream_frames(SPEC, bucket=LOCATION.bucket, prefix="", frames=frames)
        async for frame in stream:
            taken.append(frame)


async def refused(address: str, taken: list[EncodedFrame]) -> str:
    """What ended the stream of the first four frames."""
    with pytest.raises(NotReady) as caught:
        await take(address, range(4), taken)
    return str(caught.value)


async def test_frames_that_a_drain_leaves_are_had_from_another_generator() -> None:
    async def two(job: RenderJob) -> FrameResult:
        if job.frame > 1:
            await asyncio.Event().wait()
        return await made(job)

    taken: list[EncodedFrame] = []
    async with asyncio.timeout(30), asyncio.TaskGroup() as group, serving(two) as address:
        caller = group.create_task(refused(address, taken))
        await eventually(lambda: len(taken) == 2 * len(CAMERAS))
    assert "2 of 4 frames" in caller.result()
    async with serving(made) as another:
        await take(another, range(2, 4), taken)
    assert taken == [view for frame in range(4) for view in views(frame)]
