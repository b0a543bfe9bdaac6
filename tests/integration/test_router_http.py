"""The router's HTTP client: connections, their reuse, and answers that come whole."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from yarl import URL

from simcloud.errors import NotReady
from simcloud.http.pool import HttpAnswer
from simcloud_inference_router.targets.base import Failure
from simcloud_inference_router.targets.target_pool import TargetPool, open_target_pool
from support.byte_server import HELLO, ask, on_uvloop, replying, serving
from support.eventually import eventually
from support.http_site import http_site


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


async def test_idle_connections_are_closed_in_time() -> None:
    async with (
        serving(replying(HELLO)) as server,
        open_target_pool(connect_timeout_s=5, keepalive_s=1.0, max_answer_bytes=1000) as pool,
    ):
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(ask(pool, server.url()))
        assert pool.connections == 3
        await eventually(lambda: (server.gone, pool.connections) == (3, 0))


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


# Services run on uvloop, whose transports are its own.


@pytest.mark.parametrize(
    "scenario",
    [
        test_one_connection_serves_one_request_after_another,
        test_a_large_body_and_a_large_answer_arrive_whole,
        test_a_kept_connection_that_was_closed_meanwhile_is_not_used,
        test_names_that_lead_nowhere_and_ports_that_are_closed_are_no_connection,
        lambda _: test_idle_connections_are_closed_in_time(),
    ],
)
def test_the_same_holds_on_uvloop(
    scenario: Callable[[TargetPool], Awaitable[None]],
) -> None:
    on_uvloop(scenario)
