from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcloud.concurrency.drain import Drain
from simcloud.errors import InvalidRequest, NotReady
from simcloud_inference_router.pipeline import Pipeline, Reorder


@given(st.permutations(range(8)))
def test_reordering_gives_every_answer_once_and_in_order(arrival: list[int]) -> None:
    reorder: Reorder[int] = Reorder()
    out = [answer for number in arrival for answer in reorder.add(number, number)]
    assert out == list(range(8))


class Bench:
    """A pipeline whose answers are let go one by one."""

    def __init__(self, *, window: int = 4, ordered: bool = True) -> None:
        self.gates: dict[int, asyncio.Event] = {}
        self.written: list[int] = []
        self.cancelled: list[int] = []
        self.drain = Drain()
        self.pipeline: Pipeline[int, int] = Pipeline(
            answer=self._answer,
            write=self._write,
            window=window,
            ordered=ordered,
            drain=self.drain,
        )

    async def _answer(self, request: int) -> int:
        gate = self.gates.setdefault(request, asyncio.Event())
        try:
            await gate.wait()
        except asyncio.CancelledError:
            self.cancelled.append(request)
            raise
        return request

    async def _write(self, answer: int) -> None:
        self.written.append(answer)

    def let_go(self, *requests: int) -> None:
        for request in requests:
            self.gates.setdefault(request, asyncio.Event()).set()


async def numbers(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


async def endless() -> AsyncIterator[int]:
    async for number in numbers(2):
        yield number
    await asyncio.Event().wait()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_ordered_answers_wait_for_their_turn_and_count_against_the_window() -> None:
    bench = Bench(window=4)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bench.pipeline.run(numbers(6)))
        await settle()
        bench.let_go(1, 2, 3)
        await settle()
        assert bench.written == []
        assert sorted(bench.gates) == [0, 1, 2, 3]
        bench.let_go(0)
        await settle()
        assert bench.written == [0, 1, 2, 3]
        bench.let_go(4, 5)
    assert bench.written == list(range(6))


async def test_unordered_answers_go_out_as_they_come() -> None:
    bench = Bench(ordered=False)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(bench.pipeline.run(numbers(3)))
        for number in (2, 0, 1):
            await settle()
            bench.let_go(number)
    assert bench.written == [2, 0, 1]


async def test_an_error_of_the_source_comes_after_the_answers_to_what_was_taken() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 0
        raise InvalidRequest("frame", "wrong")

    bench = Bench()
    bench.let_go(0)
    with pytest.raises(InvalidRequest):
        await bench.pipeline.run(broken())
    assert bench.written == [0]


async def test_a_drain_ends_reading_and_answers_what_was_taken() -> None:
    bench = Bench()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(_drained(bench))
        await settle()
        await bench.drain.begin()
        await settle()
        assert not running.done()
        bench.let_go(0, 1)
    assert bench.written == [0, 1]


async def _drained(bench: Bench) -> None:
    with pytest.raises(NotReady, match="shutting down"):
        await bench.pipeline.run(endless())


async def test_a_stream_that_opens_during_a_drain_ends_at_once() -> None:
    bench = Bench()
    await bench.drain.begin()
    with pytest.raises(NotReady):
        await bench.pipeline.run(endless())
    assert bench.written == []


async def test_a_cancel_cancels_every_request_in_flight() -> None:
    bench = Bench()
    running = asyncio.ensure_future(bench.pipeline.run(endless()))
    await settle()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sorted(bench.cancelled) == [0, 1]


async def test_a_failing_write_ends_the_stream_with_its_own_error() -> None:
    async def answer(request: int) -> int:
        return request

    async def write(_: int) -> None:
        raise BrokenPipeError("gone")

    pipeline = Pipeline(answer=answer, write=write, window=2, ordered=True, drain=Drain())
    with pytest.raises(BrokenPipeError):
        await pipeline.run(endless())
