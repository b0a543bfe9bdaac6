"""Who means a server no good: his connection ends or costs little, and all others are served."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import struct
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import pytest
import pytest_asyncio

from support.eventually import eventually
from support.http2_frames import (
    FRAME_BYTES,
    MOST,
    PREFACE,
    Code,
    Kind,
    Setting,
    continuation,
    data,
    fields,
    frame,
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
from support.http2_hpack import STATIC, block, indexed, literal
from support.http2_peer import Peer, peer_of, ready_peer
from support.http2_probe import PEERS, Site, only_ours, probe_site

pytestmark = pytest.mark.asyncio(loop_scope="module")

KIB = 1024
MIB = 1024 * KIB
BLOCK = block(fields())
# What a server may take for a client that does its worst: sockets' buffers are not counted.
BOUND = 48 * MIB
CALM = {Code.ENHANCE_YOUR_CALM, Code.STREAM_CLOSED}


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=PEERS)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with probe_site(request.param) as running:
        # What a server allocates once is not what a client makes it allocate.
        await running.is_served()
        yield running


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _nothing_is_left(site: Site, bystander: Peer) -> AsyncIterator[None]:
    before = resident_bytes()
    yield
    await bystander.asks()
    site.probe.release.set()
    await site.is_settled()
    assert resident_bytes() - before < BOUND


def resident_bytes() -> int:
    pages = Path(f"/proc/{os.getpid()}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


async def floods(peer: Peer, chunks: Iterable[bytes], bystander: Peer, *, reads: bool) -> bool:
    """Sends all, unless the server closes or stops reading; others are served meanwhile.

    Returns:
        Whether all was sent.
    """
    until = resident_bytes() + BOUND
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(peer.ends()) if reads else None
        for chunk in chunks:
            # A server that reads no more from who reads closes, however long it takes over that.
            if not await (peer.is_taken(chunk) if reads else sends(peer, chunk)):
                break
            await bystander.asks()
            assert resident_bytes() < until
        else:
            if reading is not None:
                reading.cancel()
            return True
    return False


async def sends(peer: Peer, chunk: bytes) -> bool:
    """Whether the server has taken it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            return await peer.is_taken(chunk)
    return False


def many(each: bytes, times: int, *, at_once: int = 500) -> Iterable[bytes]:
    return (each * at_once for _ in range(times // at_once))


def block_without_end() -> Iterable[bytes]:
    yield headers(1, BLOCK, end_headers=False)
    yield from many(continuation(1, b"", end_headers=False), 20_000)


def block_of_many_megabytes() -> Iterable[bytes]:
    yield headers(1, BLOCK, end_headers=False)
    piece = continuation(1, literal(b"x-a", b"y" * 1000) * 15, end_headers=False)
    yield from many(piece, 1000, at_once=20)


def block_that_is_small_until_it_is_read() -> Iterable[bytes]:
    kept = literal(b"x-bomb", b"y" * 4000, how="kept")
    bomb = BLOCK + kept + indexed(len(STATIC) + 1) * 12_000
    for stream in range(1, 41, 2):
        yield headers(stream, bomb, end=True)


def calls_that_are_reset() -> Iterable[bytes]:
    for start in range(1, 10_001, 200):
        yield b"".join(opens(each) + reset(each) for each in range(start, start + 200, 2))


def calls_that_make_the_server_reset_them() -> Iterable[bytes]:
    """CVE-2025-8671: a window beyond its limit, and the server resets it himself."""
    for start in range(1, 10_001, 200):
        yield b"".join(opens(each) + window(each, 0) for each in range(start, start + 200, 2))


def requests_whose_fields_are_wrong() -> Iterable[bytes]:
    wrong = block([*fields(), (b"X-Upper", b"1")])
    for start in range(1, 10_001, 200):
        yield b"".join(headers(each, wrong, end=True) for each in range(start, start + 200, 2))


def messages_that_are_none() -> Iterable[bytes]:
    wrong = message(b"", compressed=7)
    for start in range(1, 10_001, 200):
        yield b"".join(opens(each) + data(each, wrong) for each in range(start, start + 200, 2))


def late_data() -> Iterable[bytes]:
    yield opens(1) + reset(1)
    yield from many(data(1, b""), 20_000)


FLOODS: dict[str, Callable[[], Iterable[bytes]]] = {
    "a block of headers that never ends": block_without_end,
    "a block of headers of 15 MB": block_of_many_megabytes,
    "a block of 16 KB that stands for 48 MB": block_that_is_small_until_it_is_read,
    "calls that are reset at once (CVE-2023-44487)": calls_that_are_reset,
    "calls that the server has to reset (CVE-2025-8671)": calls_that_make_the_server_reset_them,
    "calls whose messages are none": messages_that_are_none,
    "requests whose fields are wrong": requests_whose_fields_are_wrong,
    "pings (CVE-2019-9512)": lambda: many(ping(), 20_000),
    "settings (CVE-2019-9515)": lambda: many(settings({Setting.MAX_FRAME_SIZE: 20_000}), 20_000),
    "settings that change each stream's window": lambda: many(
        settings({Setting.INITIAL_WINDOW_SIZE: 1}) + settings({Setting.INITIAL_WINDOW_SIZE: 2}),
        5000,
    ),
    "frames of DATA without data (CVE-2019-9518)": lambda: (
        opens(1, b"/probe.Probe/Sum"),
        *many(data(1), 20_000),
    ),
    "frames of DATA that is padding alone": lambda: (
        opens(1, b"/probe.Probe/Sum"),
        *many(data(1, pad=0), 20_000),
    ),
    "DATA of a stream that is no more": late_data,
    "priorities": lambda: many(priority(1), 20_000),
    "windows": lambda: (opens(1, b"/probe.Probe/Sum"), *many(window(1, 1), 20_000)),
    "unknown frames": lambda: many(frame(0xBE, 0, 0), 20_000),
}


# Which may go on: they cost no more than what they are.
HARMLESS = {
    "windows",
    "settings that change each stream's window",
    "a block of 16 KB that stands for 48 MB",
}


# What gRPC's own server makes of these costs it up to 20 s of CPU time.
@only_ours
@pytest.mark.parametrize("reads", [False, True], ids=["deaf", "reading"])
@pytest.mark.parametrize("flood", FLOODS)
async def test_a_flood_harms_nobody_else(
    site: Site, bystander: Peer, flood: str, reads: bool
) -> None:
    async with ready_peer(site.address) as peer:
        took_all = await floods(peer, FLOODS[flood](), bystander, reads=reads)
        await site.is_served()
        if reads and flood not in HARMLESS:
            assert not took_all
            # A client that still sends may lose the last that it was told.
            assert peer.goaway is None or await peer.ends() in CALM


@only_ours
async def test_a_client_that_cancels_what_was_answered_is_no_attacker(site: Site) -> None:
    greeting = PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: 1000}) + window(0, MOST - 65_535)
    async with peer_of(site.address, greeting=greeting) as peer:
        peer.gives_windows = False
        for _ in range(150):
            stream = peer.next_stream()
            await peer.send(request(stream, b"100", b"/probe.Probe/Endless"))
            await peer.until(lambda stream=stream: stream in peer.answers)  # type: ignore[misc]
            await peer.send(reset(stream))
        await peer.asks()


@only_ours
async def test_ten_thousand_calls_one_after_the_other_leave_nothing(site: Site) -> None:
    async with ready_peer(site.address) as peer:
        for _ in range(100):
            streams = [peer.next_stream() for _ in range(100)]
            # Half of them answered, half reset before anything was asked.
            await peer.send(*(opens(each) + reset(each) for each in streams[:50]))
            await peer.send(*(request(each, b"x") for each in streams[50:]))
            for each in streams[50:]:
                assert (await peer.answer(each)).grpc_status == 0
            peer.answers.clear()
        await peer.asks()


async def test_a_message_of_2_gib_is_refused_when_it_is_claimed(site: Site) -> None:
    before = resident_bytes()
    async with ready_peer(site.address) as peer:
        stream = peer.next_stream()
        await peer.send(opens(stream), data(stream, message(bytes(1000), size=2**31 - 1)))
        assert (await peer.answer(stream)).grpc_status == 8
        await peer.asks()
    assert resident_bytes() - before < 16 * MIB


@pytest.mark.parametrize("unpacked", [17 * MIB, 64 * MIB])
async def test_a_message_that_unpacks_to_too_much_is_refused(site: Site, unpacked: int) -> None:
    packed = gzip.compress(bytes(unpacked), 1)
    before = resident_bytes()
    async with ready_peer(site.address) as peer:
        stream = peer.next_stream()
        await peer.send(opens(stream, b"/probe.Probe/Echo", (b"grpc-encoding", b"gzip")))
        await peer.pours(stream, message(packed, compressed=1))
        await peer.send(data(stream, end=True))
        assert (await peer.answer(stream)).grpc_status in {8, 13}
        await peer.asks()
    assert resident_bytes() - before < BOUND


async def test_messages_of_nothing_are_held_back_when_nobody_reads_them(
    site: Site, bystander: Peer
) -> None:
    before = resident_bytes()
    async with ready_peer(site.address) as peer:
        stream = peer.next_stream()
        await peer.send(opens(stream, b"/probe.Probe/Deaf"))
        await eventually(lambda: site.probe.waiting == 1)
        raw, sent = message(b"") * (FRAME_BYTES // 5), 0
        while peer.room(stream) > len(raw) and not peer.closed:
            await peer.pours(stream, raw)
            sent += len(raw)
            assert sent < 32 * MIB, "windows are given back though nobody reads"
            if sent % (64 * len(raw)) == 0:
                await bystander.asks()
                await peer.asks()
        assert resident_bytes() - before < BOUND
        await peer.send(reset(stream))


async def test_a_client_that_does_not_read_holds_its_methods_up(
    site: Site, bystander: Peer
) -> None:
    """It has given all windows there are, and its socket is full."""
    greeting = PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: MOST}) + window(0, MOST - 65_535)
    before, last = resident_bytes(), -1
    async with peer_of(site.address, greeting=greeting) as peer:
        await peer.send(*(request(each, b"65536", b"/probe.Probe/Endless") for each in (1, 3, 5)))

        async def has_stopped() -> bool:
            nonlocal last
            await bystander.asks()
            stopped = site.probe.sent == last > 0
            last = site.probe.sent
            return stopped

        first = site.probe.sent
        await eventually(has_stopped)
        assert (site.probe.sent - first) * 65_536 < 64 * MIB
        assert resident_bytes() - before < BOUND
        peer.abort()


@only_ours
async def test_who_asks_without_reading_is_not_heard_any_more(site: Site) -> None:
    """Answers of 8 KiB to 6,000 requests: they are made for as many as may be made at once."""
    greeting = PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: MOST}) + window(0, MOST - 65_535)
    before = resident_bytes()
    async with peer_of(site.address, greeting=greeting) as peer:
        for start in range(1, 12_001, 100):
            streams = range(start, start + 100, 2)
            asks = (request(each, b"1 8192", b"/probe.Probe/Count") for each in streams)
            if not await sends(peer, b"".join(asks)):
                break
            assert resident_bytes() - before < BOUND
        peer.abort()
    await eventually(site.is_served, what="who does not read has made room for others")


async def test_who_says_nothing_or_half_of_it_holds_nobody_up(site: Site, bystander: Peer) -> None:
    whole = PREFACE + settings() + headers(1, BLOCK) + data(1, message(b"x"), end=True)
    async with contextlib.AsyncExitStack() as stack:
        for size in range(0, len(whole), 5):
            await stack.enter_async_context(peer_of(site.address, greeting=whole[:size]))
        await bystander.asks()
        await site.is_served()


async def test_a_frame_that_is_claimed_and_never_comes_takes_no_memory(
    site: Site, bystander: Peer
) -> None:
    before = resident_bytes()
    claim = struct.pack(">I", 200 * KIB)[1:] + bytes([Kind.DATA, 0])
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(50):
            peer = await stack.enter_async_context(ready_peer(site.address))
            await peer.send(opens(1), claim + struct.pack(">I", 1) + message(b"", size=190 * KIB))
        await bystander.asks()
        assert resident_bytes() - before < 16 * MIB
