"""Metadata of calls, and the few fields of a request that gRPC gives a meaning."""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import AsyncIterator, Iterable
from operator import itemgetter

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from support.eventually import eventually
from support.http2_frames import Code, data, fields, headers, message, opens
from support.http2_hpack import Field, block
from support.http2_peer import Answer, Peer, ready_peer
from support.http2_probe import Site, only_ours

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("nothing_is_left"),
]

KIB = 1024
Pairs = tuple[tuple[str, str | bytes], ...]


@pytest_asyncio.fixture(loop_scope="module")
async def peer(site: Site) -> AsyncIterator[Peer]:
    async with ready_peer(site.address) as opened:
        yield opened


async def reflected(channel: grpc.aio.Channel, pairs: Pairs) -> tuple[Pairs, Pairs]:
    method: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        "/probe.Probe/Reflect"
    )
    call = method(b"", timeout=60, metadata=grpc.aio.Metadata(*pairs))
    await call
    before = tuple(await call.initial_metadata())
    behind = tuple(await call.trailing_metadata())
    return by_key(each for each in before if each[0].startswith("x-")), by_key(behind)


def by_key(pairs: Iterable[tuple[str, str | bytes]]) -> Pairs:
    # The order among the values of one key is all that metadata has.
    return tuple(sorted(pairs, key=itemgetter(0)))


_RANDOM = random.Random(7)


@pytest.mark.parametrize(
    "pairs",
    [
        (),
        (("x-a", "b"),),
        (("x-empty", ""),),
        (("x-a", "1"), ("x-b", "2"), ("x-a", "3")),
        (("x-a-bin", bytes(range(256))), ("x-a-bin", b""), ("x-b-bin", b",")),
        *((("x-a-bin", _RANDOM.randbytes(size)),) for size in (1, 2, 3, 4, 1000)),
        (("x-marks", "".join(map(chr, range(0x21, 0x7F)))),),
        (("x-inner", "a  b"),),
        tuple((f"x-{number}", str(number)) for number in range(300)),
        (("x-long", "y" * 15_000), ("x-long", "z" * 14_000)),
    ],
)
async def test_metadata_comes_back_before_and_behind_the_answer(
    channel: grpc.aio.Channel, pairs: Pairs
) -> None:
    # Twice: what was kept in a table by the first is referred to by the second.
    for _ in range(2):
        assert await reflected(channel, pairs) == (by_key(pairs), by_key(pairs))


async def test_metadata_that_changes_with_each_call_does_not_confuse_the_tables(
    channel: grpc.aio.Channel,
) -> None:
    for number in range(50):
        pairs: Pairs = (("x-a", f"{number}" * 20), (f"x-{number % 7}-bin", b"%d" % number))
        assert await reflected(channel, pairs) == (by_key(pairs), by_key(pairs))


async def test_metadata_beyond_the_limit_is_refused_and_the_connection_goes_on(
    channel: grpc.aio.Channel,
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await reflected(channel, (("x-long", "y" * 64 * KIB),))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await reflected(channel, (("x-a", "b"),))


async def asked(peer: Peer, *more: Field, body: bytes = message(b"well?")) -> Answer:
    stream = peer.next_stream()
    await peer.send(opens(stream, b"/probe.Probe/Echo", *more), data(stream, body, end=True))
    return await peer.answer(stream)


async def test_the_answer_says_that_it_is_grpc(peer: Peer) -> None:
    answer = await asked(peer)
    assert answer.blocks[0][0] == (b":status", b"200")
    assert (answer.value(b"content-type") or b"").startswith(b"application/grpc")
    assert answer.blocks[-1][0][0] == b"grpc-status"
    assert len(answer.blocks) == 2


async def test_a_status_alone_is_trailers_alone(peer: Peer) -> None:
    stream = peer.next_stream()
    await peer.send(
        opens(stream, b"/probe.Probe/Abort"), data(stream, message(b"NOT_FOUND gone"), end=True)
    )
    answer = await peer.answer(stream)
    assert len(answer.blocks) == 1
    assert answer.value(b":status") == b"200"
    assert (answer.grpc_status, answer.grpc_message) == (5, "gone")


async def test_who_still_sends_is_told_that_nobody_listens(peer: Peer) -> None:
    """RFC 9113 section 8.1: a reset without an error, behind a whole answer."""
    stream = peer.next_stream()
    await peer.send(opens(stream, b"/probe.Probe/Refuse"))
    answer = await peer.answer(stream)
    assert answer.grpc_status == 9
    await peer.until(lambda: answer.code is not None)
    assert answer.code == Code.NO_ERROR


async def test_a_message_is_percent_encoded(peer: Peer) -> None:
    stream = peer.next_stream()
    asks = message("INTERNAL 50% ä\r\n~".encode())
    await peer.send(opens(stream, b"/probe.Probe/Abort"), data(stream, asks, end=True))
    answer = await peer.answer(stream)
    assert answer.value(b"grpc-message") == b"50%25 %C3%A4%0D%0A~"


@pytest.mark.parametrize(
    ("within", "low", "high"),
    [
        *((b"1H", 3590, 3600), (b"2M", 110, 120), (b"30S", 20, 30), (b"30000m", 20, 30)),
        *((b"30000000u", 20, 30), (b"99999999n", 0, 0.1), (b"99999999S", 1e5, 99_999_999)),
    ],
)
async def test_a_timeout_of_any_unit_is_understood(
    peer: Peer, within: bytes, low: float, high: float
) -> None:
    async def asked_for() -> Answer:
        stream = peer.next_stream()
        await peer.send(
            opens(stream, b"/probe.Probe/Remaining", (b"grpc-timeout", within)),
            data(stream, message(b""), end=True),
        )
        return await peer.answer(stream)

    answer = await asked_for()
    while answer.grpc_status == 4 and high < 1:
        # A busy machine took the whole tenth of a second.
        answer = await asked_for()
    assert answer.grpc_status == 0
    assert low < float(answer.messages[0]) <= high


async def test_a_timeout_that_has_passed_on_the_way_is_told(site: Site, peer: Peer) -> None:
    before = site.probe.cancelled
    stream = peer.next_stream()
    await peer.send(
        opens(stream, b"/probe.Probe/Wait", (b"grpc-timeout", b"1n")),
        data(stream, message(b""), end=True),
    )
    answer = await peer.answer(stream)
    assert answer.grpc_status == 4 or answer.code == Code.CANCEL
    # Whether or not the method was called, it does not go on.
    await eventually(lambda: site.probe.waiting == 0)
    assert site.probe.cancelled <= before + 1


@pytest.mark.parametrize("within", [b"", b"S", b"1", b"-1S", b"123456789S", b"1x", b"1.5S"])
async def test_a_timeout_that_is_none_harms_nobody(peer: Peer, within: bytes) -> None:
    answer = await asked(peer, (b"grpc-timeout", within))
    assert answer.grpc_status is not None or answer.code is not None
    await peer.asks()


@only_ours
async def test_another_content_type_is_no_call(site: Site, peer: Peer) -> None:
    before = site.probe.called
    stream = peer.next_stream()
    asks = [(name, b"text/html" if name == b"content-type" else value) for name, value in fields()]
    await peer.send(headers(stream, block(asks)), data(stream, message(b""), end=True))
    answer = await peer.answer(stream)
    # PROTOCOL-HTTP2.md: 415, so that clients which speak plain HTTP understand.
    assert answer.value(b":status") == b"415" or answer.grpc_status not in {None, 0}
    assert site.probe.called == before
    await peer.asks()


@pytest.mark.parametrize(
    "kind", [b"application/grpc", b"application/grpc+proto", b"application/grpc;charset=utf-8"]
)
async def test_a_content_type_of_grpc_is_a_call(peer: Peer, kind: bytes) -> None:
    stream = peer.next_stream()
    asks = [(name, kind if name == b"content-type" else value) for name, value in fields()]
    await peer.send(headers(stream, block(asks)), data(stream, message(b"x"), end=True))
    answer = await peer.answer(stream)
    assert (answer.grpc_status, answer.messages) == (0, [b"x"])


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"PUT", b"OPTIONS", b"nonsense"])
async def test_another_method_than_post_is_no_call(site: Site, peer: Peer, method: bytes) -> None:
    before = site.probe.called
    stream = peer.next_stream()
    asks = [(name, method if name == b":method" else value) for name, value in fields()]
    await peer.send(headers(stream, block(asks)), data(stream, message(b""), end=True))
    answer = await peer.answer(stream)
    assert answer.grpc_status != 0
    assert site.probe.called == before
    await peer.asks()


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [(b"gzip", gzip.compress(b"a" * 999, mtime=0)), (b"deflate", zlib.compress(b"a" * 999))],
)
async def test_compressed_and_plain_messages_mix(
    peer: Peer, encoding: bytes, packed: bytes
) -> None:
    answer = await asked(peer, (b"grpc-encoding", encoding), body=message(packed, compressed=1))
    assert answer.grpc_status == 0
    assert len(answer.messages) == 1
    answer = await asked(peer, (b"grpc-encoding", encoding))
    assert (answer.grpc_status, answer.messages) == (0, [b"well?"])


@pytest.mark.parametrize(
    ("encoding", "body", "statuses"),
    [
        # compression.md: UNIMPLEMENTED for an encoding that is not known (INTERNAL from gRPC's own
        # server), INTERNAL for a message that is compressed by none.
        (b"snappy", message(b"x", compressed=1), {12, 13}),
        (b"identity", message(b"x", compressed=1), {13}),
        (b"gzip", message(b"no gzip at all", compressed=1), {13}),
        (b"gzip", message(gzip.compress(b"a" * 999, mtime=0)[:-9], compressed=1), {13}),
        (b"deflate", message(b"\xff" * 20, compressed=1), {13}),
    ],
)
async def test_a_message_that_can_not_be_unpacked_is_refused(
    site: Site, peer: Peer, encoding: bytes, body: bytes, statuses: set[int]
) -> None:
    before = site.probe.called
    answer = await asked(peer, (b"grpc-encoding", encoding), body=body)
    assert answer.grpc_status in statuses
    assert site.probe.called == before
    await peer.asks()


@only_ours
@pytest.mark.parametrize("body", [b"", b"\0", message(b"x")[:-1], message(b"", size=7)])
async def test_a_request_that_ends_within_its_message_is_no_call(
    site: Site, peer: Peer, body: bytes
) -> None:
    before = site.probe.called
    answer = await asked(peer, body=body)
    assert answer.grpc_status not in {None, 0} or answer.code is not None
    assert site.probe.called == before
    await peer.asks()


async def test_two_messages_are_not_one_request(peer: Peer) -> None:
    answer = await asked(peer, body=message(b"1") + message(b"2"))
    assert answer.grpc_status in {0, 12, 13}
    await peer.asks()
