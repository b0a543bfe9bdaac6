"""Frames in any order and of any bytes: no exception, nothing left over, and others are served."""

from __future__ import annotations

import asyncio
import gzip
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from support.fuzzing import mutations
from support.http2_frames import (
    MOST,
    PREFACE,
    Setting,
    continuation,
    data,
    fields,
    frame,
    goaway,
    headers,
    message,
    opens,
    ping,
    priority,
    request,
    reset,
    settings,
    window,
)
from support.http2_hpack import HOWS, block, indexed, literal, table_size
from support.http2_peer import peer_of
from support.http2_probe import Site, probe_site

pytestmark = pytest.mark.asyncio(loop_scope="module")

_METHODS = (b"Echo", b"Sum", b"Chat", b"Count", b"Wait", b"Abort", b"Refuse", b"Endless", b"None")
_NUMBERS = (0, 1, 5, 100, 16_384, 65_535, 1 << 20, MOST)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site() -> AsyncIterator[Site]:
    async with probe_site("http2") as running:
        yield running


def some_bytes(random: Random) -> bytes:
    return random.choice((b"", b"\0", message(b"3 4"), message(b"x" * 70), random.randbytes(9)))


def some_block(random: Random) -> bytes:
    path = b"/probe.Probe/" + random.choice(_METHODS)
    more = (random.choice(((b"grpc-timeout", b"1m"), (b"grpc-encoding", b"gzip"), (b"te", b""))),)
    how = random.choice(HOWS)
    whole = block(fields(path, *more * random.randint(0, 1)), how=how, coded=random.random() < 0.5)
    return random.choice((whole, whole, whole, indexed(62) + whole, table_size(9) + whole, b"\x82"))


Maker = Callable[[Random, int], bytes]
_MAKERS: tuple[Maker, ...] = (
    lambda random, stream: headers(
        stream,
        some_block(random),
        end=random.random() < 0.3,
        end_headers=random.random() < 0.9,
        pad=random.choice((None, None, 3)),
    ),
    lambda random, stream: opens(stream, b"/probe.Probe/" + random.choice(_METHODS)),
    lambda random, stream: request(
        stream, some_bytes(random)[5:], b"/probe.Probe/" + random.choice(_METHODS)
    ),
    lambda random, stream: data(
        stream, some_bytes(random), end=random.random() < 0.3, pad=random.choice((None, None, 0, 9))
    ),
    lambda random, stream: continuation(stream, literal(b"x-a", some_bytes(random))),
    lambda random, stream: reset(stream, random.randrange(20)),
    lambda random, stream: window(random.choice((0, stream)), random.choice(_NUMBERS)),
    lambda random, stream: settings({random.choice(list(Setting)): random.choice(_NUMBERS)}),
    lambda random, stream: priority(stream, random.randrange(9)),
    lambda random, stream: ping(random.randbytes(8), ack=random.random() < 0.5),
    lambda random, stream: goaway(stream, random.randrange(20), b"why"),
    lambda random, stream: frame(
        random.randrange(12), random.randrange(256), stream, random.randbytes(random.randrange(20))
    ),
)


def conversation(random: Random) -> bytes:
    """Frames of a client who has not read the rules."""
    frames, stream = [], 1
    for _ in range(random.randint(1, 25)):
        if random.random() < 0.4:
            stream += 2
        frames.append(random.choice(_MAKERS)(random, random.choice((stream, stream, stream, 1, 0))))
    return b"".join(frames)


def seeds() -> list[bytes]:
    seconds = "SIMCLOUD_FUZZ_SECONDS" in os.environ
    random = Random(f"http2-{time.time_ns()}" if seconds else "http2")
    packed = message(gzip.compress(b"a" * 99), compressed=1)
    return [
        request(1, b"x") + request(3, b"9 9", b"/probe.Probe/Count"),
        opens(1, b"/probe.Probe/Chat") + data(1, message(b"a")) + data(1, message(b"b"), end=True),
        opens(1, b"/probe.Probe/Echo", (b"grpc-encoding", b"gzip")) + data(1, packed, end=True),
        request(1, b"", b"/probe.Probe/Endless") + window(1, 9) + reset(1) + ping(),
        settings({Setting.INITIAL_WINDOW_SIZE: 3}) + request(1, b"abcdefgh") + window(1, 20),
        *(conversation(random) for _ in range(2000 if seconds else 100)),
    ]


async def tries(site: Site, inputs: Iterable[bytes]) -> None:
    """Sends each input on a connection of its own, and is served after all of them."""
    loop = asyncio.get_running_loop()
    found: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: found.append(context))
    try:
        for raw in inputs:
            async with peer_of(site.address, greeting=raw) as peer:
                await peer.drains()
            assert not found, (raw.hex(), found)
        await site.is_settled()
        await site.is_served()
        assert not found
    finally:
        loop.set_exception_handler(None)


async def test_no_frames_end_more_than_their_connection(site: Site) -> None:
    greeting = PREFACE + settings()
    await tries(site, (greeting + raw for raw in mutations(seeds(), name="http2")))


async def test_no_greeting_ends_more_than_its_connection(site: Site) -> None:
    whole = PREFACE + settings() + request(1, b"x")
    await tries(site, mutations([whole], name="http2-greeting"))
