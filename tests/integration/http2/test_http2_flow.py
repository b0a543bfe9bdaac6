"""Flow control (RFC 9113 section 5.2), packets cut anywhere, and many streams on one connection."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from simcloud.rpc.settings import ServerSettings
from support.eventually import eventually
from support.http2_frames import (
    DEFAULT_WINDOW,
    FRAME_BYTES,
    MOST,
    PREFACE,
    Code,
    Setting,
    data,
    goaway,
    headers,
    message,
    opens,
    ping,
    request,
    reset,
    settings,
    window,
)
from support.http2_hpack import literal
from support.http2_peer import Answer, Peer, peer_of, ready_peer
from support.http2_probe import Site, only_ours, probe_site

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("nothing_is_left"),
]

KIB = 1024
MIB = 1024 * KIB


@pytest_asyncio.fixture(loop_scope="module")
async def narrow(site: Site) -> AsyncIterator[Peer]:
    """Whose streams have no window but what it gives."""
    greeting = PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: 0})
    async with peer_of(site.address, greeting=greeting) as peer:
        await peer.until(lambda: peer.settings_acks == 1)
        peer.gives_windows = False
        yield peer


@pytest_asyncio.fixture(loop_scope="module")
async def wide(site: Site) -> AsyncIterator[Peer]:
    async with ready_peer(site.address) as peer:
        yield peer


def endless(stream: int, size: int) -> bytes:
    return request(stream, b"%d" % size, b"/probe.Probe/Endless")


async def test_a_window_of_one_octet_at_a_time_is_enough(narrow: Peer) -> None:
    await narrow.send(request(1, b"0123456789"))
    await narrow.until(lambda: bool(narrow.answers[1].blocks) if 1 in narrow.answers else False)
    for size in range(1, 16):
        await narrow.send(window(1, 1))
        await narrow.until(lambda size=size: len(narrow.answers[1].body) == size)  # type: ignore[misc]
    answer = await narrow.answer(1)
    assert (answer.grpc_status, answer.messages) == (0, [b"0123456789"])


async def test_nothing_but_headers_comes_through_a_closed_window(narrow: Peer) -> None:
    await narrow.send(request(1, b"0123456789"), request(3, b"ABORTED why", b"/probe.Probe/Abort"))
    # A status needs no window.
    assert (await narrow.answer(3)).grpc_status == 10
    await narrow.pinged()
    assert not narrow.answers[1].body
    await narrow.send(settings({Setting.INITIAL_WINDOW_SIZE: 15}))
    assert (await narrow.answer(1)).messages == [b"0123456789"]


async def test_a_wider_window_is_acknowledged_before_it_is_used(narrow: Peer) -> None:
    """Section 6.5.3; gRPC's clients end a stream whose DATA comes before."""
    await narrow.send(request(1, b"0123456789"))
    await narrow.until(lambda: bool(narrow.answers[1].blocks) if 1 in narrow.answers else False)
    before = narrow.settings_acks
    await narrow.send(settings({Setting.INITIAL_WINDOW_SIZE: 15}))
    await narrow.until(lambda: narrow.settings_acks > before or bool(narrow.answers[1].body))
    assert narrow.settings_acks > before
    assert (await narrow.answer(1)).messages == [b"0123456789"]


async def test_a_window_that_shrinks_below_what_was_sent_is_paid_back_first(
    narrow: Peer,
) -> None:
    """Section 6.9.2: a window may become negative."""
    await narrow.send(settings({Setting.INITIAL_WINDOW_SIZE: 100}), endless(1, 1000))
    await narrow.until(lambda: 1 in narrow.answers and len(narrow.answers[1].body) == 100)
    await narrow.send(settings({Setting.INITIAL_WINDOW_SIZE: 40}), window(1, 60))
    await narrow.pinged()
    assert len(narrow.answers[1].body) == 100
    await narrow.send(window(1, 7))
    await narrow.until(lambda: len(narrow.answers[1].body) == 107)
    await narrow.send(settings({Setting.INITIAL_WINDOW_SIZE: 43}))
    await narrow.until(lambda: len(narrow.answers[1].body) == 110)
    await narrow.send(reset(1))


async def test_the_connections_window_is_shared_by_its_streams(site: Site) -> None:
    greeting = PREFACE + settings({Setting.INITIAL_WINDOW_SIZE: MOST})
    async with peer_of(site.address, greeting=greeting) as peer:
        peer.gives_windows = False
        await peer.send(endless(1, 1000), endless(3, 1000))

        def total() -> int:
            return sum(len(each.body) for each in peer.answers.values())

        await peer.until(lambda: total() == DEFAULT_WINDOW)
        await peer.pinged()
        assert total() == DEFAULT_WINDOW
        # Both go on when there is more: neither waits behind the other for ever.
        before = {stream: len(answer.body) for stream, answer in peer.answers.items()}
        for _ in range(20):
            await peer.send(window(0, 4 * FRAME_BYTES))
            until = total() + 4 * FRAME_BYTES
            await peer.until(lambda until=until: total() == until)  # type: ignore[misc]
        assert all(len(peer.answers[stream].body) > size for stream, size in before.items())
        # What is reset gives nothing back by itself, and leaves the rest to the other.
        await peer.send(reset(1), window(0, 5))
        await peer.until(lambda: total() == until + 5)
        await peer.send(reset(3))


async def test_a_stream_that_is_not_read_holds_up_no_other(site: Site, narrow: Peer) -> None:
    await narrow.send(endless(1, 100_000))
    await narrow.until(lambda: 1 in narrow.answers)
    for stream in range(3, 23, 2):
        await narrow.send(request(stream, b"through"), window(stream, 100))
        assert (await narrow.answer(stream)).messages == [b"through"]
    await narrow.send(reset(1))


@pytest.mark.parametrize("size", [FRAME_BYTES, FRAME_BYTES + 1, 1 << 20])
async def test_no_frame_is_larger_than_its_reader_allows(site: Site, size: int) -> None:
    async with ready_peer(site.address) as peer:
        await peer.send(settings({Setting.MAX_FRAME_SIZE: size}))
        await peer.pinged()
        await peer.send(request(1, b"3 400000", b"/probe.Probe/Count"))
        largest = 0
        while not peer.answers.get(1) or not peer.answers[1].ended:
            frame = await peer.receive()
            assert frame is not None
            largest = max(largest, len(frame.payload))
        assert largest <= size
        assert [len(each) for each in peer.answers[1].messages] == [400_000] * 3


async def test_a_client_may_send_as_much_as_it_was_given_and_gets_it_back(wide: Peer) -> None:
    stream = wide.next_stream()
    await wide.send(opens(stream, b"/probe.Probe/Sum"))
    for _ in range(8):
        await wide.pours(stream, message(bytes(3 * MIB)))
    await wide.send(data(stream, end=True))
    assert (await wide.answer(stream)).messages == [b"8 %d" % (24 * MIB)]


@only_ours
async def test_what_nobody_reads_any_more_gives_the_connections_window_back(wide: Peer) -> None:
    """Section 5.1: late DATA counts against the connection's window all the same."""
    piece = message(bytes(4 * FRAME_BYTES - 6))[:-1]
    for number in range(18 * MIB // len(piece)):
        stream = wide.next_stream()
        # Refused before it is read, and reset by us in the middle of a message.
        await wide.send(opens(stream, b"/probe.Probe/Refuse"))
        await wide.pours(stream, piece)
        await wide.send(reset(stream))
        if number % 20 == 0:
            # As a client that lives does: too many resets without an answer are an attack.
            await wide.asks()


@only_ours
async def test_a_method_that_does_not_read_holds_its_caller_up(site: Site, wide: Peer) -> None:
    stream = wide.next_stream()
    await wide.send(opens(stream, b"/probe.Probe/Deaf"))
    await eventually(lambda: site.probe.waiting == 1)
    raw, sent = message(bytes(FRAME_BYTES - 5)) * (64 * MIB // FRAME_BYTES), 0
    while wide.room(stream) > 0:
        sent += await wide.pours(stream, raw[sent:], until_full=True)
        assert sent < len(raw), "windows are given back though nobody reads"
        # Its connection's others go on, meanwhile.
        await wide.asks()
    site.probe.release.set()
    rest = -sent % FRAME_BYTES
    await wide.pours(stream, raw[sent : sent + rest])
    await wide.send(data(stream, end=True))
    number = (sent + rest) // FRAME_BYTES
    answer = await wide.answer(stream)
    assert answer.messages == [b"%d %d" % (number, number * (FRAME_BYTES - 5))]


@only_ours
async def test_methods_that_do_not_read_leave_room_for_others(site: Site, wide: Peer) -> None:
    """What they hold is more than the connection's window, which all streams share."""
    given = DEFAULT_WINDOW + wide.windows.get(0, 0)
    sent = 0
    while sent <= given:
        stream = wide.next_stream()
        await wide.send(opens(stream, b"/probe.Probe/Deaf"))
        raw = message(bytes(FRAME_BYTES - 5)) * (wide.room(stream) // FRAME_BYTES)
        sent += await wide.pours(stream, raw, until_full=True)
        await wide.asks()


@only_ours
async def test_more_than_a_streams_window_is_an_error(site: Site, wide: Peer) -> None:
    stream = wide.next_stream()
    await wide.send(opens(stream, b"/probe.Probe/Deaf"))
    await eventually(lambda: site.probe.waiting == 1)
    raw = message(bytes(FRAME_BYTES - 5))
    while wide.room(stream) > 0:
        await wide.pours(stream, raw, until_full=True)
        await wide.asks()
    await wide.send(data(stream, raw))
    answer = wide.answers.setdefault(stream, Answer())
    while answer.code is None and await wide.receive() is not None:
        pass
    if wide.closed:
        assert await wide.ends() == Code.FLOW_CONTROL_ERROR
    else:
        assert answer.code == Code.FLOW_CONTROL_ERROR
        await wide.asks()


@only_ours
async def test_padding_is_given_back_like_data(wide: Peer) -> None:
    stream = wide.next_stream()
    await wide.send(opens(stream, b"/probe.Probe/Sum"))
    padded = data(stream, message(b"x"), pad=255)
    size = len(padded) - 9
    number = 2 * wide.room(stream) // size
    for _ in range(number):
        await wide.until(lambda: wide.room(stream) >= size) if wide.room(stream) < size else None
        await wide.send(padded)
        wide.counts(stream, size)
    await wide.send(data(stream, end=True))
    assert (await wide.answer(stream)).messages == [b"%d %d" % (number, number)]


async def test_a_conversation_arrives_octet_by_octet(site: Site) -> None:
    async with peer_of(site.address, greeting=b"") as peer:
        await peer.send_slowly(
            PREFACE
            + settings()
            + request(1, b"slow")
            + ping(b"in-order")
            + opens(3, b"/probe.Probe/Sum")
            + data(3, message(b"ab") + message(b"c"))
            + data(3, message(b""), end=True)
        )
        assert (await peer.answer(1)).messages == [b"slow"]
        assert (await peer.answer(3)).messages == [b"3 3"]
        assert b"in-order" in peer.pongs


async def test_a_conversation_arrives_in_one_packet(site: Site) -> None:
    streams = range(1, 101, 2)
    whole = PREFACE + settings() + b"".join(request(each, b"%d" % each) for each in streams)
    async with peer_of(site.address, greeting=whole) as peer:
        for each in streams:
            assert (await peer.answer(each)).messages == [b"%d" % each]


async def test_a_packet_may_end_anywhere(site: Site) -> None:
    async with ready_peer(site.address) as peer:
        for at in range(len(request(1, b"12345"))):
            stream = peer.next_stream()
            await peer.send_slowly(request(stream, b"12345"), max(1, at))
            assert (await peer.answer(stream)).messages == [b"12345"]


async def test_a_message_may_be_cut_into_frames_anywhere(wide: Peer) -> None:
    body = message(b"ab") + message(b"") + message(b"c")
    for at in range(len(body) + 1):
        stream = wide.next_stream()
        await wide.send(
            opens(stream, b"/probe.Probe/Chat"),
            data(stream, body[:at]),
            data(stream, body[at:], end=True),
        )
        assert (await wide.answer(stream)).messages == [b"ab", b"", b"c"]
    stream = wide.next_stream()
    await wide.send(
        opens(stream, b"/probe.Probe/Chat"),
        *(data(stream, bytes([each])) for each in body),
        headers(stream, literal(b"x-trailer", b"1"), end=True),
    )
    assert (await wide.answer(stream)).messages == [b"ab", b"", b"c"]


async def test_streams_beyond_the_limit_are_refused_and_the_rest_go_on() -> None:
    few = ServerSettings(max_concurrent_rpcs=16, drain_s=0, log_requests=False)
    async with probe_site("http2", few) as site, ready_peer(site.address) as peer:
        limit = peer.settings[Setting.MAX_CONCURRENT_STREAMS]
        opened = [peer.next_stream() for _ in range(limit)]
        # Open, and without a message yet.
        await peer.send(*(opens(each) for each in opened))
        beyond = [peer.next_stream() for _ in range(5)]
        await peer.send(*(request(each, b"x") for each in beyond))
        for each in beyond:
            # Section 8.7: what was refused was not begun and may be asked again.
            assert (await peer.answer(each)).code == Code.REFUSED_STREAM
        for each in opened:
            await peer.send(data(each, message(b"y"), end=True))
            assert (await peer.answer(each)).messages == [b"y"]
        await peer.asks()


async def test_what_runs_ends_after_its_client_has_said_goodbye(site: Site, wide: Peer) -> None:
    await wide.send(request(1, b"held", b"/probe.Probe/Hold"))
    await eventually(lambda: site.probe.waiting == 1)
    await wide.send(goaway())
    site.probe.release.set()
    assert (await wide.answer(1)).messages == [b"held"]


@pytest.mark.parametrize("how", ["closes", "aborts"])
async def test_what_a_client_leaves_behind_is_cancelled(site: Site, how: str) -> None:
    before = site.probe.cancelled
    async with ready_peer(site.address) as peer:
        await peer.send(
            *(request(stream, b"", b"/probe.Probe/Wait") for stream in range(1, 21, 2)),
            opens(21, b"/probe.Probe/Sum"),
        )
        await eventually(lambda: site.probe.waiting == 10)
        peer.abort() if how == "aborts" else peer.close()
        await eventually(lambda: site.probe.cancelled == before + 10)


async def test_settings_and_pings_are_answered_in_the_midst_of_a_stream(wide: Peer) -> None:
    stream = wide.next_stream()
    await wide.send(endless(stream, 10_000))
    answer = wide.answers.setdefault(stream, Answer())
    for number in range(4):
        size, acks = len(answer.body), wide.settings_acks
        await wide.until(lambda size=size: len(answer.body) > size)  # type: ignore[misc]
        await wide.send(settings({0xABCD: number}), ping(b"%8d" % number))
        await wide.until(
            lambda acks=acks, number=number: (
                wide.settings_acks == acks + 1  # type: ignore[misc]
                and b"%8d" % number in wide.pongs
            )
        )
    await wide.send(reset(stream))
    await wide.asks()
