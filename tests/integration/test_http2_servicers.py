"""What servicers may do wrong: whatever it is, their calls end, and with what befits it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Final

import grpc
import grpc.aio
import pytest

from simcloud.rpc.http2 import Http2Server, Limits
from support.eventually import eventually
from support.http2_frames import (
    PREFACE,
    Code,
    Setting,
    data,
    message,
    opens,
    request,
    reset,
    settings,
    window,
)
from support.http2_peer import Answer, Peer, peer_of, ready_peer

Context = grpc.aio.ServicerContext[Any, Any]
Behavior = Callable[[Any, Context], Awaitable[Any]]

PATH: Final = b"/a.A/Method"
LIMITS: Final = Limits(
    max_message_bytes=1 << 20, max_streams=64, keepalive_s=30, keepalive_timeout_s=10
)
INTERNAL: Final = 13


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("it can't be said")


@asynccontextmanager
async def serving(
    behavior: Behavior, *, streams: bool = False, limits: Limits = LIMITS
) -> AsyncIterator[tuple[Http2Server, str]]:
    """A server of one method, and its address."""
    server = Http2Server(limits=limits)
    make: Any = (
        grpc.stream_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
    )
    server.add_registered_method_handlers("a.A", {"Method": make(behavior)})
    port = server.add_port("127.0.0.1:0")
    await server.start()
    try:
        yield server, f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


async def answered(address: str) -> Answer:
    async with ready_peer(address) as peer:
        await peer.send(request(1, b"", PATH))
        return await peer.answer(1)


async def aborts_with_an_error(_: Any, context: Context) -> bytes:
    details: Any = Unspeakable()
    await context.abort(grpc.StatusCode.NOT_FOUND, details)


async def has_a_number_in_its_trailers(_: Any, context: Context) -> bytes:
    metadata: Any = (("retry", 5),)
    context.set_trailing_metadata(metadata)
    return b"answer"


async def has_a_key_that_cannot_travel(_: Any, context: Context) -> bytes:
    await context.abort(grpc.StatusCode.NOT_FOUND, "nothing", (("Not A Key", "x"),))


async def fails_unspeakably(_: Any, context: Context) -> bytes:
    raise Unspeakable


@pytest.mark.parametrize(
    "behavior",
    [aborts_with_an_error, has_a_number_in_its_trailers, has_a_key_that_cannot_travel],
)
async def test_a_status_that_cannot_travel_is_internal(behavior: Behavior) -> None:
    async with serving(behavior) as (_, address):
        assert (await answered(address)).grpc_status == INTERNAL


@pytest.mark.parametrize("streams", [False, True])
async def test_an_error_that_cannot_be_written_ends_the_call_as_one(streams: bool) -> None:
    async with serving(fails_unspeakably, streams=streams) as (_, address):
        answer = await answered(address)
    assert answer.grpc_status == grpc.StatusCode.UNKNOWN.value[0]
    assert "Unspeakable" in answer.grpc_message


async def test_a_helper_that_reads_ends_with_its_call() -> None:
    helpers: list[asyncio.Task[Any]] = []

    async def leaves_a_reader(requests: AsyncIterator[bytes], context: Context) -> None:
        async def read() -> None:
            async for _ in requests:
                pass

        helpers.append(asyncio.create_task(read()))
        await asyncio.sleep(0)

    async with serving(leaves_a_reader, streams=True) as (_, address), ready_peer(address) as peer:
        await peer.send(opens(1, PATH))
        assert (await peer.answer(1)).grpc_status == 0
        await asyncio.wait(helpers)
    assert helpers[0].cancelled()


async def test_a_writer_that_is_cancelled_leaves_the_others_theirs() -> None:
    ended: list[str] = []

    async def writes_twice(_: Any, context: Context) -> None:
        async def write(name: str) -> None:
            try:
                await context.write(bytes(1000))
                ended.append(f"{name} wrote")
            except asyncio.CancelledError:
                ended.append(f"{name} was cancelled")

        both = [asyncio.create_task(write(name)) for name in ("first", "second")]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        both[0].cancel()
        await asyncio.wait(both[:1])
        await asyncio.wait(both)

    greeting = PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: 0})
    async with (
        serving(writes_twice, streams=True) as (_, address),
        peer_of(address, greeting=greeting) as peer,
    ):
        await peer.send(opens(1, PATH))
        await eventually(lambda: ended == ["first was cancelled"])
        await peer.send(window(1, 1 << 16))
        assert (await peer.answer(1)).grpc_status == 0
    assert ended == ["first was cancelled", "second wrote"]


async def test_a_deadline_that_has_passed_leaves_no_time() -> None:
    remaining: list[float | None] = []

    async def waits(_: Any, context: Context) -> bytes:
        try:
            await asyncio.Event().wait()
        finally:
            remaining.append(context.time_remaining())
        return b""

    async with serving(waits) as (_, address), ready_peer(address) as peer:
        for stream in range(1, 16, 2):
            timeout = (b"grpc-timeout", b"%du" % (20_000 + 130 * stream))
            await peer.send(opens(stream, PATH, timeout), data(stream, message(b""), end=True))
        for stream in range(1, 16, 2):
            assert (await peer.answer(stream)).grpc_status == 4
        await eventually(lambda: len(remaining) == 8)
    assert remaining == [0.0] * 8


ANSWER: Final = bytes(60_000)
"""Five of them are more than a connection of ``NARROW`` may leave untaken."""
NARROW: Final = replace(LIMITS, max_message_bytes=1 << 16, unsent_bytes=1 << 18)
CLOSED: Final = PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: 0})


async def fills(peer: Peer, called: list[Any]) -> None:
    """Asks for ``ANSWER`` until the method is not called any more, and twice again."""
    for number in range(5):
        await peer.send(request(2 * number + 1, b"", PATH))
        await eventually(lambda number=number: len(called) == number + 1)  # type: ignore[misc]
    await peer.pinged()
    await peer.send(request(11, b"", PATH), request(13, b"", PATH), request(15, b"", PATH))
    await peer.pinged()
    assert len(called) == 5


async def test_calls_of_a_peer_that_takes_no_answers_wait_until_it_does() -> None:
    called: list[Any] = []

    async def answers(_: Any, context: Context) -> bytes:
        called.append(context)
        return ANSWER

    async with (
        serving(answers, limits=NARROW) as (_, address),
        peer_of(address, greeting=CLOSED) as peer,
    ):
        await fills(peer, called)
        await peer.send(reset(13), window(0, 1 << 20))
        await peer.send(settings({Setting.INITIAL_WINDOW_SIZE: 1 << 20}))
        for stream in (1, 3, 5, 7, 9, 11, 15):
            assert (await peer.answer(stream)).messages == [ANSWER]
        assert len(called) == 7


async def test_a_peer_that_asks_on_and_takes_no_answers_is_sent_away() -> None:
    called: list[Any] = []

    async def answers(_: Any, context: Context) -> bytes:
        called.append(context)
        return ANSWER

    limits = replace(NARROW, keepalive_s=1, keepalive_timeout_s=0.5)
    async with (
        serving(answers, limits=limits) as (_, address),
        peer_of(address, greeting=CLOSED) as peer,
    ):
        await fills(peer, called)
        assert await peer.ends() == Code.ENHANCE_YOUR_CALM
