"""A call's frames and events, when its work fails and when its caller is slow or leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import TypeVar

import pytest

from simcloud.client.uploader import CommittedShard
from simcloud.concurrency import channel_statistics
from simcloud.errors import NotReady, StorageError
from simcloud.spec.plan import ShardFrames
from simcloud_generator.jobs import FrameResult, RenderJob
from simcloud_generator.pool import WorkerDied
from simcloud_generator.requests import Failed
from support.eventually import eventually
from support.gauges import assert_nothing_held
from support.paper_generator import (
    PaperUploader,
    Render,
    blank_frame,
    generate_request,
    paper_generator,
    stream_request,
)

T = TypeVar("T")


async def taken_by_a_slow_caller(
    results: AsyncGenerator[T], begun: asyncio.Event, go_on: asyncio.Event
) -> list[T | Exception]:
    """What a caller sees that stops after the first, as one does whose connection is full."""
    seen: list[T | Exception] = []
    try:
        async with aclosing(results):
            async for result in results:
                seen.append(result)
                begun.set()
                await go_on.wait()
    except Exception as error:
        seen.append(error)
    return seen


async def refused(call: Awaitable[object]) -> NotReady:
    """Why a call was not served to its end."""
    with pytest.raises(NotReady) as caught:
        await call
    return caught.value


async def test_a_frame_that_fails_behind_a_slow_caller_is_told_in_its_turn() -> None:
    begun, go_on, failed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def render(job: RenderJob) -> FrameResult:
        if job.frame == 2:
            await begun.wait()
            failed.set()
            raise WorkerDied("frame 2: killed")
        return blank_frame(job)

    frames = paper_generator(render=render).stream(stream_request(9), "caller")
    async with asyncio.TaskGroup() as group:
        caller = group.create_task(taken_by_a_slow_caller(frames, begun, go_on))
        await failed.wait()
        # Whatever the failure does to others, it has done when all that is ready has run.
        for _ in range(20):
            await asyncio.sleep(0)
        go_on.set()
    *made, error = caller.result()
    assert [one.frame for one in made if isinstance(one, FrameResult)] == [0, 1]
    assert isinstance(error, WorkerDied)


async def test_a_failure_of_a_call_s_own_behind_a_slow_caller_is_told_in_its_turn() -> None:
    begun, go_on, failed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def turn(shard: ShardFrames) -> None:
        if shard.shard == 1:
            await begun.wait()
            failed.set()
            raise RuntimeError("a bug")

    generator = paper_generator(uploader=PaperUploader(turn))
    events = generator.generate(generate_request(2), "caller")
    async with asyncio.TaskGroup() as group:
        caller = group.create_task(taken_by_a_slow_caller(events, begun, go_on))
        await failed.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        go_on.set()
    committed, error = caller.result()
    assert isinstance(committed, CommittedShard)
    assert isinstance(error, RuntimeError)


def stuck_after_the_first(given_up: list[int]) -> Render:
    """Renders frame 0; any other until it is cancelled, which is noted."""

    async def render(job: RenderJob) -> FrameResult:
        if job.frame:
            try:
                await asyncio.Event().wait()
            finally:
                given_up.append(job.frame)
        return blank_frame(job)

    return render


async def test_a_caller_that_leaves_is_no_error_and_what_was_being_rendered_is_given_up() -> None:
    given_up: list[int] = []

    generator = paper_generator(render=stuck_after_the_first(given_up))
    frames = generator.stream(stream_request(9), "caller")
    assert (await anext(frames)).frame == 0
    await asyncio.sleep(0)  # those ahead begin
    await frames.aclose()
    assert given_up == [1, 2]
    assert generator.calls == 0


async def test_a_caller_that_leaves_a_full_stream_of_events_is_no_error() -> None:
    generator = paper_generator()
    events = generator.generate(generate_request(40), "caller")
    assert isinstance(await anext(events), CommittedShard)

    def is_full() -> bool:
        found = [each for each in channel_statistics() if each.name == "generate_events"]
        return any(each.buffered == each.capacity and each.waiting_senders for each in found)

    await eventually(is_full)
    await events.aclose()
    assert generator.calls == 0
    assert_nothing_held()


async def test_a_call_that_is_stopped_begins_no_other_shard_after_one_that_fails_meanwhile() -> (
    None
):
    begun: list[int] = []

    async def turn(shard: ShardFrames) -> None:
        begun.append(shard.shard)
        if shard.shard < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                # As of a TaskGroup that was failing already.
                raise StorageError("S3 said no") from None

    generator = paper_generator(uploader=PaperUploader(turn))
    events: list[object] = []

    async def take() -> None:
        async with aclosing(generator.generate(generate_request(9), "caller")) as found:
            async for event in found:
                events.append(event)

    async with asyncio.TaskGroup() as group:
        caller = group.create_task(refused(take()))
        await eventually(lambda: begun == [0, 1])
        await generator.drain()
    assert "stopping" in str(caller.result())
    assert begun == [0, 1]
    assert [type(event) for event in events] == [Failed, Failed]


async def test_a_call_that_is_about_to_render_when_the_drain_comes_opens_no_shard() -> None:
    begun: list[int] = []
    asked, answered = asyncio.Event(), asyncio.Event()

    async def turn(shard: ShardFrames) -> None:
        begun.append(shard.shard)

    async def looked_up() -> None:
        asked.set()
        await answered.wait()

    generator = paper_generator(uploader=PaperUploader(turn, looked_up))
    events = generator.generate(generate_request(3), "caller")
    async with asyncio.TaskGroup() as group:
        caller = group.create_task(refused(anext(events)))
        await asked.wait()
        await generator.drain()
        answered.set()
    assert "stopping" in str(caller.result())
    assert begun == []
    assert generator.calls == 0


async def test_a_stream_ends_with_the_frame_that_its_caller_has_when_the_drain_comes() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    given_up: list[int] = []

    generator = paper_generator(render=stuck_after_the_first(given_up))
    frames = generator.stream(stream_request(9), "caller")
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        caller = group.create_task(taken_by_a_slow_caller(frames, begun, go_on))
        await begun.wait()
        await generator.drain()
        go_on.set()
    *made, error = caller.result()
    assert [one.frame for one in made if isinstance(one, FrameResult)] == [0]
    assert isinstance(error, NotReady)
    assert "8 of 9 frames" in str(error)
    assert 1 in given_up
    assert generator.calls == 0
    assert_nothing_held()


async def test_a_stream_whose_last_frame_was_taken_before_the_drain_is_whole() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def render(job: RenderJob) -> FrameResult:
        return blank_frame(job)

    generator = paper_generator(render=render)
    frames = generator.stream(stream_request(1), "caller")
    async with asyncio.TaskGroup() as group:
        caller = group.create_task(taken_by_a_slow_caller(frames, begun, go_on))
        await begun.wait()
        await generator.drain()
        go_on.set()
    (made,) = caller.result()
    assert isinstance(made, FrameResult)
