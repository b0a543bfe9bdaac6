"""How a connection begins, and frames about it (RFC 9113, sections 3.4 and 6.5 to 6.10).

The cases are h2spec's, and some more. Where gRPC's own server is less strict, ours alone has them.
"""

from __future__ import annotations

import struct

import pytest

from support.http2_cases import (
    BLOCK,
    BODY,
    OPEN,
    PROTOCOL,
    WAITS,
    WHOLE,
    Case,
    cases,
    comes_out,
)
from support.http2_frames import (
    ACK,
    END_HEADERS,
    FRAME_BYTES,
    MOST,
    PREFACE,
    Code,
    Kind,
    Setting,
    continuation,
    data,
    frame,
    headers,
    ping,
    request,
    settings,
    window,
)
from support.http2_peer import Peer, peer_of, ready_peer
from support.http2_probe import Site

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("nothing_is_left"),
]

SIZE = (Code.FRAME_SIZE_ERROR,)
FLOW = (Code.FLOW_CONTROL_ERROR,)


FRAMES = [
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
