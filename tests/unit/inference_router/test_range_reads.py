from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager

import pytest

from simcloud.concurrency.budget import ByteBudget
from simcloud.dataset.fetch import Span
from simcloud.errors import Corruption, PreconditionFailed, SimcloudError
from simcloud_inference_router.background import open_background
from simcloud_inference_router.refs.cache import ObjectName, Range
from simcloud_inference_router.refs.reads import RangeReads
from simcloud_inference_router.refs.settings import RefSettings
from support.eventually import eventually

CONTENT = bytes(range(250)) * 40
NAME = ObjectName("renders", "a.tar", '"1"')
ANY = ObjectName("renders", "a.tar", "")
KIB = 1024


class Stored:
    """An object, and a reader of it that tells what it read."""

    def __init__(self, *, room: int = 1 << 20, **settings: object) -> None:
        self.asked: list[Span] = []
        self.hold: asyncio.Event | None = None
        self.error: SimcloudError | None = None
        self.cancelled = 0
        self.memory = ByteBudget(room)
        self.settings = RefSettings.model_validate(
            {"linger_s": 0.0, "gap_bytes": 100, "max_get_bytes": 4096, **settings}
        )
        self.reads: RangeReads

    async def fetch(self, name: ObjectName, span: Span) -> bytes:
        """As `read_range`: exactly the range, or an error."""
        self.asked.append(span)
        try:
            if self.hold is not None:
                await self.hold.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        if span.end > len(CONTENT):
            raise Corruption("the object ends before the range does")
        return CONTENT[span.begin : span.end]

    async def read(self, *ranges: tuple[int, int], name: ObjectName = NAME) -> list[object]:
        """Reads them at once: bytes or the error of each."""
        tasks = [self.begin(each, name=name) for each in ranges]
        return list(await asyncio.gather(*tasks, return_exceptions=True))

    def begin(self, wanted: tuple[int, int], *, name: ObjectName = NAME) -> asyncio.Future[bytes]:
        """Begins to read one."""
        return asyncio.ensure_future(self.reads.read(name, Range(*wanted)))


@asynccontextmanager
async def stored(*, room: int = 1 << 20, **settings: object) -> AsyncIterator[Stored]:
    async with open_background() as background:
        made = Stored(room=room, **settings)
        made.reads = RangeReads(
            made.fetch, settings=made.settings, memory=made.memory, background=background
        )
        yield made
        assert (made.reads.under_way, made.memory.in_use) == (0, 0)


def parts(*ranges: tuple[int, int]) -> Sequence[object]:
    return [CONTENT[begin:end] for begin, end in ranges]


async def test_neighbours_are_read_by_one_get_and_others_by_their_own() -> None:
    ranges = [(300, 400), (0, 100), (150, 250), (5000, 5100), (320, 350)]
    async with stored() as held:
        assert await held.read(*ranges) == parts(*ranges)
        assert held.asked == [Span(0, 400), Span(5000, 5100)]
        counts = held.reads.counts
        assert (counts.read, counts.gets, counts.get_bytes) == (5, 2, 500)


async def test_a_get_is_no_larger_than_it_may_be() -> None:
    ranges = [(begin, begin + 100) for begin in range(0, 1000, 100)]
    async with stored(max_get_bytes=300) as held:
        assert await held.read(*ranges) == parts(*ranges)
        assert all(each.end - each.begin <= 300 for each in held.asked)
        assert len(held.asked) == 4
    async with stored(max_get_bytes=0) as held:
        assert await held.read(*ranges) == parts(*ranges)
        assert held.asked == [Span(*each) for each in ranges]


async def test_without_room_for_several_each_is_read_by_itself() -> None:
    ranges = [(0, 100), (100, 200)]
    async with stored() as held:
        with await held.memory.acquire(held.memory.limit - 150):
            assert await held.read(*ranges) == parts(*ranges)
        assert held.asked == [Span(*each) for each in ranges]


async def test_a_range_that_is_being_read_is_not_read_again() -> None:
    async with stored() as held:
        held.hold = asyncio.Event()
        first = held.begin((0, 100))
        await eventually(lambda: len(held.asked) == 1)
        second = held.begin((0, 100))
        await eventually(lambda: held.reads.counts.shared == 1)
        held.hold.set()
        assert [await first, await second] == parts((0, 100), (0, 100))
        assert held.reads.counts.gets == 1


async def test_without_an_etag_a_get_that_has_begun_is_not_shared() -> None:
    async with stored(cache_bytes=10 * KIB) as held:
        held.hold = asyncio.Event()
        first = held.begin((0, 100), name=ANY)
        await eventually(lambda: len(held.asked) == 1)
        second = held.begin((0, 100), name=ANY)
        await eventually(lambda: len(held.asked) == 2)
        held.hold.set()
        assert [await first, await second] == parts((0, 100), (0, 100))
        # What waited for the same linger was asked for after both wanted it.
        assert await held.read((0, 9), (0, 9), name=ANY) == parts((0, 9), (0, 9))
        assert len(held.asked) == 3
        assert len(held.reads.cache) == 0


async def test_what_was_read_is_kept_as_far_as_it_fits() -> None:
    async with stored(cache_bytes=2 * KIB) as held:
        for _ in range(2):
            assert await held.read((0, 100), (100, 200)) == parts((0, 100), (100, 200))
        assert (held.reads.counts.from_cache, len(held.asked)) == (2, 1)
        await held.read(*[(begin, begin + 100) for begin in range(1000, 1500, 100)])
        assert held.reads.cache.size <= 2 * KIB
        await held.read((0, 100))
        assert held.asked[-1] == Span(0, 100), "dropped by what came later, and read again"


async def test_a_range_beyond_the_end_fails_alone() -> None:
    end = len(CONTENT)
    async with stored() as held:
        first, second, third = await held.read(
            (end - 200, end - 150), (end - 150, end + 1), (end - 100, end)
        )
        assert [first, third] == parts((end - 200, end - 150), (end - 100, end))
        assert isinstance(second, Corruption)


async def test_an_object_that_changed_is_everybodys_error_and_not_asked_for_again() -> None:
    async with stored(cache_bytes=10 * KIB) as held:
        held.error = PreconditionFailed("the object changed")
        got = await held.read((0, 100), (100, 200))
        assert got == [held.error, held.error]
        assert len(held.asked) == 1
        assert len(held.reads.cache) == 0


async def test_who_gives_up_leaves_the_others_and_the_last_one_ends_the_get() -> None:
    async with stored() as held:
        held.hold = asyncio.Event()
        reading = [held.begin((0, 100)), held.begin((0, 100)), held.begin((100, 200))]
        await eventually(lambda: held.asked == [Span(0, 200)])
        await cancelled(reading[0])
        await cancelled(reading[2])
        assert held.cancelled == 0
        await cancelled(reading[1])
        await eventually(lambda: held.cancelled == 1)
        held.hold.set()
        assert await held.read((0, 100)) == parts((0, 100))


async def test_who_gives_up_before_anything_was_asked_leaves_nothing() -> None:
    async with stored(linger_s=1.0) as held:
        reading = [held.begin((0, 100)), held.begin((3000, 3100))]
        await eventually(lambda: held.reads.under_way == 2)
        for each in reading:
            await cancelled(each)
        assert held.reads.under_way == 0
        assert held.asked == []


async def cancelled(reading: asyncio.Future[bytes]) -> None:
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_the_end_of_the_process_ends_those_who_wait() -> None:
    waiting: Awaitable[bytes]
    async with open_background() as background:
        held = Stored()
        held.hold = asyncio.Event()
        held.reads = RangeReads(
            held.fetch, settings=held.settings, memory=held.memory, background=background
        )
        waiting = held.begin((0, 100))
        await eventually(lambda: len(held.asked) == 1)
    with pytest.raises(SimcloudError, match="shutting down"):
        await waiting
