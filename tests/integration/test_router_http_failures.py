"""The router's HTTP client beside servers that answer early, badly, slowly, and not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import aiohttp
import pytest

from simcloud.errors import AnswerLost, DeadlineExceeded, NotReady, TargetError
from simcloud.http.pool import HttpAnswer
from simcloud_inference_router.targets.base import Failure, TargetAnswer
from simcloud_inference_router.targets.stream_pool import open_stream_pool
from simcloud_inference_router.targets.target_pool import TargetPool, open_target_pool
from support.byte_server import HELLO, Server, ask, on_uvloop, replying, serving
from support.eventually import eventually
from support.stale import any_kept_connection_is_idle, no_connection_is_idle


def ending_early(sent: bytes, *, after: int) -> Callable[..., Awaitable[None]]:
    """Answers so many requests, and the next one with this and the connection's end."""

    async def answer(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        for each in (*[HELLO] * after, sent):
            await server.request(reader)
            writer.write(each)
            await writer.drain()

    return answer


@pytest.mark.parametrize(
    ("reused", "sent", "retry"),
    [
        (True, b"", True),
        (True, HELLO[:7], False),
        (True, HELLO[:-1], False),
        (True, b"HTTP/1.1 100 C\r\n\r\n", False),
        (False, b"", False),
        (False, HELLO[:-1], False),
    ],
)
async def test_a_connection_that_ends_early_says_whether_the_request_may_have_been_worked_on(
    pool: TargetPool, monkeypatch: pytest.MonkeyPatch, reused: bool, sent: bytes, retry: bool
) -> None:
    any_kept_connection_is_idle(monkeypatch)
    async with serving(ending_early(sent, after=int(reused))) as server:
        if reused:
            assert isinstance(await ask(pool, server.url()), HttpAnswer)
        outcome = await ask(pool, server.url())
        assert server.connections == 1
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, NotReady)
    assert (outcome.retry, outcome.shrink) == (retry, False)
    assert "closed the connection" in outcome.error.message
    assert ("not asked again" in outcome.error.message) is not retry
    assert outcome.error.retryable is retry


async def test_what_breaks_right_after_an_answer_may_have_been_worked_on(
    pool: TargetPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_connection_is_idle(monkeypatch)
    async with serving(ending_early(b"", after=1)) as server:
        assert isinstance(await ask(pool, server.url()), HttpAnswer)
        outcome = await ask(pool, server.url())
        assert server.connections == 1
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, AnswerLost)
    assert not outcome.retry


@pytest.mark.parametrize(
    ("reused", "idle", "retry"), [(True, True, True), (True, False, False), (False, True, False)]
)
async def test_the_same_is_true_of_streams(
    monkeypatch: pytest.MonkeyPatch, reused: bool, idle: bool, retry: bool
) -> None:
    (any_kept_connection_is_idle if idle else no_connection_is_idle)(monkeypatch)

    async def read(response: aiohttp.ClientResponse) -> TargetAnswer:
        return TargetAnswer(await response.read(), "")

    async with (
        serving(ending_early(b"", after=int(reused))) as server,
        open_stream_pool(connect_timeout_s=5, keepalive_s=30) as streams,
    ):
        for _ in range(2 if reused else 1):
            outcome = await streams.post(
                target="det", url=server.url(), headers={}, body=b"x", timeout_s=10, read=read
            )
        assert server.connections == 1
    assert isinstance(outcome, Failure)
    assert outcome.retry is retry


async def test_a_reset_is_a_lost_connection(pool: TargetPool) -> None:
    async def reset(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await server.request(reader)
        writer.transport.abort()

    async with serving(reset) as server:
        outcome = await ask(pool, server.url(), body=bytes(10_000_000))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, NotReady)


async def test_an_early_answer_counts_and_its_connection_does_not_stay(pool: TargetPool) -> None:
    async def refuse(
        _server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        # Keeps the connection, and reads none of the rest.
        await asyncio.Event().wait()

    async with serving(refuse) as server:
        answer = await ask(pool, server.url(), body=bytes(30_000_000))
        assert isinstance(answer, HttpAnswer)
        assert answer.status == 413
        await eventually(lambda: pool.connections == 0)


@pytest.mark.parametrize(
    "reply",
    [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", b"\x16\x03\x01"],
)
async def test_what_is_no_answer_is_the_targets_error_and_not_asked_for_again(
    pool: TargetPool, reply: bytes
) -> None:
    async with serving(replying(reply)) as server:
        outcome = await ask(pool, server.url())
        assert isinstance(outcome, Failure)
        assert isinstance(outcome.error, TargetError)
        assert not outcome.retry
        await eventually(lambda: pool.connections == 0)


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 100001\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + bytes(100_001),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n186a1\r\n" + bytes(100_001),
    ],
)
async def test_an_answer_above_the_limit_is_not_read_on(pool: TargetPool, reply: bytes) -> None:
    async with serving(replying(reply)) as server:
        outcome = await ask(pool, server.url())
        assert isinstance(outcome, Failure)
        assert "larger than 100000 bytes" in outcome.error.message
        await eventually(lambda: pool.connections == 0)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n1"])
async def test_running_out_of_time_closes_the_connection(pool: TargetPool, sent: bytes) -> None:
    async def well_then_silent(
        server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        for answer in (HELLO, sent):
            await server.request(reader)
            writer.write(answer)
        await reader.read()

    async with serving(well_then_silent) as server:
        # On a connection that stands: none of the short time is spent on making one.
        await ask(pool, server.url())
        outcome = await ask(pool, server.url(), timeout_s=0.5)
        assert isinstance(outcome, Failure)
        assert isinstance(outcome.error, DeadlineExceeded)
        assert not outcome.retry
        await eventually(lambda: server.gone == 1)


async def test_a_cancel_closes_the_connection(pool: TargetPool) -> None:
    async with serving(replying(b"")) as server:
        asking = asyncio.ensure_future(ask(pool, server.url()))
        await eventually(lambda: len(server.bodies) == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await eventually(lambda: (server.gone, pool.connections) == (1, 0))


async def test_closing_the_pool_ends_what_is_under_way() -> None:
    async with serving(replying(b"")) as server:
        async with open_target_pool(connect_timeout_s=5, keepalive_s=5, max_answer_bytes=9) as pool:
            asking = asyncio.ensure_future(ask(pool, server.url()))
            await eventually(lambda: len(server.bodies) == 1)
        outcome = await asking
        assert isinstance(outcome, Failure)
        assert isinstance(outcome.error, NotReady)
        assert "this side closed the connection" in outcome.error.message
        await eventually(lambda: server.gone == 1)


async def test_a_line_break_in_a_header_is_not_sent(pool: TargetPool) -> None:
    async with serving(replying(HELLO)) as server:
        for value in ("a\r\nb: c", "a\nb", "a\r"):
            with pytest.raises(ValueError, match="line break"):
                await ask(pool, server.url(), accept=value)
    assert server.connections == 0


# Services run on uvloop, whose transports are its own.


@pytest.mark.parametrize(
    "scenario",
    [
        test_a_reset_is_a_lost_connection,
        test_an_early_answer_counts_and_its_connection_does_not_stay,
        test_a_cancel_closes_the_connection,
    ],
)
def test_failures_are_the_same_on_uvloop(
    scenario: Callable[[TargetPool], Awaitable[None]],
) -> None:
    on_uvloop(scenario)
