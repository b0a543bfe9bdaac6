"""A request whose time is over before it is sent is not sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from simcloud.http.errors import TimeIsUp
from simcloud.http.pool import HttpAnswer, HttpPool, open_pool
from support.byte_server import HELLO, Server, replying, serving

CONNECTS_S = 60.0


class BusyLoop(asyncio.SelectorEventLoop):
    """Whose process does something else for a minute while a connection comes to stand."""

    ahead_s = 0.0

    def time(self) -> float:
        return super().time() + self.ahead_s

    async def create_connection(self, *args: Any, **options: Any) -> Any:
        made = await super().create_connection(*args, **options)
        # The connection stands, and its timers are due: the loop sees them after this.
        self.ahead_s += CONNECTS_S
        return made


@asynccontextmanager
async def site() -> AsyncIterator[tuple[HttpPool, Server]]:
    async with (
        serving(replying(HELLO)) as server,
        open_pool(connect_timeout_s=300, keepalive_s=3000, max_answer_bytes=1000) as pool,
    ):
        yield pool, server


async def ask(pool: HttpPool, server: Server, *, timeout_s: float) -> HttpAnswer:
    return await pool.request(
        pool.place(server.url()),
        method="POST",
        target="/",
        headers={},
        body=b"body",
        timeout_s=timeout_s,
    )


async def expires_while_it_connects() -> None:
    async with site() as (pool, server):
        with pytest.raises(TimeIsUp):
            await ask(pool, server, timeout_s=CONNECTS_S / 2)
        assert pool.connections == 1
        assert (await ask(pool, server, timeout_s=CONNECTS_S)).body == b"hello"
        assert (len(server.heads), server.connections) == (1, 1)


async def is_over_already() -> None:
    async with site() as (pool, server):
        assert (await ask(pool, server, timeout_s=2 * CONNECTS_S)).body == b"hello"
        for timeout_s in (0.0, -1.0):
            with pytest.raises(TimeIsUp):
                await ask(pool, server, timeout_s=timeout_s)
        assert (await ask(pool, server, timeout_s=CONNECTS_S)).body == b"hello"
        assert (len(server.heads), server.connections) == (2, 1)


@pytest.mark.parametrize("scenario", [expires_while_it_connects, is_over_already])
def test_a_request_whose_time_is_over_is_not_sent(scenario: Callable[[], Any]) -> None:
    with asyncio.Runner(loop_factory=BusyLoop) as runner:
        runner.run(scenario())
