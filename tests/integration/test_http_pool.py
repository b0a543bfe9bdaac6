"""What S3 needs of the HTTP client beside what targets do: bodies in pieces, HEAD, patience."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import TypeAlias

import pytest
import uvloop

from simcloud.http.connection import Body
from simcloud.http.errors import ConnectionBroken, NotConnected, PoolClosed, TimeIsUp
from simcloud.http.pool import HttpAnswer, HttpPool, open_pool
from support.byte_server import HELLO, Server, replying, serving
from support.eventually import eventually

Reader: TypeAlias = asyncio.StreamReader
Writer: TypeAlias = asyncio.StreamWriter
MIB = 1 << 20
PIECES = (b"head", memoryview(bytes(range(256)) * 8192), b"", b"tail" * 50_000, b"!")
WANTED = {"expect": "100-continue"}


@pytest.fixture
async def pool() -> AsyncIterator[HttpPool]:
    async with open_pool(connect_timeout_s=5, keepalive_s=30, max_answer_bytes=MIB) as opened:
        yield opened
    assert opened.connections == 0


async def put(
    pool: HttpPool,
    server: Server,
    body: Body,
    *,
    method: str = "PUT",
    timeout_s: float = 10,
    headers: dict[str, str] | None = None,
) -> HttpAnswer:
    return await pool.request(
        pool.place(server.url()),
        method=method,
        target="/key?partNumber=1",
        headers=headers or {},
        body=body,
        timeout_s=timeout_s,
        silence=True,
    )


async def test_pieces_arrive_in_order_as_one_body(pool: HttpPool) -> None:
    async with serving(replying(HELLO)) as server:
        for _ in range(2):
            assert (await put(pool, server, PIECES)).body == b"hello"
    assert server.bodies == [b"".join(PIECES)] * 2
    assert server.connections == 1


@pytest.mark.parametrize("asked", [True, False])
async def test_a_body_that_is_asked_for_or_never_is_sent(pool: HttpPool, asked: bool) -> None:
    async def answer(server: Server, reader: Reader, writer: Writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await reader.read(1)
        if asked:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # Who is never asked sends after a second: some servers know nothing of the question.
        server.bodies.append(await reader.readexactly(size))
        writer.write(HELLO)

    async with serving(answer) as server:
        assert (await put(pool, server, PIECES, headers=WANTED)).status == 200
    assert server.bodies == [b"".join(PIECES)]


async def test_a_refusal_before_the_body_costs_no_more_than_the_head(pool: HttpPool) -> None:
    async def answer(server: Server, reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Slow Down\r\ncontent-length: 4\r\n\r\nslow")
        server.bodies.append(await reader.read())

    async with serving(answer) as server:
        found = await put(pool, server, (bytes(30 * MIB),), headers=WANTED)
        assert (found.status, found.body) == (503, b"slow")
        await eventually(lambda: server.bodies == [b""])
        assert pool.connections == 0


async def test_an_answer_to_head_has_no_body_whatever_its_length_says(pool: HttpPool) -> None:
    reply = b'HTTP/1.1 200 OK\r\ncontent-length: 123456\r\netag: "e"\r\n\r\n'

    async def answer(server: Server, reader: Reader, writer: Writer) -> None:
        while head := await reader.readuntil(b"\r\n\r\n"):
            server.heads.append(head)
            writer.write(reply)

    async with serving(answer) as server:
        for _ in range(2):
            found = await put(pool, server, b"", method="HEAD")
            assert (found.status, found.body, found.headers["etag"]) == (200, b"", '"e"')
    assert server.connections == 1
    assert b"content-length" not in server.heads[0]


async def test_as_long_as_something_moves_a_request_may_take_its_time(pool: HttpPool) -> None:
    async def answer(server: Server, reader: Reader, writer: Writer) -> None:
        await server.request(reader)
        for byte in HELLO:
            writer.write(bytes([byte]))
            await pause(0.05)

    async with serving(answer) as server:
        assert (await put(pool, server, PIECES, timeout_s=3)).body == b"hello"


@pytest.mark.parametrize("body", [bytes(64 * MIB), (bytes(64 * MIB),)])
async def test_a_long_body_may_take_its_time_too(pool: HttpPool, body: Body) -> None:
    async def answer(_: Server, reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        left = 64 * MIB
        while left:
            left -= len(await reader.readexactly(MIB))
            await pause(0.05)
        writer.write(HELLO)

    async with serving(answer) as server:
        assert (await put(pool, server, body, timeout_s=3)).body == b"hello"


@pytest.mark.parametrize("sent", [b"", HELLO[:20]])
async def test_silence_ends_a_request(pool: HttpPool, sent: bytes) -> None:
    async with serving(silent_after(HELLO, sent)) as server:
        # On a connection that stands: none of the short time is spent on making one.
        await put(pool, server, PIECES)
        with pytest.raises(TimeIsUp):
            await put(pool, server, PIECES, timeout_s=0.2)
        await eventually(lambda: (server.gone, pool.connections) == (1, 0))


async def test_a_server_that_takes_no_more_of_a_body_ends_it_too(pool: HttpPool) -> None:
    async def answer(server: Server, reader: Reader, writer: Writer) -> None:
        await asyncio.Event().wait()

    async with serving(answer) as server:
        with pytest.raises(TimeIsUp):
            await put(pool, server, (bytes(64 * MIB),), timeout_s=0.2)


async def test_a_reset_within_a_body_is_a_broken_connection(pool: HttpPool) -> None:
    async def answer(server: Server, reader: Reader, writer: Writer) -> None:
        await reader.readexactly(MIB)
        writer.transport.abort()

    async with serving(answer) as server:
        with pytest.raises(ConnectionBroken) as broken:
            await put(pool, server, (bytes(30 * MIB),))
    assert not broken.value.answering


async def test_a_cancel_within_a_body_closes_the_connection(pool: HttpPool) -> None:
    begun = asyncio.Event()

    async def answer(server: Server, reader: Reader, writer: Writer) -> None:
        await reader.readexactly(MIB)
        begun.set()
        await reader.read(-1)

    async with serving(answer) as server:
        asking = asyncio.ensure_future(put(pool, server, (bytes(64 * MIB),)))
        await begun.wait()
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await eventually(lambda: (server.gone, pool.connections) == (1, 0))


async def test_closing_the_pool_ends_what_is_under_way_and_what_comes_after() -> None:
    async with (
        serving(silent_after(b"HTTP/1.1 200 OK\r\n")) as server,
        open_pool(connect_timeout_s=5, keepalive_s=30, max_answer_bytes=MIB) as pool,
    ):
        asking = [asyncio.ensure_future(put(pool, server, b"")) for _ in range(3)]
        await eventually(lambda: len(server.bodies) == 3)
        await pool.close()
        for request in asking:
            with pytest.raises(PoolClosed, match="this side closed the connection"):
                await request
        with pytest.raises(NotConnected, match="pool of connections is closed"):
            await put(pool, server, b"")
        assert pool.connections == 0


def silent_after(*sent: bytes) -> Callable[..., Awaitable[None]]:
    """Reads a request for each of these and answers it so, and says no more."""

    async def answer(server: Server, reader: Reader, writer: Writer) -> None:
        for each in sent:
            await server.request(reader)
            writer.write(each)
        await reader.read()

    return answer


async def pause(seconds: float) -> None:
    """Lets time pass: a slow server is what is tested."""
    over = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(seconds, over.set_result, None)
    await over


ON_BOTH_LOOPS: list[Callable[[HttpPool], Coroutine[object, object, None]]] = [
    test_pieces_arrive_in_order_as_one_body,
    test_a_refusal_before_the_body_costs_no_more_than_the_head,
    test_as_long_as_something_moves_a_request_may_take_its_time,
    test_a_server_that_takes_no_more_of_a_body_ends_it_too,
    test_a_reset_within_a_body_is_a_broken_connection,
]


@pytest.mark.parametrize("test", ON_BOTH_LOOPS, ids=lambda test: test.__name__)
def test_uvloop_does_the_same(
    test: Callable[[HttpPool], Coroutine[object, object, None]],
) -> None:
    # Services run on uvloop, whose transports are its own.
    async def run() -> None:
        async with open_pool(connect_timeout_s=5, keepalive_s=30, max_answer_bytes=MIB) as pool:
            await test(pool)

    uvloop.run(run())
