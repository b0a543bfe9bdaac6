"""Who may send a large message next when there is no room for all, and who gives way."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import grpc.aio

from support.eventually import eventually
from support.http2_frames import data, message, opens, reset
from support.http2_memory import (
    COUNT,
    DEAF,
    DEFAULT_WINDOW_BYTES,
    ECHO,
    KIB,
    LARGE,
    LIMITS,
    MIB,
    STEP,
    asks,
    serving,
    stops_short,
)
from support.http2_peer import Answer, Peer, ready_peer


async def test_callers_that_want_more_than_there_is_wait_for_their_turns() -> None:
    async with (
        serving(replace(LIMITS, patience_s=30.0)) as served,
        grpc.aio.insecure_channel(served.address) as channel,
    ):
        echo: Any = channel.unary_unary(ECHO.decode())
        payloads = [bytes([each]) * len(LARGE) for each in range(24)]
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(_call(echo, each)) for each in payloads]
        assert [each.result() for each in calls] == payloads


async def _call(method: Any, payload: bytes) -> bytes:
    answer: bytes = await method(payload, timeout=60)
    return answer


async def steadily(peer: Peer, payload: bytes, pause_s: float) -> Answer:
    """Sends a request in pieces, however quickly windows come; returns what is answered."""
    stream = peer.next_stream()
    await peer.send(opens(stream, ECHO))
    whole = message(payload)
    for at in range(0, len(whole), STEP):
        await peer.pours(stream, whole[at : at + STEP])
        await asyncio.sleep(pause_s)
    await peer.send(data(stream, end=True))
    return await peer.answer(stream)


async def test_callers_that_go_on_are_not_ended_though_others_wait() -> None:
    limits = LIMITS
    async with serving(limits) as served, AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(ready_peer(served.address)) for _ in range(3)]
        # Two have windows at once, for three times as long as they may stand still.
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(steadily(peer, LARGE, 0.15)) for peer in peers]
            await eventually(lambda: served.waiting() == 1)
        answers = [(each.result().grpc_status, each.result().messages) for each in calls]
        assert answers == [(0, [LARGE])] * 3


async def test_who_holds_much_has_its_turn_though_others_that_hold_less_never_cease() -> None:
    limits = replace(LIMITS, patience_s=0.3)
    async with serving(limits) as served, AsyncExitStack() as stack:
        much = await stack.enter_async_context(ready_peer(served.address))
        peers = [await stack.enter_async_context(ready_peer(served.address)) for _ in range(5)]
        answers, is_done = 0, False

        async def never_cease(peer: Peer) -> None:
            nonlocal answers
            while not is_done and answers < 60:
                assert (await steadily(peer, LARGE, 0.01)).grpc_status == 0
                answers += 1

        held = much.next_stream()
        await much.send(opens(held, DEAF))
        await much.pours(held, message(bytes(30 * KIB)))
        async with asyncio.TaskGroup() as group:
            for peer in peers:
                group.create_task(never_cease(peer))
            await eventually(lambda: served.waiting() >= 2)
            await asks(much, LARGE)
            is_done = True
        assert answers < 60
        await much.send(reset(held))


async def test_nobody_is_ended_whose_end_makes_no_room() -> None:
    limits = replace(LIMITS, patience_s=0.3)
    async with serving(limits) as served, AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(ready_peer(served.address)) for _ in range(3)]
        still = await stack.enter_async_context(ready_peer(served.address))
        # One within its window, which is not what others lack, and one with too little beyond it.
        payloads = [bytes(40 * KIB), bytes(100 * KIB)]
        streams = [await stops_short(still, each) for each in payloads]
        await still.pours(streams[1], message(payloads[1])[64 * KIB : -100])
        async with asyncio.TaskGroup() as group:
            calls = [group.create_task(steadily(peer, LARGE, 0.1)) for peer in peers]
            await eventually(lambda: served.waiting() == 1)
        assert [each.result().grpc_status for each in calls] == [0] * 3
        for stream, payload in zip(streams, payloads, strict=True):
            await still.pours(stream, message(payload)[-100:])
            await still.send(data(stream, end=True))
            assert (await still.answer(stream)).messages == [payload]


async def test_messages_little_larger_than_their_windows_leave_room_for_large_ones() -> None:
    async with serving() as served, AsyncExitStack() as stack:
        honest = await stack.enter_async_context(ready_peer(served.address))
        peer = await stack.enter_async_context(ready_peer(served.address))
        for _ in range(44):
            stream = peer.next_stream()
            await peer.send(opens(stream, DEAF))
            await peer.pours(stream, message(bytes(64 * KIB + 100)), until_full=True)
        await peer.pinged()
        assert served.waiting() == 0
        await asks(honest, LARGE)
        await peer.send(*(reset(each) for each in peer.answers))


async def test_a_chunk_of_a_mebibyte_needs_no_more_than_its_streams_window() -> None:
    limits = replace(LIMITS, max_message_bytes=2 * MIB, stream_window_bytes=DEFAULT_WINDOW_BYTES)
    async with serving(limits) as served, ready_peer(served.address) as peer:
        stream = peer.next_stream()
        await peer.send(opens(stream, COUNT))
        chunk = message(bytes(MIB + KIB))
        for number in range(1, 4):
            assert await peer.pours(stream, chunk, until_full=True) == len(chunk)
            await peer.until(lambda number=number: len(peer.answers[stream].messages) == number)  # type: ignore[misc]
            await peer.pinged()
        await peer.send(reset(stream))
