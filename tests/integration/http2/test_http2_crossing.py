"""What crosses an answer on its way, or gives up in bad times, is no attack."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from simcloud.rpc.settings import ServerSettings
from support.eventually import eventually
from support.http2_frames import FRAME_BYTES, Code, data, message, opens, request, reset
from support.http2_peer import Peer, ready_peer
from support.http2_probe import Site, probe_site

REFUSES = b"/probe.Probe/Refuse"


@pytest_asyncio.fixture
async def site() -> AsyncIterator[Site]:
    async with probe_site("http2") as running:
        yield running
        running.probe.release.set()
        await running.is_settled()


@pytest_asyncio.fixture
async def peer(site: Site) -> AsyncIterator[Peer]:
    async with ready_peer(site.address) as ready:
        yield ready


async def test_small_messages_that_cross_an_early_answer_are_no_oddity(peer: Peer) -> None:
    stream = peer.next_stream()
    small = data(stream, message(b"x" * 20))
    await peer.send(opens(stream, REFUSES), *(small for _ in range(6000)))
    assert (await peer.answer(stream)).grpc_status == 9
    # The window of the stream bounds them, empty ones are counted.
    await peer.send(*(small for _ in range(6000)), data(stream, end=True))
    await peer.asks()


async def test_more_than_a_windowful_behind_an_early_answer_ends_the_connection(
    peer: Peer,
) -> None:
    stream = peer.next_stream()
    await peer.send(opens(stream, REFUSES))
    assert (await peer.answer(stream)).grpc_status == 9
    frames = peer.room(stream) // FRAME_BYTES + 1
    await peer.send(*(data(stream, bytes(FRAME_BYTES)) for _ in range(frames)))
    assert await peer.ends() == Code.FLOW_CONTROL_ERROR


async def test_ends_that_cross_an_early_answer_cost_nothing(peer: Peer) -> None:
    for _ in range(25):
        streams = [peer.next_stream() for _ in range(100)]
        await peer.send(*(opens(each, REFUSES) for each in streams))
        for each in streams:
            await peer.answer(each)
        await peer.send(*(data(each, end=True) for each in streams))
    await peer.asks()


@pytest.mark.parametrize("begun", [False, True], ids=["waiting", "served"])
async def test_calls_that_time_out_at_their_callers_are_no_attack(begun: bool) -> None:
    """Overload: each is cancelled after a while, or while its method runs, and none is answered."""
    loop = asyncio.get_running_loop()
    settings = ServerSettings(drain_s=0, log_requests=False, max_concurrent_rpcs=128)
    async with probe_site("http2", settings) as site, ready_peer(site.address) as peer:
        # Twice 256 cancels at once are an attack.
        for _ in range(7):
            streams, since = [peer.next_stream() for _ in range(100)], loop.time()
            if begun:
                await peer.send(*(request(each, b"", b"/probe.Probe/Wait") for each in streams))
                await eventually(lambda: site.probe.waiting == 100)
            else:
                await peer.send(*(opens(each) for each in streams))
                await peer.asks()
                await eventually(lambda since=since: loop.time() > since + 0.2)  # type: ignore[misc]
            await peer.send(*(reset(each) for each in streams))
            await eventually(lambda: not site.probe.waiting)
        await peer.asks()
        await site.is_settled()
