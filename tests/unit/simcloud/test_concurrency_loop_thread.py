from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from simcloud.concurrency import LoopStopped, LoopThread


@asynccontextmanager
async def opened(log: list[str]) -> AsyncIterator[str]:
    log.append("entered")
    try:
        yield "value"
    finally:
        log.append("left")


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def loop(log: list[str]) -> Iterator[LoopThread[str]]:
    thread = LoopThread(opened(log), name="test-loop")
    yield thread
    thread.stop()
    assert log == ["entered", "left"]
    assert not any(each.name == "test-loop" for each in threading.enumerate())


async def doubled(items: AsyncIterator[int]) -> AsyncGenerator[int, None]:
    async for item in items:
        if item < 0:
            raise ArithmeticError(f"{item} is negative")
        yield 2 * item


async def for_ever() -> None:
    await asyncio.Event().wait()


def test_work_is_done_in_the_loop_and_its_error_comes_out(loop: LoopThread[str]) -> None:
    async def fails() -> None:
        raise LookupError("nothing there")

    async def where() -> str:
        return threading.current_thread().name

    assert loop.value == "value"
    assert loop.run(where()) == "test-loop"
    with pytest.raises(LookupError, match="nothing there"):
        loop.run(fails())


def test_what_entering_raises_is_raised_by_the_constructor() -> None:
    @asynccontextmanager
    async def broken() -> AsyncIterator[None]:
        raise OSError("no such place")
        yield

    with pytest.raises(OSError, match="no such place"):
        LoopThread(broken(), name="broken")


@pytest.mark.parametrize("in_flight", [1, 2, 7, 100])
def test_items_are_answered_in_order_and_read_as_answers_come(
    loop: LoopThread[str], in_flight: int
) -> None:
    read = 0

    def items() -> Iterator[int]:
        nonlocal read
        for number in range(30):
            read += 1
            yield number

    for number, answer in enumerate(loop.exchange(items(), doubled, in_flight=in_flight)):
        assert answer == 2 * number
        assert read <= number + in_flight
    assert read == 30


@pytest.mark.parametrize("at", [0, 1, 5, 19])
def test_an_error_of_the_work_ends_the_exchange(loop: LoopThread[str], at: int) -> None:
    items = [-1 if number == at else number for number in range(20)]
    with pytest.raises(ArithmeticError, match="-1 is negative"):
        list(loop.exchange(items, doubled, in_flight=4))


def test_an_exchange_that_is_left_ends_its_work(loop: LoopThread[str]) -> None:
    ended = threading.Event()

    async def until_left(items: AsyncIterator[int]) -> AsyncGenerator[int, None]:
        try:
            async for item in items:
                yield item
        finally:
            ended.set()

    exchange = loop.exchange(iter(range(10)), until_left, in_flight=2)
    assert next(exchange) == 0
    exchange.close()
    assert ended.wait(10)


def test_stopping_frees_those_who_wait(log: list[str]) -> None:
    thread = LoopThread(opened(log), name="stopped")
    begun = threading.Event()
    raised: list[BaseException] = []

    async def waits() -> None:
        begun.set()
        await for_ever()

    def call() -> None:
        try:
            thread.run(waits())
        except LoopStopped as error:
            raised.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    assert begun.wait(10)
    thread.stop()
    caller.join(10)
    assert len(raised) == 1
    with pytest.raises(LoopStopped):
        thread.run(for_ever())
    with pytest.raises(LoopStopped):
        list(thread.exchange([1], doubled, in_flight=1))
    thread.stop()
    assert log == ["entered", "left"]


def test_a_finalizer_in_the_loops_own_thread_does_not_wait_for_itself(log: list[str]) -> None:
    class Owner:
        pass

    thread = LoopThread(opened(log), name="finalized")
    holder = [Owner()]
    weakref.finalize(holder[0], thread.stop)

    async def drop() -> None:
        holder.clear()
        gc.collect()

    thread.run(drop())
    thread.stop()
    assert log == ["entered", "left"]
