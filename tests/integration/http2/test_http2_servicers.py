"""What servicers may do wrong: whatever it is, their calls end, and with what befits it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio
import pytest
import structlog

from simcloud.rpc.http2 import Http2Server, Limits
from support.eventually import eventually
from support.http2_frames import (
    PREFACE,
    Code,
    Setting,
    data,
    message,
    opens,
    ping,
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
        # As many as were called in time: on a busy machine some never are.
        while len(remaining) < 8:
            streams = [peer.next_stream() for _ in range(8)]
            for stream in streams:
                timeout = (b"grpc-timeout", b"%du" % (20_000 + 130 * stream))
                await peer.send(opens(stream, PATH, timeout), data(stream, message(b""), end=True))
            for stream in streams:
                assert (await peer.answer(stream)).grpc_status == 4
    assert set(remaining) == {0.0}


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


async def test_a_call_that_does_not_heed_its_end_is_named_and_left_behind() -> None:
    release = asyncio.Event()
    running: list[asyncio.Task[Any] | None] = []

    async def does_not_heed(_: Any, context: Context) -> bytes:
        running.append(asyncio.current_task())
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()
        return b""

    limits = replace(LIMITS, cleanup_s=0.2)
    async with serving(does_not_heed, limits=limits) as (server, address):
        async with ready_peer(address) as peer:
            await peer.send(request(1, b"", PATH))
            await eventually(lambda: len(running) == 1)
            with structlog.testing.capture_logs() as lines:
                await server.stop(0)
        release.set()
        await eventually(lambda: running[0] is not None and running[0].done())
    (line,) = [line for line in lines if line["log_level"] == "error"]
    assert "does_not_heed" in str(line["tasks"])


async def test_a_server_that_stops_again_leaves_its_successor_the_path(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/socket"
    old, new = Http2Server(limits=LIMITS), Http2Server(limits=LIMITS)
    old.add_port(address)
    await old.start()
    await old.stop(0)
    assert not (tmp_path / "socket").exists()
    new.add_port(address)
    await new.start()
    await old.stop(0)
    async with ready_peer(address) as peer:
        await peer.pinged()
    await new.stop(0)
    assert not (tmp_path / "socket").exists()


async def test_a_path_that_another_server_has_put_in_place_stays(tmp_path: Path) -> None:
    path, beside = tmp_path / "socket", tmp_path / "beside"
    old, new = Http2Server(limits=LIMITS), Http2Server(limits=LIMITS)
    old.add_port(f"unix:{path}")
    new.add_port(f"unix:{beside}")
    beside.replace(path)
    await old.stop(0)
    assert path.is_socket()
    await new.stop(0)


async def test_nothing_follows_the_last_words() -> None:
    async def waits(_: Any, context: Context) -> bytes:
        await asyncio.Event().wait()
        return b""

    problems: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, problem: problems.append(problem))
    async with serving(waits) as (server, address), ready_peer(address) as peer:
        await peer.send(request(1, b"", PATH))
        await peer.pinged()
        await peer.send(ping(b"seven77"))
        await peer.until(lambda: peer.goaway is not None)
        # The server waits for the peer to close: a drain has nothing to say to it any more.
        await server.stop(0)
        await peer.ends()
    assert problems == []
