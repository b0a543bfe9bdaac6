"""The router's HTTP client beside servers that answer well, badly, slowly, and not at all."""

from __future__ import annotations

import asyncio
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop
from aiohttp import web
from yarl import URL

from simcloud.errors import DeadlineExceeded, NotReady, TargetError
from simcloud.http.pool import HttpAnswer, open_pool
from simcloud_inference_router.targets.base import Failure
from simcloud_inference_router.targets.target_pool import TargetPool, open_target_pool
from support.byte_server import HELLO, Server, replying, serving
from support.eventually import eventually
from support.http_site import http_site


@pytest.fixture
async def pool() -> AsyncIterator[TargetPool]:
    async with open_target_pool(
        connect_timeout_s=5, keepalive_s=30, max_answer_bytes=100_000
    ) as opened:
        yield opened
    assert opened.connections == 0


async def ask(
    pool: TargetPool, url: URL, *, body: bytes = b"body", timeout_s: float = 10, **headers: str
) -> HttpAnswer | Failure:
    return await pool.post(target="det", url=url, headers=headers, body=body, timeout_s=timeout_s)


async def test_one_connection_serves_one_request_after_another(pool: TargetPool) -> None:
    async with serving(replying(HELLO[:20], HELLO[20:60], HELLO[60:])) as server:
        for number in range(3):
            answer = await ask(pool, server.url(), body=b"%d" % number, accept="text/plain")
            assert isinstance(answer, HttpAnswer)
            assert (answer.status, answer.body) == (200, b"hello")
            assert answer.headers["content-type"] == "text/plain"
    assert server.connections == 1
    assert server.bodies == [b"0", b"1", b"2"]
    lines = server.heads[0].decode().split("\r\n")
    assert lines[0] == "POST /endpoints/x/invocations?a=%20b HTTP/1.1"
    assert set(lines[1:-2]) == {
        f"host: 127.0.0.1:{server.port}",
        "accept: text/plain",
        "content-length: 1",
    }


async def test_requests_at_the_same_time_have_a_connection_each(pool: TargetPool) -> None:
    async with serving(replying(HELLO)) as server:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(pool, server.url())) for _ in range(5)]
        assert all(isinstance(task.result(), HttpAnswer) for task in tasks)
        assert pool.connections == server.connections == 5
        await ask(pool, server.url())
        assert server.connections == 5


async def test_a_large_body_and_a_large_answer_arrive_whole(pool: TargetPool) -> None:
    large = bytes(range(256)) * 390
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(large), large)
    async with serving(replying(answer)) as server:
        found = await ask(pool, server.url(), body=large * 30)
    assert isinstance(found, HttpAnswer)
    assert found.body == large
    assert server.bodies == [large * 30]


async def test_a_real_server_is_understood_chunks_and_all(pool: TargetPool) -> None:
    async def invocations(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        response = web.StreamResponse(status=202, headers={"X-Size": str(len(body))})
        response.enable_chunked_encoding()
        await response.prepare(request)
        for start in range(0, len(body), 999):
            await response.write(body[start : start + 999])
        return response

    async with http_site(invocations) as site:
        url = URL(f"{site}/invocations")
        body = bytes(range(256)) * 300
        for _ in range(2):
            answer = await ask(pool, url, body=body)
            assert isinstance(answer, HttpAnswer)
            assert (answer.status, answer.body) == (202, body)
            assert answer.headers["x-size"] == "76800"
        assert pool.connections == 1


async def test_an_answer_that_ends_with_its_connection_is_read_to_the_end(pool: TargetPool) -> None:
    async with serving(replying(b"HTTP/1.0 200 OK\r\n\r\n", b"all", close=True)) as server:
        for _ in range(2):
            answer = await ask(pool, server.url())
            assert isinstance(answer, HttpAnswer)
            assert answer.body == b"all"
    assert server.connections == 2


async def test_connection_close_is_heeded(pool: TargetPool) -> None:
    reply = HELLO.replace(b"content-type", b"Connection: close\r\ncontent-type")
    async with serving(replying(reply)) as server:
        for _ in range(2):
            assert isinstance(await ask(pool, server.url()), HttpAnswer)
        await eventually(lambda: server.gone == 2)


@pytest.mark.parametrize(
    ("sent", "retry"),
    [(b"", True), (HELLO[:7], False), (HELLO[:-1], False), (b"HTTP/1.1 100 C\r\n\r\n", True)],
)
async def test_a_connection_that_ends_early_says_whether_the_answer_had_begun(
    pool: TargetPool, sent: bytes, retry: bool
) -> None:
    async with serving(replying(sent, close=True)) as server:
        outcome = await ask(pool, server.url())
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, NotReady)
    assert (outcome.retry, outcome.shrink) == (retry, False)
    assert "closed the connection" in outcome.error.message


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


async def test_a_kept_connection_that_was_closed_meanwhile_is_not_used(pool: TargetPool) -> None:
    async with serving(replying(HELLO, close=True)) as server:
        for _ in range(3):
            assert isinstance(await ask(pool, server.url()), HttpAnswer)
            await eventually(lambda: pool.connections == 0)
    assert server.connections == 3


async def test_bytes_that_nobody_asked_for_end_an_idle_connection(pool: TargetPool) -> None:
    async with serving(replying(HELLO + b"HTTP/1.1 408 Request Timeout\r\n\r\n")) as server:
        for _ in range(2):
            assert isinstance(await ask(pool, server.url()), HttpAnswer)
        await eventually(lambda: server.gone == 2)


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
    async with serving(replying(sent)) as server:
        outcome = await ask(pool, server.url(), timeout_s=0.1)
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


async def test_idle_connections_are_closed_in_time() -> None:
    async with (
        serving(replying(HELLO)) as server,
        open_target_pool(connect_timeout_s=5, keepalive_s=0.2, max_answer_bytes=1000) as pool,
    ):
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(ask(pool, server.url()))
        assert pool.connections == 3
        await eventually(lambda: (server.gone, pool.connections) == (3, 0))


async def test_closing_the_pool_ends_what_is_under_way() -> None:
    async with serving(replying(b"")) as server:
        async with open_target_pool(connect_timeout_s=5, keepalive_s=5, max_answer_bytes=9) as pool:
            asking = asyncio.ensure_future(ask(pool, server.url()))
            await eventually(lambda: len(server.bodies) == 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await eventually(lambda: server.gone == 1)


async def test_a_line_break_in_a_header_is_not_sent(pool: TargetPool) -> None:
    async with serving(replying(HELLO)) as server:
        for value in ("a\r\nb: c", "a\nb", "a\r"):
            with pytest.raises(ValueError, match="line break"):
                await ask(pool, server.url(), accept=value)
    assert server.connections == 0


async def test_names_that_lead_nowhere_and_ports_that_are_closed_are_no_connection(
    pool: TargetPool,
) -> None:
    async with serving(replying(HELLO)) as server:
        url = server.url()
    closed = await ask(pool, url)
    unknown = await ask(pool, URL("http://nowhere.invalid:80/"))
    for outcome, words in ((closed, "refused"), (unknown, "name can't be resolved")):
        assert isinstance(outcome, Failure)
        assert isinstance(outcome.error, NotReady)
        assert (outcome.retry, outcome.shrink) == (True, True)
        assert words in outcome.error.message


async def test_a_name_with_several_addresses_is_reached_at_the_one_that_answers(
    pool: TargetPool,
) -> None:
    # localhost is ::1 and 127.0.0.1 on most machines; only one of them listens.
    async with serving(replying(HELLO)) as server:
        assert isinstance(await ask(pool, server.url(host="localhost")), HttpAnswer)
    assert f"host: localhost:{server.port}".encode() in server.heads[0]


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
async def test_an_ipv6_address_is_reached_and_named_in_brackets(pool: TargetPool) -> None:
    async with serving(replying(HELLO), host="::1") as server:
        assert isinstance(await ask(pool, server.url(host="[::1]")), HttpAnswer)
    assert f"host: [::1]:{server.port}".encode() in server.heads[0]


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of `localhost`, signed by itself, with its key."""
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", f"{path}.key", "-out", str(path)),
        ],
        check=True,
        capture_output=True,
    )
    return path


def server_tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, f"{certificate}.key")
    return context


@asynccontextmanager
async def trusting(certificate: Path) -> AsyncIterator[TargetPool]:
    tls = ssl.create_default_context(cafile=certificate)
    async with open_pool(
        connect_timeout_s=5, keepalive_s=5, max_answer_bytes=1 << 20, tls=tls
    ) as opened:
        pool = TargetPool(opened)
        yield pool
    assert pool.connections == 0


async def test_https_is_spoken_to_whom_the_certificate_names(certificate: Path) -> None:
    large = b"HTTP/1.1 200 OK\r\ncontent-length: 500000\r\n\r\n" + bytes(500_000)
    async with (
        serving(replying(large), tls=server_tls(certificate)) as server,
        trusting(certificate) as pool,
    ):
        for _ in range(2):
            answer = await ask(pool, server.url("https", "localhost"), body=bytes(300_000))
            assert isinstance(answer, HttpAnswer)
            assert len(answer.body) == 500_000
        assert server.connections == 1
        other = await ask(pool, server.url("https", "127.0.0.1"))
    assert isinstance(other, Failure)
    assert "certificate is not valid" in other.error.message


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    certificate: Path, pool: TargetPool
) -> None:
    async with serving(replying(HELLO), tls=server_tls(certificate)) as server:
        outcome = await ask(pool, server.url("https", "localhost"))
    assert isinstance(outcome, Failure)
    assert isinstance(outcome.error, NotReady)
    assert "certificate is not valid" in outcome.error.message
    assert server.bodies == []


async def test_a_handshake_that_hangs_is_ended_by_the_connect_timeout_or_a_cancel() -> None:
    async def silent(
        _server: Server, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter
    ) -> None:
        await reader.read()

    async with (
        serving(silent) as server,
        open_target_pool(connect_timeout_s=0.2, keepalive_s=5, max_answer_bytes=9) as pool,
    ):
        outcome = await ask(pool, server.url("https"))
        assert isinstance(outcome, Failure)
        assert "not connected within 0.2 s" in outcome.error.message
        asking = asyncio.ensure_future(ask(pool, server.url("https")))
        await eventually(lambda: server.connections == 2)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await eventually(lambda: server.gone == 2)


# Services run on uvloop, whose transports are its own.


@pytest.mark.parametrize(
    "scenario",
    [
        test_one_connection_serves_one_request_after_another,
        test_a_large_body_and_a_large_answer_arrive_whole,
        test_a_reset_is_a_lost_connection,
        test_a_kept_connection_that_was_closed_meanwhile_is_not_used,
        test_an_early_answer_counts_and_its_connection_does_not_stay,
        test_a_cancel_closes_the_connection,
        test_names_that_lead_nowhere_and_ports_that_are_closed_are_no_connection,
    ],
)
def test_the_same_holds_on_uvloop(scenario: Callable[[TargetPool], Awaitable[None]]) -> None:
    async def run() -> None:
        async with open_target_pool(
            connect_timeout_s=5, keepalive_s=30, max_answer_bytes=100_000
        ) as pool:
            await scenario(pool)
        assert pool.connections == 0

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


@pytest.mark.parametrize(
    "scenario",
    [
        lambda _: test_idle_connections_are_closed_in_time(),
        lambda _: test_a_handshake_that_hangs_is_ended_by_the_connect_timeout_or_a_cancel(),
        test_https_is_spoken_to_whom_the_certificate_names,
    ],
)
def test_tls_and_idle_connections_are_the_same_on_uvloop(
    scenario: Callable[[Path], Coroutine[None, None, None]], certificate: Path
) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario(certificate))
