"""What the tests of servers of HTTP/2 share: a server of each kind a module, and who calls it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio
import pytest
import pytest_asyncio

from simcloud.rpc.channel import connect
from support.http2_peer import Peer, ready_peer
from support.http2_probe import PEERS, Site, probe_site


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=PEERS)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with probe_site(request.param) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def channel(site: Site) -> AsyncIterator[grpc.aio.Channel]:
    async with connect(site.address) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bystander(site: Site) -> AsyncIterator[Peer]:
    """Who was there before, and goes on being served."""
    async with ready_peer(site.address) as peer:
        yield peer


@pytest_asyncio.fixture(loop_scope="module")
async def nothing_is_left(site: Site) -> AsyncIterator[None]:
    """Whatever a test did, nothing of it is served when it has ended."""
    yield
    site.probe.release.set()
    await site.is_settled()
