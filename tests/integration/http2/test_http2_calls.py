"""Calls of gRPC's own client: what is sent is what is answered, whatever serves it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from random import Random

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from simcloud.errors import InvalidRequest, Overloaded
from simcloud.rpc.channel import connect
from simcloud.rpc.status import client_errors
from support.eventually import eventually
from support.http2_probe import SERVERS, Site, only_ours, probe_site

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.usefixtures("nothing_is_left"),
]

KIB = 1024
MIB = 1024 * KIB
# What a message and its prefix of five bytes need to fit or not to fit into frames and windows.
SIZES = (0, 1, 16_378, 16_379, 16_380, 65_529, 65_530, 65_531, MIB, 16 * MIB)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=SERVERS)
async def site(request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    async with probe_site(request.param) as running:
        yield running


def unary(channel: grpc.aio.Channel, name: str) -> grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]:
    return channel.unary_unary(f"/probe.Probe/{name}")


def stream_out(
    channel: grpc.aio.Channel, name: str
) -> grpc.aio.UnaryStreamMultiCallable[bytes, bytes]:
    return channel.unary_stream(f"/probe.Probe/{name}")


def stream_in(
    channel: grpc.aio.Channel, name: str
) -> grpc.aio.StreamUnaryMultiCallable[bytes, bytes]:
    return channel.stream_unary(f"/probe.Probe/{name}")


def both(channel: grpc.aio.Channel, name: str) -> grpc.aio.StreamStreamMultiCallable[bytes, bytes]:
    return channel.stream_stream(f"/probe.Probe/{name}")


@pytest.mark.parametrize("size", SIZES)
async def test_a_message_of_any_size_comes_back(channel: grpc.aio.Channel, size: int) -> None:
    sent = (bytes(range(251)) * (size // 251 + 1))[:size]
    assert await unary(channel, "Echo")(sent, timeout=60) == sent


@pytest.mark.parametrize(("number", "size"), [(0, 0), (1, 0), (300, 10), (20, 300 * KIB)])
async def test_all_messages_of_a_stream_arrive_in_their_order(
    channel: grpc.aio.Channel, number: int, size: int
) -> None:
    call = stream_out(channel, "Count")(b"%d %d" % (number, size), timeout=60)
    got = [each async for each in call]
    assert got == [bytes([each % 251]) * size for each in range(number)]
    assert await call.code() is grpc.StatusCode.OK


@pytest.mark.parametrize(("number", "size"), [(0, 0), (3, 0), (300, 10), (20, 300 * KIB)])
async def test_a_method_reads_all_messages_of_its_caller(
    channel: grpc.aio.Channel, number: int, size: int
) -> None:
    def messages() -> Iterator[bytes]:
        return (bytes(size) for _ in range(number))

    assert await stream_in(channel, "Sum")(messages(), timeout=60) == (
        b"%d %d" % (number, number * size)
    )


@pytest.mark.parametrize("name", ["Chat", "ChatByHand"])
async def test_a_chat_goes_to_and_fro(channel: grpc.aio.Channel, name: str) -> None:
    call = both(channel, name)(timeout=60)
    for each in (b"", b"a", bytes(100 * KIB), b"z"):
        await call.write(each)
        assert await call.read() == each
    # Half-closed by the caller: the method's stream ends, what it still sends arrives.
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_messages_sent_before_the_half_close_are_all_answered_after_it(
    channel: grpc.aio.Channel,
) -> None:
    sent = [b"%d" % each for each in range(100)]
    call = both(channel, "Chat")(iter(sent), timeout=60)
    assert [each async for each in call] == sent


@only_ours
async def test_a_thousand_calls_at_once_get_their_own_answers(channel: grpc.aio.Channel) -> None:
    echo = unary(channel, "Echo")
    sent = [b"%d" % each for each in range(1000)]
    got = await asyncio.gather(*(echo(each, timeout=60) for each in sent))
    assert got == sent


@only_ours
async def test_two_hundred_streams_at_once_get_their_own_answers(
    channel: grpc.aio.Channel,
) -> None:
    async def chats(number: int) -> None:
        sent = [b"%d" % number * 700, b"%d" % -number]
        call = both(channel, "Chat")(timeout=60)
        for each in sent:
            await call.write(each)
            assert await call.read() == each
        await call.done_writing()
        assert await call.code() is grpc.StatusCode.OK

    async with asyncio.TaskGroup() as group:
        for number in range(200):
            group.create_task(chats(number))


async def test_a_large_message_does_not_hold_up_a_small_one(
    site: Site, channel: grpc.aio.Channel
) -> None:
    held = both(channel, "HoldStream")(timeout=60)
    await held.write(bytes(4 * MIB))
    await held.read()
    assert await unary(channel, "Echo")(b"small", timeout=60) == b"small"
    site.probe.release.set()
    await held.done_writing()
    assert await held.code() is grpc.StatusCode.OK


async def test_a_message_over_the_limit_is_refused_and_the_connection_goes_on(
    site: Site,
) -> None:
    options = (("grpc.max_send_message_length", -1),)
    async with grpc.aio.insecure_channel(site.address, options=options) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await unary(channel, "Echo")(bytes(16 * MIB + 1), timeout=60)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(Overloaded), client_errors():
            await stream_in(channel, "Sum")(iter([b"", bytes(17 * MIB)]), timeout=60)
        assert await unary(channel, "Echo")(b"still here", timeout=60) == b"still here"


async def test_an_answer_over_the_limit_is_refused(site: Site) -> None:
    options = (("grpc.max_receive_message_length", -1),)
    async with grpc.aio.insecure_channel(site.address, options=options) as channel:
        call = stream_out(channel, "Count")(b"1 %d" % (16 * MIB + 1), timeout=60)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call.read()
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize(
    "path", ["/probe.Probe/Nothing", "/probe.Nobody/Echo", "/", "/probe.Probe/", "/a/b/c", "/ä"]
)
async def test_an_unknown_method_is_unimplemented(channel: grpc.aio.Channel, path: str) -> None:
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call(b"", timeout=60)
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_what_a_client_compresses_is_understood(
    site: Site, compression: grpc.Compression
) -> None:
    async with grpc.aio.insecure_channel(site.address, compression=compression) as channel:
        for size in (0, 1, 100 * KIB):
            assert await unary(channel, "Echo")(bytes(size), timeout=60) == bytes(size)
        sums = stream_in(channel, "Sum")(iter([b"", bytes(999), b"abc"]), timeout=60)
        assert await sums == b"3 1002"


@pytest.mark.parametrize("code", [each for each in grpc.StatusCode if each.value[0]])
async def test_a_status_arrives_as_it_was_given(
    channel: grpc.aio.Channel, code: grpc.StatusCode
) -> None:
    text = f"100 % Ünsinn, 日本\n\t{code.name}\x7f~"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await unary(channel, "Abort")(f"{code.name} {text}".encode(), timeout=60)
    assert (refused.value.code(), refused.value.details()) == (code, text)
    trailers = tuple(refused.value.trailing_metadata() or ())
    assert ("why", "asked to") in trailers
    assert ("why-bin", b"\x00\xff") in trailers


async def test_a_status_set_without_an_abort_arrives(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await unary(channel, "SetCode")(b"x", timeout=60)
    assert refused.value.code() is grpc.StatusCode.OUT_OF_RANGE
    assert refused.value.details() == "no further"


async def test_an_error_of_ours_arrives_with_its_details(channel: grpc.aio.Channel) -> None:
    problem = "must be ≥ 0 " + "ж" * 600
    with pytest.raises(InvalidRequest) as refused, client_errors():
        await unary(channel, "RaiseOurs")(problem.encode(), timeout=60)
    assert refused.value.parts().field == "shard"
    assert "must be ≥ 0" in refused.value.parts().problem


async def test_a_method_that_fails_ends_its_own_call_alone(channel: grpc.aio.Channel) -> None:
    held = both(channel, "Chat")(timeout=60)
    await held.write(b"1")
    assert await held.read() == b"1"
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await unary(channel, "Raise")(b"", timeout=60)
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    # What went wrong inside is the log's, not the caller's.
    assert "a bug of" not in (failed.value.details() or "")
    await held.write(b"2")
    assert await held.read() == b"2"
    await held.done_writing()
    assert await held.code() is grpc.StatusCode.OK


async def test_what_was_sent_before_an_abort_arrives_before_it(channel: grpc.aio.Channel) -> None:
    call = stream_out(channel, "AbortMidway")(b"20", timeout=60)
    assert [await call.read() for _ in range(20)] == [bytes([each]) for each in range(20)]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call.read()
    assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.ABORTED, "enough")


async def test_a_status_before_the_last_message_ends_the_call(channel: grpc.aio.Channel) -> None:
    # Nothing is written meanwhile: a write that meets the status is INTERNAL to gRPC's client.
    call = stream_in(channel, "Refuse")(timeout=60)
    assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert await unary(channel, "Echo")(b"still here", timeout=60) == b"still here"


async def test_what_one_caller_cancels_reaches_its_method_alone(
    site: Site, channel: grpc.aio.Channel
) -> None:
    before, done = site.probe.cancelled, site.probe.done
    calls = [unary(channel, "Wait")(b"", timeout=60) for _ in range(3)]
    await eventually(lambda: site.probe.waiting == 3)
    calls[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await calls[1]
    await eventually(lambda: site.probe.cancelled == before + 1)
    await eventually(lambda: site.probe.done == done + 1)
    assert site.probe.waiting == 2
    for each in calls:
        each.cancel()
    await eventually(lambda: site.probe.cancelled == before + 3)
    await eventually(lambda: site.probe.done == done + 3)


async def test_a_stream_that_its_caller_leaves_ends_its_method(
    site: Site, channel: grpc.aio.Channel
) -> None:
    before = site.probe.cancelled
    call = stream_out(channel, "Endless")(b"1000", timeout=60)
    for _ in range(5):
        assert await call.read() == bytes(1000)
    call.cancel()
    await eventually(lambda: site.probe.cancelled == before + 1)


async def test_a_client_that_closes_its_channel_cancels_its_calls(site: Site) -> None:
    before = site.probe.cancelled
    async with connect(site.address) as own:
        waits = unary(own, "Wait")(b"", timeout=60)
        await eventually(lambda: site.probe.waiting == 1)
    with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
        await waits
    await eventually(lambda: site.probe.cancelled == before + 1)


async def test_a_deadline_ends_the_method_too(site: Site, channel: grpc.aio.Channel) -> None:
    before, asked = site.probe.cancelled, 0
    while site.probe.cancelled == before:
        # Again when a busy machine took all of the time before the method was called.
        asked += 1
        with pytest.raises(grpc.aio.AioRpcError) as late:
            await unary(channel, "Wait")(b"", timeout=0.2)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await site.is_settled()
    assert site.probe.cancelled <= before + asked


async def test_a_deadline_ends_a_stream_too(site: Site, channel: grpc.aio.Channel) -> None:
    before, asked = site.probe.cancelled, 0
    while site.probe.cancelled == before:
        # Again when a busy machine took all of the time before the method was called.
        asked += 1
        call = both(channel, "HoldStream")(timeout=0.3)
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await call.write(b"1")
            assert await call.read() == b"1"
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await site.is_settled()
    assert site.probe.cancelled <= before + asked


async def test_a_deadline_that_has_passed_calls_nothing(
    site: Site, channel: grpc.aio.Channel
) -> None:
    before = site.probe.called
    with pytest.raises(grpc.aio.AioRpcError) as late:
        await unary(channel, "Echo")(b"", timeout=-1)
    assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert site.probe.called == before


async def test_a_method_knows_how_long_it_has(channel: grpc.aio.Channel) -> None:
    remaining = float(await unary(channel, "Remaining")(b"", timeout=3600))
    # On the wire a timeout has few digits, and gRPC's clients round up.
    assert 3500 < remaining <= 3660
    assert await unary(channel, "Remaining")(b"") == b"None"


async def test_callers_that_come_and_go_as_they_like_get_their_own_and_leave_nothing(
    site: Site, channel: grpc.aio.Channel
) -> None:
    """Answered, cancelled, late and refused calls, all mixed on one connection."""

    async def one(number: int) -> None:
        random = Random(number)
        own = b"%d " % number * random.choice((1, 100, 20_000))
        match number % 5:
            case 0:
                assert await unary(channel, "Echo")(own, timeout=60) == own
            case 1:
                call = both(channel, "Chat")(iter([own] * 3), timeout=60)
                assert [each async for each in call] == [own] * 3
            case 2:
                stream = stream_out(channel, "Endless")(b"%d" % random.randint(0, 9999), timeout=60)
                for _ in range(random.randint(0, 5)):
                    await stream.read()
                stream.cancel()
            case 3:
                with pytest.raises(grpc.aio.AioRpcError) as late:
                    await unary(channel, "Wait")(own, timeout=random.uniform(0.001, 0.2))
                assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            case 4:
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await unary(channel, "Abort")(b"ABORTED %d" % number, timeout=60)
                assert refused.value.details() == str(number)

    async with asyncio.TaskGroup() as group:
        for number in range(150):
            group.create_task(one(number))
