from __future__ import annotations

import asyncio
import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simcloud.concurrency import (
    ChannelBroken,
    ChannelClosed,
    ChannelEnded,
    ChannelWouldBlock,
    ReceiveEnd,
    SendEnd,
    open_channel,
)


async def _steps(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def _collect(receive: ReceiveEnd[int]) -> list[int]:
    return [item async for item in receive]


@pytest.mark.parametrize("capacity", [0, 1, 3])
async def test_items_arrive_in_order_and_the_end_is_seen(capacity: int) -> None:
    send, receive = open_channel[int](capacity)

    async def produce(end: SendEnd[int]) -> None:
        with end:
            for number in range(10):
                await end.send(number)

    async with asyncio.TaskGroup() as group:
        group.create_task(produce(send))
        collected = group.create_task(_collect(receive))
    assert collected.result() == list(range(10))
    figures = receive.statistics()
    assert (figures.sent, figures.received, figures.buffered) == (10, 10, 0)
    assert figures.peak_buffered <= capacity


async def test_send_waits_while_the_buffer_is_full() -> None:
    send, receive = open_channel[int](2)
    await send.send(1)
    await send.send(2)
    async with asyncio.TaskGroup() as group:
        third = group.create_task(send.send(3))
        await _steps()
        assert not third.done()
        assert send.statistics().waiting_senders == 1
        assert await receive.receive() == 1
        await third
    assert receive.receive_nowait() == 2
    assert receive.receive_nowait() == 3
    with pytest.raises(ChannelWouldBlock):
        receive.receive_nowait()


async def test_capacity_zero_hands_over_only_to_a_waiting_receiver() -> None:
    send, receive = open_channel[int](0)
    with pytest.raises(ChannelWouldBlock):
        send.send_nowait(1)
    async with asyncio.TaskGroup() as group:
        received = group.create_task(receive.receive())
        await _steps()
        send.send_nowait(1)
    assert received.result() == 1


async def test_closing_the_sending_end_lets_the_buffer_be_received_first() -> None:
    send, receive = open_channel[int](2)
    await send.send(1)
    send.close()
    send.close()
    assert await receive.receive() == 1
    with pytest.raises(ChannelEnded):
        await receive.receive()
    with pytest.raises(ChannelEnded):
        receive.receive_nowait()
    with pytest.raises(ChannelClosed):
        await send.send(2)


async def test_closing_the_sending_end_wakes_those_who_wait_at_it() -> None:
    send, receive = open_channel[int](0)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(_outcome(send.send(1)))
        await _steps()
        send.close()
    assert waiting.result() is ChannelClosed
    receive.close()


async def test_closing_the_sending_end_wakes_waiting_receivers() -> None:
    send, receive = open_channel[int](0)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(_collect(receive))
        second = group.create_task(_collect(receive))
        await _steps()
        send.close()
    assert first.result() == second.result() == []


async def test_closing_the_receiving_end_breaks_the_senders() -> None:
    send, receive = open_channel[int](1)
    await send.send(1)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(_outcome(send.send(2)))
        await _steps()
        receive.close()
    assert waiting.result() is ChannelBroken
    with pytest.raises(ChannelBroken):
        send.send_nowait(3)
    with pytest.raises(ChannelClosed):
        await receive.receive()


async def test_closing_the_receiving_end_wakes_those_who_wait_at_it() -> None:
    send, receive = open_channel[int](1)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(_outcome(receive.receive()))
        await _steps()
        receive.close()
    assert waiting.result() is ChannelClosed
    send.close()


async def test_senders_are_served_in_the_order_they_came() -> None:
    send, receive = open_channel[int](0)
    async with asyncio.TaskGroup() as group:
        for number in range(5):
            group.create_task(send.send(number))
            await _steps(2)
        assert [await receive.receive() for _ in range(5)] == [0, 1, 2, 3, 4]


async def test_an_item_handed_to_a_cancelled_receiver_goes_to_the_next_one() -> None:
    send, receive = open_channel[int](0)
    first = asyncio.ensure_future(receive.receive())
    await _steps()
    await send.send(7)
    # Handed over, and its task has not run: now it is cancelled.
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await receive.receive() == 7


async def test_the_end_is_not_seen_while_an_item_is_on_its_way_to_a_cancelled_receiver() -> None:
    send, receive = open_channel[int](0)
    first = asyncio.ensure_future(receive.receive())
    second = asyncio.ensure_future(receive.receive())
    await _steps()
    await send.send(7)
    send.close()
    first.cancel()
    assert await second == 7
    with pytest.raises(asyncio.CancelledError):
        await first


def test_a_negative_capacity_is_refused() -> None:
    with pytest.raises(ValueError, match="0 or more"):
        open_channel[int](-1)


async def _outcome(work: object) -> type[BaseException] | None:
    try:
        await work  # type: ignore[misc]
    except Exception as error:
        return type(error)
    return None


# Tasks that send and receive, some cancelled after some turns of the loop: which items are sent is
# then known from who returned, and each must be received once.
_PLANS = st.tuples(
    st.integers(0, 3),
    st.lists(
        st.tuples(st.sampled_from(["send", "receive"]), st.integers(0, 4), st.integers(-1, 6)),
        min_size=1,
        max_size=14,
    ),
)


@settings(max_examples=300, deadline=None)
@given(plan=_PLANS)
def test_no_item_is_lost_or_doubled_whoever_is_cancelled_when(
    plan: tuple[int, list[tuple[str, int, int]]],
) -> None:
    asyncio.run(_play(*plan))


async def _play(capacity: int, acts: list[tuple[str, int, int]]) -> None:
    send, receive = open_channel[int](capacity)
    numbers = itertools.count()
    sent: list[int] = []
    received: list[int] = []

    async def act(kind: str, after: int) -> None:
        await _steps(after)
        if kind == "send":
            number = next(numbers)
            await send.send(number)
            sent.append(number)
        else:
            received.append(await receive.receive())

    tasks = [asyncio.ensure_future(act(kind, after)) for kind, after, _ in acts]
    for turn in range(8):
        for task, (_, _, cancel_at) in zip(tasks, acts, strict=True):
            if cancel_at == turn:
                task.cancel()
        figures = send.statistics()
        # A cancelled receiver gives back the one item it was handed.
        given_back = sum(kind == "receive" and 0 <= at <= turn for kind, _, at in acts)
        assert figures.buffered <= capacity + given_back
        await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    while send.statistics().buffered:
        received.append(receive.receive_nowait())
    assert Counter(received) == Counter(sent)
    figures = send.statistics()
    assert (figures.waiting_senders, figures.waiting_receivers) == (0, 0)
    assert figures.sent == figures.received == len(sent)
