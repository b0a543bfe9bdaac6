"""Frames of calls, one by one: what RFC 9113 says of each, right or wrong (sections 4 to 6.4).

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
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    PADDED,
    Code,
    Kind,
    continuation,
    data,
    frame,
    headers,
    message,
    priority,
    request,
    reset,
    window,
)
from support.http2_peer import Peer, ready_peer
from support.http2_probe import Site

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("nothing_is_left"),
]

CLOSED = (Code.STREAM_CLOSED,)
CLOSED_OR_PROTOCOL = (Code.STREAM_CLOSED, Code.PROTOCOL_ERROR)
SIZE = (Code.FRAME_SIZE_ERROR,)


def unknown(stream: int = 0) -> bytes:
    return frame(0xBE, 0xFF, stream, b"whatever")


# Of what is too large the beginning is sent: a server that closes before it has read all of it
# makes TCP drop its GOAWAY.
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
]


@cases(FRAMES)
async def test_a_frame_is_taken_as_the_rules_say(site: Site, bystander: Peer, case: Case) -> None:
    async with ready_peer(site.address) as peer:
        await comes_out(site, case, peer)
    await bystander.asks()
