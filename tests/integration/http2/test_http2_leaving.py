"""A connection's end by the server: who still sends has nonetheless every answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import grpc
import pytest
import uvloop

from simcloud.rpc.http2 import lifetime
from simcloud.rpc.settings import ServerSettings, TlsSettings
from support.certificates import make_certificates
from support.eventually import eventually
from support.http2_frames import (
    DEFAULT_WINDOW,
    MOST,
    PREFACE,
    Code,
    Setting,
    request,
    settings,
    window,
)
from support.http2_peer import Answer, Peer, ready_peer
from support.http2_probe import Site, probe_site

# More than the system's buffers and the server's together hold of it for a peer that reads slowly.
ANSWERS = 12
ANSWER_BYTES = 1_000_000
GREETING = (
    PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: 1 << 24}) + window(0, MOST - DEFAULT_WINDOW)
)
# What windows let cross a server's end, what else may, and the system's buffers, bytes.
CROSSING_BYTES = 48 << 20

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    # Services run on it; its transports are its own.
    "uvloop": uvloop.new_event_loop,
}


@contextlib.asynccontextmanager
async def narrow_peer(site: Site, tls: ssl.SSLContext | None) -> AsyncIterator[Peer]:
    """A peer whose system holds little for it, so that answers wait at the server."""
    host, _, port = site.address.rpartition(":")
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (host, int(port)))
    name = None if tls is None else "localhost"
    peer = Peer(*await asyncio.open_connection(sock=sock, ssl=tls, server_hostname=name))
    try:
        await peer.send(GREETING)
        yield peer
    finally:
        peer.abort()


async def all_arrives(tls: TlsSettings | None, client: ssl.SSLContext | None) -> None:
    """What was asked for does, from a server that leaves meanwhile."""
    server = probe_site("http2", ServerSettings(drain_s=20, log_requests=False, tls=tls))
    site = await server.__aenter__()
    async with narrow_peer(site, client) as peer:
        await peer.send(request(1, b"%d %d" % (ANSWERS, ANSWER_BYTES), b"/probe.Probe/Count"))
        await peer.until(lambda: 1 in peer.answers and bool(peer.answers[1].body))
        async with asyncio.TaskGroup() as group:
            group.create_task(leaves(server))
            # Whatever it reads it gives back as WINDOW_UPDATE, to the end and beyond.
            answer = await peer.answer(1)
            assert answer.grpc_status == 0
            assert [len(each) for each in answer.messages] == [ANSWER_BYTES] * ANSWERS
            assert await peer.ends() == Code.NO_ERROR


@pytest.mark.parametrize("loop", LOOPS)
def test_the_last_answers_arrive_whole_though_their_reader_sends_on(loop: str) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(all_arrives(None, None))


def test_the_last_answers_arrive_whole_within_tls(tmp_path: Path) -> None:
    folder = make_certificates(tmp_path)
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.set_alpn_protocols(["h2"])
    tls = TlsSettings(cert=folder / "server.pem", key=folder / "server.key")
    with asyncio.Runner(loop_factory=LOOPS["uvloop"]) as runner:
        runner.run(all_arrives(tls, context))


async def reads_slowly(peer: Peer, answer: Answer) -> None:
    """All of an answer, at a megabyte a second, and gives back its windows."""
    while not answer.ended:
        frame = await peer.receive()
        assert frame is not None, f"the server closed after {len(answer.body)} bytes"
        await asyncio.sleep(len(frame.payload) / 1e6)  # What it does with it.


@pytest.fixture
def short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less than a slow reader needs for the answer, and much more than for a frame of it."""
    monkeypatch.setattr(lifetime, "_LINGER_S", 0.6)


@pytest.mark.usefixtures("short_linger")
async def test_a_steady_reader_has_as_long_for_its_last_answer_as_the_drain_lasts() -> None:
    server = probe_site("http2", ServerSettings(drain_s=20, log_requests=False))
    site = await server.__aenter__()
    async with narrow_peer(site, None) as peer:
        await peer.send(request(1, b"2 %d" % ANSWER_BYTES, b"/probe.Probe/Count"))
        await peer.until(lambda: 1 in peer.answers and bool(peer.answers[1].body))
        async with asyncio.TaskGroup() as group:
            group.create_task(leaves(server))
            await reads_slowly(peer, peer.answers[1])
            assert peer.answers[1].grpc_status == 0
            await peer.ends()


@pytest.mark.usefixtures("short_linger")
async def test_a_steady_reader_has_its_last_answer_though_its_connection_is_too_old() -> None:
    settings = ServerSettings(max_connection_age_s=0.05, drain_s=20, log_requests=False)
    async with probe_site("http2", settings) as site, narrow_peer(site, None) as peer:
        await peer.send(request(1, b"2 %d" % ANSWER_BYTES, b"/probe.Probe/Count"))
        await reads_slowly(peer, peer.answers.setdefault(1, Answer()))
        assert peer.answers[1].grpc_status == 0
        assert await peer.ends() == Code.NO_ERROR


async def test_a_connection_that_ends_already_does_not_outlast_its_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lifetime, "_LINGER_S", 60.0)
    settings = ServerSettings(max_connection_age_s=0.05, drain_s=1, log_requests=False)
    server = probe_site("http2", settings)
    site = await server.__aenter__()
    async with ready_peer(site.address) as peer:
        # It hears that no call is taken any more, and does not close.
        await peer.until(lambda: peer.goaway is not None and peer.goaway.payload[:4] == bytes(4))
        begun = asyncio.get_running_loop().time()
        await leaves(server)
        assert asyncio.get_running_loop().time() - begun < 8


async def test_who_neither_reads_nor_closes_does_not_hold_a_server_beyond_its_drain() -> None:
    server = probe_site("http2", ServerSettings(drain_s=0, log_requests=False))
    site = await server.__aenter__()
    async with ready_peer(site.address):
        begun = asyncio.get_running_loop().time()
        await leaves(server)
        # The drain, and the two seconds that calls have to clean up after it.
        assert asyncio.get_running_loop().time() - begun < 8


async def test_who_sends_on_after_the_end_is_cut() -> None:
    server = probe_site("http2", ServerSettings(drain_s=60, log_requests=False))
    site = await server.__aenter__()
    async with ready_peer(site.address) as peer, asyncio.TaskGroup() as group:
        group.create_task(leaves(server))
        await peer.until(lambda: peer.goaway is not None and peer.goaway.payload[:4] == bytes(4))
        sent, piece = 0, bytes(1 << 18)
        while await peer.is_taken(piece):
            sent += len(piece)
    assert sent < CROSSING_BYTES


async def test_who_comes_too_late_hears_that_nothing_was_done() -> None:
    server = probe_site("http2", ServerSettings(drain_s=20, log_requests=False))
    site = await server.__aenter__()
    async with ready_peer(site.address) as peer, asyncio.TaskGroup() as group:
        # As long as its ping is under way, it can't know: what it sends is not refused unheard.
        peer.answers_pings = False
        group.create_task(leaves(server))
        await peer.until(lambda: peer.goaway is not None)
        await peer.send(request(1, b"late"))
        answer = await peer.answer(1)
        await peer.ends()
    assert answer.grpc_status == grpc.StatusCode.UNAVAILABLE.value[0]
    assert answer.grpc_message == (
        "the server is shutting down and has done nothing of this call; ask another one"
    )
    assert site.probe.called == 0


async def test_who_is_cut_hears_that_its_call_did_not_end() -> None:
    server = probe_site("http2", ServerSettings(drain_s=0, log_requests=False))
    site = await server.__aenter__()
    async with ready_peer(site.address) as peer, asyncio.TaskGroup() as group:
        await peer.send(request(1, b"", b"/probe.Probe/Wait"))
        await eventually(lambda: site.probe.waiting == 1)
        group.create_task(leaves(server))
        answer = await peer.answer(1)
        await peer.ends()
    assert answer.grpc_message == (
        "the server is shutting down and could not end this call in time (drain_s); ask another one"
    )


async def leaves(server: contextlib.AbstractAsyncContextManager[Site]) -> None:
    await server.__aexit__(None, None, None)
