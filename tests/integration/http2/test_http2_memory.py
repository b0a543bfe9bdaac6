"""What callers leave half sent, or don't take: bounded for the whole server, and given back."""

from __future__ import annotations

import asyncio
import gzip
import os
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest
import structlog

from support.eventually import eventually
from support.http2_frames import (
    FRAME_BYTES,
    Code,
    Setting,
    data,
    message,
    opens,
    request,
    reset,
    settings,
    window,
)
from support.http2_memory import (
    BOUND,
    CLOSED,
    COUNT,
    DEADLINE,
    DEAF,
    ECHO,
    EXHAUSTED,
    KIB,
    LARGE,
    LIMITS,
    MIB,
    ONCE,
    asks,
    serving,
    stops_short,
)
from support.http2_peer import Answer, Peer, peer_of, ready_peer


async def goes_on(peer: Peer, sent: dict[int, int], payload: bytes) -> None:
    """Sends more of such messages, where there is more room by now."""
    whole = message(payload)[:-100]
    await peer.pinged()
    for stream in sent:
        answer = peer.answers.setdefault(stream, Answer())
        if not (answer.ended or answer.code is not None):
            sent[stream] += await peer.pours(stream, whole[sent[stream] :], until_full=True)


@pytest.mark.parametrize("window_bytes", [64 * KIB, MIB], ids=["granted", "within its window"])
async def test_requests_that_never_end_leave_room_for_those_that_do(window_bytes: int) -> None:
    async with serving(replace(LIMITS, stream_window_bytes=window_bytes)) as served:
        before = resident_bytes()
        async with AsyncExitStack() as stack:
            honest = await stack.enter_async_context(ready_peer(served.address))
            peers = [await stack.enter_async_context(ready_peer(served.address)) for _ in range(4)]
            sent: list[dict[int, int]] = [{} for _ in peers]
            with structlog.testing.capture_logs() as lines:
                for _ in range(16):
                    for peer, streams in zip(peers, sent, strict=True):
                        stream = peer.next_stream()
                        await peer.send(opens(stream, ECHO))
                        streams[stream] = 0
                        await goes_on(peer, streams, LARGE)
                        assert served.held("received") <= BOUND
                    await asks(honest)
                # It has to wait until some of them have given way.
                await asks(honest, LARGE)
            assert any("held memory" in line["event"] and line["peers"] for line in lines)
            await peers[0].pinged()
            codes = {each.grpc_status for each in peers[0].answers.values() if each.ended}
            assert codes <= {EXHAUSTED}
            assert served.held("received") > 0
            assert resident_bytes() - before < 8 * BOUND
        await served.is_free()
        async with ready_peer(served.address) as peer:
            await asks(peer, LARGE)


async def test_a_stream_whose_messages_are_taken_stays_though_others_stand_still() -> None:
    async with serving() as served, AsyncExitStack() as stack:
        busy = await stack.enter_async_context(ready_peer(served.address))
        stream = busy.next_stream()
        await busy.send(opens(stream, COUNT))
        still = [await stack.enter_async_context(ready_peer(served.address)) for _ in range(3)]
        for number in range(1, 13):
            for peer in still:
                await stops_short(peer, bytes(60 * KIB))
                await stops_short(peer, LARGE, COUNT)
                await peer.pinged()
            await busy.pours(stream, message(LARGE))
            await busy.until(lambda number=number: len(busy.answers[stream].messages) == number)  # type: ignore[misc]
            assert served.held("received") <= BOUND
        await busy.send(data(stream, end=True))
        assert (await busy.answer(stream)).grpc_status == 0


async def test_messages_of_nothing_that_nobody_reads_count_for_what_they_cost() -> None:
    async with serving() as served, ready_peer(served.address) as peer:
        for number in range(20):
            stream = peer.next_stream()
            await peer.send(opens(stream, DEAF))
            await eventually(lambda number=number: served.deaf == number + 1)  # type: ignore[misc]
            await peer.pours(stream, message(b"") * (FRAME_BYTES // 5) * 3)
            await peer.pinged()
            assert served.held("received") <= BOUND
        # Some were ended: a message of 5 bytes costs many times as much.
        assert any(each.grpc_status == EXHAUSTED for each in peer.answers.values())
        await peer.send(*(reset(each) for each in peer.answers))


@pytest.mark.parametrize("path", [ECHO, COUNT])
@pytest.mark.parametrize("part", ["nothing", "a part"])
async def test_a_message_that_does_not_come_ends_its_call(path: bytes, part: str) -> None:
    limits = replace(LIMITS, request_s=1.5, message_s=1.5)
    async with serving(limits) as served, ready_peer(served.address) as peer:
        with structlog.testing.capture_logs() as lines:
            stream = peer.next_stream()
            await peer.send(opens(stream, path))
            if part == "a part":
                await peer.pours(stream, message(bytes(9000))[:-1])
            if (path, part) == (COUNT, "nothing"):
                # A stream may be silent for as long as its caller likes.
                await stops_short(peer, bytes(9000), ECHO)
                await peer.answer(stream + 2)
                assert not peer.answers.get(stream, Answer()).ended
                await peer.send(reset(stream))
                return
            answer = await peer.answer(stream)
        assert answer.grpc_status == DEADLINE
        assert "1.5 s" in answer.grpc_message
        assert [line["calls"] for line in lines if line["log_level"] == "warning"] == [1]
        await asks(peer)


async def test_who_waits_for_room_until_its_time_is_over_hears_why() -> None:
    limits = replace(LIMITS, request_s=0.5, patience_s=60.0, untaken_s=60.0)
    async with serving(limits) as served, ready_peer(served.address) as peer:
        # What a servicer does not take is nothing that its caller could let go of.
        streams = [peer.next_stream() for _ in range(4)]
        for stream in streams:
            await peer.send(opens(stream, DEAF))
            await peer.pours(stream, message(LARGE), until_full=True)
        await stops_short(peer, LARGE, DEAF)
        late = await stops_short(peer, LARGE)
        answer = await peer.answer(late)
        assert answer.grpc_status == EXHAUSTED
        assert "transport_memory_bytes" in answer.grpc_message
        peer.abort()


async def test_an_answer_under_way_is_no_request_that_did_not_come() -> None:
    limits = replace(LIMITS, request_s=0.5, message_s=0.5)
    async with serving(limits) as served, peer_of(served.address, greeting=CLOSED) as peer:
        await peer.until(lambda: peer.settings_acks == 1 and bool(peer.windows))
        await peer.send(window(0, 1 << 30))
        stream, later = peer.next_stream(), peer.next_stream()
        await peer.send(opens(stream, ONCE))
        await peer.pours(stream, message(b"x"))
        await eventually(lambda: served.held("unsent") > 0)
        # Its servicer is at its end: what comes now is of no use to anybody.
        await peer.pours(stream, message(bytes(30 * KIB))[:-1])
        await peer.pinged()
        assert served.held("received") == 0
        # This one comes later and is ended, so the other one has had its time.
        await peer.send(opens(later, ECHO))
        assert (await peer.answer(later)).grpc_status == DEADLINE
        answer = peer.answers[stream]
        assert answer.code is None
        await peer.send(window(stream, MIB), data(stream, b"x", end=True))
        assert (await peer.answer(stream)).messages == [LARGE]
        assert (answer.grpc_status, answer.code) == (0, None)
        await peer.pinged()


async def test_who_takes_no_answers_is_sent_away_when_their_memory_is_full() -> None:
    async with serving() as served, AsyncExitStack() as stack:
        honest = await stack.enter_async_context(ready_peer(served.address))
        before = resident_bytes()
        with structlog.testing.capture_logs() as lines:
            deaf = []
            for _ in range(6):
                peer = await stack.enter_async_context(peer_of(served.address, greeting=CLOSED))
                await peer.until(lambda peer=peer: peer.settings_acks == 1)  # type: ignore[misc]
                await peer.send(window(0, 1 << 30))
                deaf.append(peer)
                for _ in range(4):
                    stream = peer.next_stream()
                    await peer.send(opens(stream, ECHO))
                    await peer.pours(stream, message(bytes(500_000)))
                    await peer.send(data(stream, end=True))
                await peer.pinged() if not peer.closed else None
                await asks(honest, LARGE)
                assert served.held("unsent") <= BOUND
                # The next one comes when this one has had its time.
                await asyncio.sleep(LIMITS.patience_s)
            assert await deaf[0].ends() == Code.ENHANCE_YOUR_CALM
        ended = [line for line in lines if line["event"] == "a connection was ended"]
        assert ended
        assert len({line["peer"] for line in ended}) == len(ended)
        assert resident_bytes() - before < 8 * BOUND
        await asks(honest, LARGE)


async def test_of_a_connection_that_takes_something_only_what_it_leaves_is_ended() -> None:
    async with serving() as served, peer_of(served.address, greeting=CLOSED) as peer:
        await peer.until(lambda: peer.settings_acks == 1)
        await peer.send(window(0, 1 << 30))
        left: list[int] = []
        for _ in range(24):
            stream = peer.next_stream()
            await peer.send(opens(stream, ECHO))
            await peer.pours(stream, message(bytes(500_000)))
            await peer.send(data(stream, end=True))
            left.append(stream)
            taken = peer.next_stream()
            await peer.send(request(taken, b"x", ECHO), window(taken, 100))
            assert (await peer.answer(taken)).messages == [b"x"]
            assert served.held("unsent") <= BOUND
        cut = [each for each in left if peer.answers[each].code == Code.ENHANCE_YOUR_CALM]
        assert cut
        assert set(left) > set(cut)
        await peer.send(*(window(each, 1 << 20) for each in left if each not in cut))
        for each in left:
            if each not in cut:
                assert (await peer.answer(each)).messages == [bytes(500_000)]


async def _resets(peer: Peer, stream: int) -> None:
    await peer.send(reset(stream))


async def _vanishes(peer: Peer, stream: int) -> None:
    peer.abort()


async def _breaks_the_rules(peer: Peer, stream: int) -> None:
    await peer.send(data(0, b"x"))


async def _ends_too_early(peer: Peer, stream: int) -> None:
    await peer.send(data(stream, end=True))


async def _overflows(peer: Peer, stream: int) -> None:
    await peer.send(window(stream, 0))


ENDS: Final = (_resets, _vanishes, _breaks_the_rules, _ends_too_early, _overflows)


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("path", [ECHO, COUNT, DEAF])
async def test_whatever_ends_a_call_gives_back_what_it_held(how: Any, path: bytes) -> None:
    async with serving() as served, ready_peer(served.address) as peer:
        stream = await stops_short(peer, message(bytes(20_000)) + LARGE[:-50_000], path)
        await eventually(lambda: served.held("received") > 0)
        await how(peer, stream)
        await served.is_free()


@pytest.mark.parametrize("how", [_resets, _vanishes, _breaks_the_rules])
async def test_whatever_ends_a_call_gives_back_what_it_did_not_take(how: Any) -> None:
    async with serving() as served, peer_of(served.address, greeting=CLOSED) as peer:
        await peer.until(lambda: bool(peer.windows))
        stream = peer.next_stream()
        await peer.send(opens(stream, ECHO))
        await peer.pours(stream, message(LARGE))
        await peer.send(data(stream, end=True))
        await eventually(lambda: served.held("unsent") == len(LARGE) + 5)
        # All but the last byte: the message is one piece of memory.
        await peer.send(window(stream, len(LARGE) + 4))
        await peer.pinged()
        assert served.held("unsent") == len(LARGE) + 5
        await how(peer, stream)
        await served.is_free()


async def test_a_deadline_and_a_compressed_message_give_back_what_they_held() -> None:
    packed = gzip.compress(os.urandom(300 * KIB))
    async with serving() as served, ready_peer(served.address) as peer:
        stream = peer.next_stream()
        await peer.send(opens(stream, ECHO, (b"grpc-encoding", b"gzip")))
        await peer.pours(stream, message(packed, compressed=1))
        await eventually(lambda: served.held("received") > 0)
        await peer.send(data(stream, end=True))
        assert (await peer.answer(stream)).messages == [gzip.decompress(packed)]
        await served.is_free()
        late = peer.next_stream()
        await peer.send(opens(late, DEAF, (b"grpc-timeout", b"2S")))
        await peer.pours(late, message(bytes(30_000)))
        await eventually(lambda: served.held("received") > 0)
        assert (await peer.answer(late)).grpc_status == DEADLINE


async def test_requests_that_wait_for_their_callers_to_read_are_counted() -> None:
    limits = replace(LIMITS, max_message_bytes=64 * KIB, unsent_bytes=256 * KIB)
    async with serving(limits) as served, peer_of(served.address, greeting=CLOSED) as peer:
        await peer.until(lambda: peer.settings_acks == 1)
        payload = bytes(FRAME_BYTES - 5)
        for _ in range(40):
            stream = peer.next_stream()
            await peer.send(request(stream, payload, ECHO))
            peer.counts(stream, FRAME_BYTES)
            await peer.pinged()
        assert served.held("unsent") >= limits.unsent_bytes
        assert served.held("received") > 20 * FRAME_BYTES
        await peer.send(window(0, 1 << 30), settings({Setting.INITIAL_WINDOW_SIZE: 1 << 20}))
        for each in range(1, 80, 2):
            assert (await peer.answer(each)).messages == [payload]


def resident_bytes() -> int:
    pages = Path(f"/proc/{os.getpid()}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
