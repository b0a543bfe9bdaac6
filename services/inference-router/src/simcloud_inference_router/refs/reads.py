"""Ranges wanted at about the same time: neighbours by one GET, each range once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass

from simcloud.concurrency.budget import ByteBudget
from simcloud.dataset.fetch import Fetched, Pieces, Span, spans
from simcloud.errors import Corruption, NotReady, SimcloudError
from simcloud_inference_router.background import Background
from simcloud_inference_router.refs.cache import ObjectName, Range, RangeCache
from simcloud_inference_router.refs.settings import RefSettings

Fetch = Callable[[ObjectName, Span], Awaitable[bytes]]
"""GETs a range, repeated as far as that helps."""


@dataclass(slots=True)
class RefCounts:
    """What reading refs took since the process began."""

    from_cache: int = 0
    """Refs whose bytes were kept."""
    shared: int = 0
    """Refs whose very bytes somebody else was just reading."""
    read: int = 0
    """Refs for which S3 was asked."""
    gets: int = 0
    """Ranges that S3 was asked for; repeated ones are one."""
    get_bytes: int = 0
    """Bytes of the answers, gaps included."""


class _Piece:
    """A range that someone waits for."""

    __slots__ = ("future", "get", "range", "waiters")

    def __init__(self, wanted: Range, future: asyncio.Future[bytes]) -> None:
        self.range = wanted
        self.future = future
        self.waiters = 0
        self.get: _Get | None = None
        """What reads it; None while it waits for neighbours."""


class _Get:
    """One GET under way."""

    __slots__ = ("pieces", "task")

    def __init__(self, pieces: Sequence[_Piece]) -> None:
        self.pieces = tuple(pieces)
        self.task: asyncio.Task[None] | None = None


class _Object:
    """What is wanted of one object now."""

    __slots__ = ("pieces", "timer", "waiting", "waiting_bytes")

    def __init__(self) -> None:
        self.pieces: dict[Range, _Piece] = {}
        """All that is being read or waits for it."""
        self.waiting: dict[Range, _Piece] = {}
        """Those of them that wait for neighbours."""
        self.waiting_bytes = 0
        self.timer: asyncio.TimerHandle | None = None


class RangeReads:
    """Reads ranges.

    Ranges of one object that are asked for within ``linger_s`` and lie near each other are read by
    one GET; a range that is being read already is not read again; what was read may be kept. Who
    gives up leaves the others alone, and a GET that nobody waits for any more is cancelled. Whoever
    calls bounds the ranges in memory and has checked who may read them.

    Args:
        fetch: reads one range.
        settings: how long to wait, how much to read at once, how much to keep.
        memory: where a GET of several ranges has its room, which is never waited for.
        background: where GETs run.
    """

    def __init__(
        self, fetch: Fetch, *, settings: RefSettings, memory: ByteBudget, background: Background
    ) -> None:
        self.counts = RefCounts()
        self.cache = RangeCache(settings.cache_bytes)
        self._fetch = fetch
        self._settings = settings
        self._most_bytes = min(settings.max_get_bytes, memory.limit)
        self._memory = memory
        self._background = background
        self._objects: dict[ObjectName, _Object] = {}

    @property
    def under_way(self) -> int:
        """Ranges that someone waits for."""
        return sum(len(each.pieces) for each in self._objects.values())

    async def read(self, name: ObjectName, wanted: Range) -> bytes:
        """The bytes of a range.

        Raises:
            SimcloudError: what reading it raised.
        """
        kept = self.cache.get(name, wanted)
        if kept is not None:
            self.counts.from_cache += 1
            return kept
        found = self._objects.get(name)
        if found is None:
            found = self._objects[name] = _Object()
        piece = self._known(name, found, wanted)
        if piece is None:
            piece = self._wait(name, found, wanted)
        else:
            self.counts.shared += 1
        piece.waiters += 1
        try:
            # Shielded: one that gives up must not end it for the others.
            return await asyncio.shield(piece.future)
        finally:
            piece.waiters -= 1
            if not piece.waiters:
                self._abandon(name, found, piece)

    def _known(self, name: ObjectName, found: _Object, wanted: Range) -> _Piece | None:
        """A range that is wanted already; without an ETag only one that S3 was not yet asked for.

        A GET that began earlier may have other bytes than S3 has now.
        """
        return (found.pieces if name.etag else found.waiting).get(wanted)

    def _wait(self, name: ObjectName, found: _Object, wanted: Range) -> _Piece:
        loop = asyncio.get_running_loop()
        piece = _Piece(wanted, loop.create_future())
        self.counts.read += 1
        found.pieces[wanted] = found.waiting[wanted] = piece
        found.waiting_bytes += wanted.end - wanted.begin
        if not self._most_bytes or found.waiting_bytes >= self._most_bytes:
            self._flush(name, found)
        elif found.timer is None:
            found.timer = loop.call_later(self._settings.linger_s, self._flush, name, found)
        return piece

    def _flush(self, name: ObjectName, found: _Object) -> None:
        """Asks for all that waits."""
        if found.timer is not None:
            found.timer.cancel()
            found.timer = None
        waiting, found.waiting, found.waiting_bytes = found.waiting, {}, 0
        for pieces in self._groups(list(waiting.values())):
            self._start(name, found, pieces)

    def _groups(self, pieces: list[_Piece]) -> Iterator[list[_Piece]]:
        """Pieces that are read by one GET each."""
        if not self._most_bytes:
            yield from ([each] for each in pieces)
            return
        pieces.sort(key=lambda each: (each.range.begin, each.range.end))
        places = [(each.range.begin, each.range.end) for each in pieces]
        left = deque(pieces)
        for span in spans(places, self._settings.gap_bytes, most_bytes=self._most_bytes):
            inside = []
            while left and left[0].range.end <= span.end:
                inside.append(left.popleft())
            if inside:
                yield inside

    def _start(self, name: ObjectName, found: _Object, pieces: Sequence[_Piece]) -> None:
        get = _Get(pieces)
        for piece in pieces:
            piece.get = get

        async def run() -> None:
            await self._get(name, found, pieces)

        get.task = self._background.start(run, name="ref")
        # A callback, since a task that is cancelled before its first step runs no ``finally``.
        get.task.add_done_callback(lambda _: self._ended(name, found, get))

    async def _get(self, name: ObjectName, found: _Object, pieces: Sequence[_Piece]) -> None:
        if len(pieces) == 1:
            await self._alone(name, pieces[0])
            return
        span = Span(
            min(each.range.begin for each in pieces), max(each.range.end for each in pieces)
        )
        lease = self._memory.try_acquire(span.end - span.begin)
        if lease is not None:
            with lease:
                try:
                    data = await self._bytes_of(name, span)
                except Corruption:
                    # One of them may lie beyond the object's end; which one shows when each is
                    # read by itself.
                    pass
                except SimcloudError as exc:
                    # The object's, or S3's: no range of it can be read now.
                    _fail(pieces, exc)
                    return
                else:
                    self._cut(name, pieces, Fetched(span.begin, memoryview(data)))
                    return
        for piece in pieces:
            if piece.waiters:
                self._start(name, found, [piece])

    def _cut(self, name: ObjectName, pieces: Sequence[_Piece], fetched: Fetched) -> None:
        whole = Pieces([fetched])
        for piece in pieces:
            wanted = piece.range
            self._give(name, piece, whole.cut(wanted.begin, wanted.end - wanted.begin))

    async def _alone(self, name: ObjectName, piece: _Piece) -> None:
        try:
            data = await self._bytes_of(name, Span(piece.range.begin, piece.range.end))
        except SimcloudError as exc:
            _fail([piece], exc)
        else:
            self._give(name, piece, data)

    async def _bytes_of(self, name: ObjectName, span: Span) -> bytes:
        self.counts.gets += 1
        data = await self._fetch(name, span)
        self.counts.get_bytes += len(data)
        return data

    def _give(self, name: ObjectName, piece: _Piece, data: bytes) -> None:
        self.cache.put(name, piece.range, data)
        if not piece.future.done():
            piece.future.set_result(data)

    def _ended(self, name: ObjectName, found: _Object, get: _Get) -> None:
        gone = [each for each in get.pieces if each.get is get]
        _fail(gone, NotReady("the router is shutting down; send the frame again"))
        for piece in gone:
            self._forget(name, found, piece)

    def _abandon(self, name: ObjectName, found: _Object, piece: _Piece) -> None:
        """Nobody wants a range any more."""
        if found.waiting.get(piece.range) is piece:
            del found.waiting[piece.range]
            found.waiting_bytes -= piece.range.end - piece.range.begin
        if not piece.future.done():
            piece.future.cancel()
        self._forget(name, found, piece)
        get = piece.get
        if get is not None and get.task is not None and not any(x.waiters for x in get.pieces):
            get.task.cancel()

    def _forget(self, name: ObjectName, found: _Object, piece: _Piece) -> None:
        if found.pieces.get(piece.range) is piece:
            del found.pieces[piece.range]
        if not found.pieces and self._objects.get(name) is found:
            if found.timer is not None:
                found.timer.cancel()
                found.timer = None
            del self._objects[name]


def _fail(pieces: Sequence[_Piece], error: SimcloudError) -> None:
    for piece in pieces:
        if not piece.future.done():
            piece.future.set_exception(error)
            # Looked at: those who wait for it have outer futures of their own, and may be gone.
            piece.future.exception()
