"""One StreamFrames call: frames in order, made ahead of who takes them, until a drain."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

from simcloud.concurrency import ChannelError, ReceiveEnd, SendEnd, open_channel
from simcloud.concurrency.ahead import run_ahead
from simcloud.concurrency.beside import run_beside
from simcloud.concurrency.drain import Drain
from simcloud.errors import NotReady
from simcloud_generator.jobs import FrameResult


async def stream_results(
    frames: Sequence[int],
    make: Callable[[int], Awaitable[FrameResult]],
    *,
    ahead: int,
    drain: Drain,
) -> AsyncGenerator[FrameResult]:
    """Frames in order; the consumer's pace is the renderer's.

    A drain gives up what is being made; the frame that the consumer has is the last one.

    Args:
        frames: their indexes.
        make: makes one.
        ahead: frames that are being made, or wait for their turn.
        drain: the process's.

    Raises:
        NotReady: the generator drains, and there would have been more.
    """
    ends: tuple[SendEnd[FrameResult], ReceiveEnd[FrameResult]] = open_channel(
        0, name="streamed_frames"
    )
    send, receive = ends

    async def make_all() -> None:
        task = asyncio.current_task()
        assert task is not None
        drain.watch(task)
        results = run_ahead(frames, make, cost=lambda _: 1, budget=ahead, limit=ahead)
        with contextlib.closing(send), contextlib.suppress(ChannelError):
            async with contextlib.aclosing(results):
                async for result in results:
                    await send.send(result)

    left = len(frames)
    async with contextlib.aclosing(run_beside(make_all, receive)) as made:
        async for result in made:
            left -= 1
            yield result
    if left:
        raise NotReady(
            f"the generator is stopping with {left} of {len(frames)} frames to come: repeat the "
            "call for them on another one"
        )
