"""Frames one by one: what RFC 9113 says of each, right or wrong (sections 3 to 7).

The cases are h2spec's, and some more. Where gRPC's own server is less strict, ours alone has them.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.http2_cases import Case, cases, comes_out
from support.http2_frames import (
    ACK,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    MOST,
    PADDED,
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
from support.http2_hpack import block
from support.http2_peer import Peer, peer_of, ready_peer
from support.http2_probe import PEERS, Site, probe_site

pytestmark = pytest.mark.asyncio(loop_scope="module")

BLOCK = block(fields())
BODY = data(1, message(b"x"), end=True)
OPEN = opens(1)
WAITS = opens(1, b"/probe.Probe/Chat")
WHOLE = request(1, b"x")
PROTOCOL = (Code.PROTOCOL_ERROR,)
CLOSED = (Code.STREAM_CLOSED,)
CLOSED_OR_PROTOCOL = (Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)
SIZE = (Code.FRAME_SIZE_ERROR,)
# Of what is too large the beginning is sent: a server that closes before it has read all of it
# makes TCP drop its GOAWAY.
FLOW = (Code.FLOW_CONTROL_ERROR,)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=PEERS)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with probe_site(request.param) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bystander(site: Site) -> AsyncIterator[Peer]:
    """Who was there before, and goes on being served."""
    async with ready_peer(site.address) as peer:
        yield peer


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def _nothing_is_left(site: Site) -> AsyncIterator[None]:
    yield
    await site.is_settled()


def unknown(stream: int = 0) -> bytes:
    return frame(0xBE, 0xFF, stream, b"whatever")


FRAMES = [
    Case("4.1", "a frame of an unknown type is ignored", (unknown(), WHOLE), "served"),
    Case("4.1", "also on a stream", (OPEN, unknown(1), BODY), "served"),
    Case("4.1", "and on one that is idle", (unknown(77), WHOLE), "served"),
    Case(
        "4.1",
        "flags that mean nothing are ignored",
        (frame(Kind.PING, 0xFE, 0, bytes(8)), WHOLE),
        "served",
        strict=True,
    ),
    Case(
        "4.1",
        "the reserved bit is ignored",
        (
            frame(Kind.HEADERS, END_HEADERS, 1 | 1 << 31, BLOCK),
            frame(Kind.DATA, END_STREAM, 1 | 1 << 31, message(b"x")),
        ),
        "served",
    ),
    Case(
        "4.2",
        "DATA of 16,384 octets is taken",
        (OPEN, data(1, message(bytes(FRAME_BYTES - 5)), end=True)),
        "ignored",
    ),
    Case(
        "4.2",
        "DATA beyond the largest frame",
        (OPEN, data(1, bytes((1 << 24) - 1))[:999]),
        "stream",
        SIZE,
        strict=True,
    ),
    Case(
        "4.2",
        "HEADERS beyond the largest frame",
        (headers(1, BLOCK + bytes((1 << 24) - 1 - len(BLOCK)))[:999],),
        "connection",
        SIZE,
    ),
    Case(
        "4.3",
        "a block that is none",
        (headers(1, b"\xff\xff\xff\xff\xff\xff", end=True),),
        "connection",
        (Code.COMPRESSION_ERROR,),
    ),
    Case(
        "4.3",
        "PRIORITY within a header block",
        (headers(1, BLOCK, end_headers=False), priority(1), continuation(1, b""), BODY),
        "connection",
        PROTOCOL,
    ),
    Case(
        "4.3",
        "HEADERS of another stream within a header block",
        (headers(1, BLOCK, end_headers=False), headers(3, BLOCK)),
        "connection",
        PROTOCOL,
    ),
    Case("5.1", "DATA on an idle stream", (data(1, b"x"),), "connection", PROTOCOL, strict=True),
    Case("5.1", "RST_STREAM on an idle stream", (reset(1),), "connection", PROTOCOL, strict=True),
    Case(
        "5.1",
        "WINDOW_UPDATE on an idle stream",
        (window(1, 9),),
        "connection",
        PROTOCOL,
        strict=True,
    ),
    Case(
        "5.1", "CONTINUATION on an idle stream", (continuation(1, BLOCK),), "connection", PROTOCOL
    ),
    Case("5.1", "DATA after END_STREAM", (WHOLE, data(1, b"x")), "stream", CLOSED, strict=True),
    Case(
        "5.1", "HEADERS after END_STREAM", (WHOLE, OPEN), "stream", CLOSED_OR_PROTOCOL, strict=True
    ),
    Case(
        "5.1",
        "CONTINUATION after END_STREAM",
        (WHOLE, continuation(1, BLOCK)),
        "connection",
        CLOSED_OR_PROTOCOL,
    ),
    Case(
        "5.1", "DATA after a reset", (WAITS, reset(1), data(1, b"x")), "stream", CLOSED, strict=True
    ),
    Case(
        "5.1",
        "HEADERS after a reset",
        (WAITS, reset(1), OPEN),
        "stream",
        CLOSED_OR_PROTOCOL,
        strict=True,
    ),
    Case(
        "5.1",
        "CONTINUATION after a reset",
        (WAITS, reset(1), continuation(1, BLOCK)),
        "connection",
        CLOSED_OR_PROTOCOL,
    ),
    Case("5.1", "WINDOW_UPDATE after a reset is taken", (WAITS, reset(1), window(1, 9)), "ignored"),
    Case("5.1", "a second reset is taken", (WAITS, reset(1), reset(1)), "ignored"),
    Case("5.1", "PRIORITY after a reset is taken", (WAITS, reset(1), priority(1)), "ignored"),
    Case("5.1", "WINDOW_UPDATE after END_STREAM is taken", (WHOLE, window(1, 9)), "served"),
    Case("5.1", "PRIORITY after END_STREAM is taken", (WHOLE, priority(1)), "served"),
    Case(
        "5.1.1",
        "an even stream",
        (headers(2, BLOCK), data(2, message(b"x"), end=True)),
        "connection",
        PROTOCOL,
        strict=True,
    ),
    Case(
        "5.1.1",
        "a stream below one that was opened",
        (request(5, b"x"), request(3, b"x")),
        "connection",
        CLOSED_OR_PROTOCOL,
        strict=True,
    ),
    Case("5.1.1", "streams may be left out", (request(1, b"x"), request(501, b"x")), "served"),
    Case(
        "5.5",
        "an unknown frame within a header block",
        (headers(1, BLOCK, end_headers=False), unknown(1), continuation(1, b""), BODY),
        "connection",
        PROTOCOL,
    ),
    Case("6.1", "DATA on stream 0", (data(0, b"x"),), "connection", PROTOCOL, strict=True),
    Case("6.1", "empty DATA", (OPEN, data(1), data(1), BODY), "served"),
    Case("6.1", "an empty DATA ends", (OPEN, data(1, message(b"x")), data(1, end=True)), "served"),
    *(
        Case(
            "6.1",
            f"DATA padded by {pad}",
            (OPEN, data(1, message(b"x"), end=True, pad=pad)),
            "served",
            strict=True,
        )
        for pad in (0, 1, 255)
    ),
    Case(
        "6.1",
        "more padding than DATA",
        (OPEN, frame(Kind.DATA, PADDED, 1, b"\x05abcd")),
        "connection",
        PROTOCOL,
        strict=True,
    ),
    Case(
        "6.1",
        "padding without its length",
        (OPEN, frame(Kind.DATA, PADDED, 1)),
        "connection",
        (*PROTOCOL, *SIZE),
        strict=True,
    ),
    *(
        Case(
            "6.2",
            f"HEADERS padded by {pad}",
            (headers(1, BLOCK, pad=pad), BODY),
            "served",
            strict=True,
        )
        for pad in (0, 1, 255)
    ),
    Case(
        "6.2",
        "HEADERS with a priority",
        (headers(1, BLOCK, priority=struct.pack(">IB", 1 << 31 | 5, 200)), BODY),
        "served",
    ),
    Case(
        "6.2",
        "HEADERS with a priority and padding",
        (headers(1, BLOCK, priority=bytes(5), pad=7), BODY),
        "served",
        strict=True,
    ),
    Case("6.2", "HEADERS on stream 0", (headers(0, BLOCK),), "connection", PROTOCOL, strict=True),
    Case(
        "6.2",
        "more padding than HEADERS",
        (frame(Kind.HEADERS, PADDED | END_HEADERS, 1, bytes([200]) + BLOCK[:100]),),
        "connection",
        PROTOCOL,
    ),
    Case(
        "6.2",
        "HEADERS too short for their priority",
        (frame(Kind.HEADERS, 0x20 | END_HEADERS, 1, bytes(4)),),
        "connection",
        (*SIZE, *PROTOCOL),
    ),
    Case(
        "6.2",
        "DATA within a header block",
        (headers(1, BLOCK, end_headers=False), BODY),
        "connection",
        PROTOCOL,
    ),
    Case("6.3", "PRIORITY is ignored", (priority(1), priority(9, 1), WHOLE), "served"),
    Case("6.3", "PRIORITY on stream 0", (priority(0),), "connection", PROTOCOL, strict=True),
    Case(
        "6.3",
        "PRIORITY of 4 octets",
        (OPEN, frame(Kind.PRIORITY, 0, 1, bytes(4))),
        "stream",
        SIZE,
        strict=True,
    ),
    Case("6.4", "RST_STREAM on stream 0", (reset(0),), "connection", PROTOCOL, strict=True),
    Case(
        "6.4",
        "RST_STREAM of 3 octets",
        (OPEN, frame(Kind.RST_STREAM, 0, 1, bytes(3))),
        "connection",
        SIZE,
    ),
    Case(
        "6.4", "RST_STREAM with a code that nobody knows", (WAITS, reset(1, 0xABCDEF01)), "ignored"
    ),
    Case(
        "6.5",
        "SETTINGS that acknowledge with a payload",
        (frame(Kind.SETTINGS, ACK, 0, bytes(6)),),
        "connection",
        SIZE,
    ),
    Case("6.5", "SETTINGS on a stream", (OPEN, frame(Kind.SETTINGS, 0, 1)), "connection", PROTOCOL),
    Case(
        "6.5", "SETTINGS of 5 octets", (frame(Kind.SETTINGS, 0, 0, bytes(5)),), "connection", SIZE
    ),
    Case(
        "6.5",
        "an acknowledgement that nobody waits for",
        (frame(Kind.SETTINGS, ACK, 0), WHOLE),
        "served",
        strict=True,
    ),
    Case(
        "6.5.2", "ENABLE_PUSH of 2", (settings({Setting.ENABLE_PUSH: 2}),), "connection", PROTOCOL
    ),
    Case(
        "6.5.2",
        "INITIAL_WINDOW_SIZE beyond 2^31 - 1",
        (settings({Setting.INITIAL_WINDOW_SIZE: MOST + 1}),),
        "connection",
        FLOW,
    ),
    *(
        Case(
            "6.5.2",
            f"MAX_FRAME_SIZE of {size}",
            (settings({Setting.MAX_FRAME_SIZE: size}),),
            "connection",
            PROTOCOL,
        )
        for size in (FRAME_BYTES - 1, 1 << 24)
    ),
    Case("6.5.2", "a setting that nobody knows", (settings({0xABCD: 7}), WHOLE), "served"),
    Case("6.5.2", "no settings", (settings(), WHOLE), "served"),
    Case(
        "6.6",
        "PUSH_PROMISE from a client",
        (OPEN, frame(Kind.PUSH_PROMISE, END_HEADERS, 1, struct.pack(">I", 2) + BLOCK)),
        "connection",
        PROTOCOL,
        strict=True,
    ),
    Case(
        "6.7",
        "PING on a stream",
        (OPEN, frame(Kind.PING, 0, 1, bytes(8))),
        "connection",
        PROTOCOL,
        strict=True,
    ),
    *(
        Case("6.7", f"PING of {size} octets", (ping(bytes(size)),), "connection", SIZE)
        for size in (0, 7, 9)
    ),
    Case("6.7", "a pong that nobody waits for", (ping(b"nobodys.", ack=True), WHOLE), "served"),
    Case(
        "6.8",
        "GOAWAY on a stream",
        (OPEN, frame(Kind.GOAWAY, 0, 1, bytes(8))),
        "connection",
        PROTOCOL,
        strict=True,
    ),
    Case("6.8", "GOAWAY of 7 octets", (frame(Kind.GOAWAY, 0, 0, bytes(7)),), "connection", SIZE),
    Case("6.9", "WINDOW_UPDATE by 0", (window(0, 0),), "connection", PROTOCOL),
    Case(
        "6.9",
        "WINDOW_UPDATE of a stream by 0",
        (WAITS, window(1, 0)),
        "stream",
        PROTOCOL,
        strict=True,
    ),
    Case(
        "6.9",
        "WINDOW_UPDATE of 3 octets",
        (frame(Kind.WINDOW_UPDATE, 0, 0, bytes(3)),),
        "connection",
        SIZE,
    ),
    Case(
        "6.9",
        "WINDOW_UPDATE with the reserved bit",
        (OPEN, window(1, 1 << 31 | 1), BODY),
        "served",
        strict=True,
    ),
    Case(
        "6.9.1",
        "a connection's window beyond 2^31 - 1",
        (window(0, MOST), window(0, MOST)),
        "connection",
        FLOW,
        strict=True,
    ),
    Case(
        "6.9.1",
        "a stream's window beyond 2^31 - 1",
        (WAITS, window(1, MOST), window(1, MOST)),
        "stream",
        FLOW,
        strict=True,
    ),
    Case(
        "6.9.2",
        "settings that take a stream's window beyond 2^31 - 1",
        (
            WAITS,
            window(1, MOST - (1 << 24)),
            settings({Setting.INITIAL_WINDOW_SIZE: (1 << 24) + 1}),
        ),
        "connection",
        FLOW,
        strict=True,
    ),
    Case(
        "6.10",
        "CONTINUATIONs",
        (
            headers(1, BLOCK[:9], end_headers=False),
            continuation(1, BLOCK[9:50], end_headers=False),
            continuation(1, b"", end_headers=False),
            continuation(1, BLOCK[50:]),
            BODY,
        ),
        "served",
    ),
    Case(
        "6.10",
        "an empty HEADERS with CONTINUATION",
        (headers(1, b"", end_headers=False), continuation(1, BLOCK), BODY),
        "served",
    ),
    Case(
        "6.10",
        "CONTINUATION on stream 0",
        (headers(1, BLOCK, end_headers=False), continuation(0, b"")),
        "connection",
        PROTOCOL,
    ),
    Case(
        "6.10",
        "CONTINUATION of another stream",
        (headers(1, BLOCK, end_headers=False), continuation(3, b"")),
        "connection",
        PROTOCOL,
    ),
    Case(
        "6.10",
        "CONTINUATION after a whole block",
        (OPEN, continuation(1, b"")),
        "connection",
        PROTOCOL,
    ),
    Case(
        "6.10",
        "CONTINUATION after DATA",
        (OPEN, data(1, b"\0"), continuation(1, b"")),
        "connection",
        PROTOCOL,
    ),
]


@cases(FRAMES)
async def test_a_frame_is_taken_as_the_rules_say(site: Site, bystander: Peer, case: Case) -> None:
    async with ready_peer(site.address) as peer:
        await comes_out(site, case, peer)
    await bystander.asks()


@pytest.mark.parametrize(
    "greeting",
    [
        b"GET / HTTP/1.1\r\nhost: probe\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + settings(),
        bytes(100),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + bytes(512),
        PREFACE + ping(),
        PREFACE + request(1, b"x"),
        PREFACE + frame(Kind.SETTINGS, ACK, 0),
    ],
)
async def test_who_begins_otherwise_is_sent_away(site: Site, greeting: bytes) -> None:
    # Section 3.4: a connection error, whose GOAWAY may be left out if it is no HTTP/2 at all.
    async with peer_of(site.address, greeting=greeting) as peer:
        assert await peer.ends() in {Code.PROTOCOL_ERROR, None}
    await site.is_served()
