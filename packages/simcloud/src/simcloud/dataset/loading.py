"""A run for a training loop: plain Python objects that PyTorch's ``DataLoader`` takes as they are.

``FrameDataset`` is map-style (``__len__``, ``__getitem__``, ``__getitems__``), ``FrameStream``
iterable with the state of an epoch (``state_dict``, ``load_state_dict``). Nothing here imports
torch; where it is loaded, a ``FrameStream`` is an ``IterableDataset`` of its. Both may be pickled
and forked: every process opens S3 for itself, when it first reads.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import threading
import types
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, TypeVar

from simcloud.annotators import ANNOTATORS
from simcloud.dataset.encode import decode
from simcloud.dataset.fetch import ReadAhead
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.reader import Dataset
from simcloud.dataset.record import FrameRecord, record_from_json
from simcloud.dataset.selection import Filter, Key, Shuffle
from simcloud.errors import InvalidRequest, PreconditionFailed
from simcloud.s3.client import S3Settings
from simcloud.s3.objects import open_store
from simcloud.spec.model import Spec

ResultT = TypeVar("ResultT")

_CLOSE_S = 10.0
_STATE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Sample:
    """One frame of one camera, decoded."""

    frame: int
    camera: str
    record: FrameRecord
    """Parameters, labels, camera."""
    arrays: dict[str, Any]
    """NumPy array by annotator, dtype and shape as the annotator table says."""


def to_sample(frame: EncodedFrame, spec: Spec) -> Sample:
    """Decodes a frame's layers."""
    return Sample(
        frame=frame.frame,
        camera=frame.camera,
        record=record_from_json(frame.record),
        arrays={
            layer.annotator: decode(layer.data, spec.encodings[layer.annotator])
            for layer in frame.layers
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Which frames of which run, and where it is."""

    location: RunLocation
    """The run."""
    s3: S3Settings = field(default_factory=S3Settings)
    """Where S3 is and who we are there."""
    generation: int | None = None
    """Of the plan; None: the highest that is published when it is first read."""
    filter: Filter = field(default_factory=Filter)
    """Which frames."""
    annotators: tuple[str, ...] = ()
    """Layers to read; empty: all."""
    ahead: ReadAhead = field(default_factory=ReadAhead)
    """How much is read before it is asked for."""

    def __post_init__(self) -> None:
        """Refuses what no run could have, before anything is read.

        Raises:
            InvalidRequest: an annotator that there is not.
        """
        for name in self.annotators:
            if name not in ANNOTATORS or not ANNOTATORS[name].is_layer:
                raise InvalidRequest("annotators", f"{name!r} is no layer of a frame")


class _Reader:
    """An event loop in a thread, with the run opened in it; one a process."""

    def __init__(self, source: Source) -> None:
        self.pid = os.getpid()
        self._source = source
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="simcloud dataset", daemon=True
        )
        self._thread.start()
        self._stack = AsyncExitStack()
        self._iterations: dict[AsyncGenerator[EncodedFrame, None], Future[EncodedFrame | None]] = {}
        try:
            self.dataset, self.keys = self.run(self._open())
        except BaseException:
            self.close()
            raise

    def run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """What a coroutine returns, from any thread."""
        return self.start(work).result()

    def start(self, work: Coroutine[Any, Any, ResultT]) -> Future[ResultT]:
        """Starts a coroutine."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def next(self, frames: AsyncGenerator[EncodedFrame, None]) -> Future[EncodedFrame | None]:
        """Begins to read an iteration's next frame; None when there is none."""
        waiting = self._iterations[frames] = self.start(_following(frames))
        return waiting

    def end(self, frames: AsyncGenerator[EncodedFrame, None]) -> None:
        """Ends an iteration; nothing when it was ended, or in a process that doesn't have it."""
        if self.open and (waiting := self._iterations.pop(frames, None)) is not None:
            self.start(_ended(frames, waiting)).result(_CLOSE_S)

    @property
    def open(self) -> bool:
        """Whether it reads, here in this process."""
        return self.pid == os.getpid() and self._thread.is_alive()

    def close(self) -> None:
        """Ends iterations that were left in the middle, closes S3 and ends the thread."""
        if self.open:
            for frames in list(self._iterations):
                self.end(frames)
            self.start(self._stack.aclose()).result(_CLOSE_S)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(_CLOSE_S)
            self._loop.close()

    async def _open(self) -> tuple[Dataset, list[Key]]:
        source = self._source
        store = await self._stack.enter_async_context(open_store(source.s3))
        dataset = await Dataset.open(store, source.location, generation=source.generation)
        return dataset, await dataset.keys(source.filter)


class _Run:
    """What both kinds share: the source, and a reader for whichever process asks."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._reader_: _Reader | None = None

    @property
    def spec(self) -> Spec:
        """The run's spec."""
        return self._reader.dataset.spec

    def __len__(self) -> int:
        """Number of frames that the source's filter lets through."""
        return len(self._reader.keys)

    def close(self) -> None:
        """Closes S3; reading opens it again."""
        if self._reader_ is not None:
            self._reader_.close()
            self._reader_ = None

    def __getstate__(self) -> dict[str, Any]:
        # Threads and connections stay in the process that has them.
        return {**self.__dict__, "_reader_": None}

    @property
    def _reader(self) -> _Reader:
        if self._reader_ is None or self._reader_.pid != os.getpid():
            self._reader_ = _Reader(self.source)
        return self._reader_


class FrameDataset(_Run):
    """Frames by number: map-style.

    ``DataLoader(FrameDataset(source), batch_size=16, collate_fn=…)`` reads a batch by
    ``__getitems__``: neighbours by one GET, the others at once.

    Args:
        source: which frames of which run.
    """

    def __getitem__(self, position: int) -> Sample:
        """The frame at a position of the selection, 0 up to ``len``; negative ones from its end.

        Raises:
            IndexError: there is none.
            Corruption: its bytes are not what the index says.
        """
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: Sequence[int]) -> list[Sample]:
        """Several frames at once, in the order of the positions."""
        reader, source = self._reader, self.source
        keys = [reader.keys[position] for position in positions]
        frames = reader.run(
            reader.dataset.at(keys, annotators=source.annotators, ahead=source.ahead)
        )
        return [to_sample(frame, reader.dataset.spec) for frame in frames]


class FrameStream(_Run):
    """Frames one after another, epoch by epoch: iterable, shuffled, resumable.

    Each ``iter()`` is one epoch and sets the next. ``state_dict`` between two frames says where the
    iteration stands; ``load_state_dict`` in a new process goes on from there, without reading what
    was taken. Several readers share an epoch by ``part`` of ``parts``, for example one a rank:
    together they see every frame once. The workers of a ``DataLoader`` share their reader's part
    among them by themselves. They iterate copies: ``epoch`` and the state of this one stay as they
    are, and workers that begin anew for each epoch begin with its ``epoch``.

    Args:
        source: which frames of which run.
        shuffle: how much the order is mixed.
        seed: of the order.
        part: of this reader, 0 up to ``parts``.
        parts: readers that share an epoch.
    """

    def __init__(
        self,
        source: Source,
        *,
        shuffle: Shuffle = "",
        seed: int = 0,
        part: int = 0,
        parts: int = 1,
    ) -> None:
        super().__init__(source)
        self._shuffle: Shuffle = shuffle
        self._seed = seed
        self.set_part(part, parts)
        self.epoch = 0
        """Of the pass that the next ``iter()`` begins, or goes on with."""
        self._taken = 0

    @property  # type: ignore[misc] # object's may be assigned to, this may not
    def __class__(self) -> type:
        """What ``isinstance`` asks after the type itself: also torch's kind where torch is loaded.

        A ``DataLoader`` iterates nothing but instances of its own ``IterableDataset``, and indexes
        everything else.
        """
        loaders = sys.modules.get("torch.utils.data")
        kind = None if loaders is None else getattr(loaders, "IterableDataset", None)
        return FrameStream if kind is None else _also(kind)

    def __reduce__(self) -> tuple[Callable[[], FrameStream], tuple[()], dict[str, Any]]:
        # pickle would compare __class__ with the type and refuse
        return _new_stream, (), self.__getstate__()

    def set_part(self, part: int, parts: int) -> None:
        """Which share of every epoch is read here.

        Raises:
            InvalidRequest: there is no such part.
        """
        if not 0 <= part < parts:
            raise InvalidRequest("part", f"{part} is not one of {parts} parts, 0 to {parts - 1}")
        self._part, self._parts = part, parts

    def __len__(self) -> int:
        """Number of frames of this part in an epoch."""
        return sum(len(block) for block in self._blocks())

    def __iter__(self) -> Iterator[Sample]:
        """One epoch, from where ``load_state_dict`` left it."""
        reader, source = self._reader, self.source
        left, skip = [], self._taken
        for block in self._blocks():
            left.append(block[skip:])
            skip = max(0, skip - len(block))
        frames = reader.dataset.read(
            [block for block in left if block], source.annotators, source.ahead
        )
        waiting = reader.next(frames)
        try:
            while (frame := waiting.result()) is not None:
                # The next one is on its way while this one is decoded and used.
                waiting = reader.next(frames)
                self._taken += 1
                yield to_sample(frame, reader.dataset.spec)
            self.epoch += 1
            self._taken = 0
        finally:
            reader.end(frames)

    def state_dict(self) -> dict[str, Any]:
        """Where the iteration stands; plain values."""
        return {
            "version": _STATE_VERSION,
            "epoch": self.epoch,
            "taken": self._taken,
            **self._identity(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from a state, with the next ``iter()``.

        Raises:
            PreconditionFailed: it is the state of another selection, order or part.
        """
        expected = {"version": _STATE_VERSION, **self._identity()}
        for name, value in expected.items():
            if state.get(name) != value:
                raise PreconditionFailed(
                    f"the state was saved with {name} {state.get(name)!r}, this stream has "
                    f"{value!r}: their orders differ"
                )
        self.epoch, self._taken = int(state["epoch"]), int(state["taken"])

    def _identity(self) -> dict[str, Any]:
        """What the order depends on besides the epoch."""
        manifest = self._reader.dataset.manifest
        return {
            "run": str(self.source.location),
            "generation": manifest.generation,
            "filter": self.source.filter.digest,
            "block_bytes": self.source.ahead.block_bytes,
            "shuffle": self._shuffle,
            "seed": self._seed,
            "part": self._part,
            "parts": self._parts,
        }

    def _blocks(self) -> list[tuple[Key, ...]]:
        reader = self._reader
        blocks = reader.dataset.order(
            reader.keys,
            shuffle=self._shuffle,
            seed=self._seed,
            epoch=self.epoch,
            ahead=self.source.ahead,
        )
        worker, workers = _worker()
        return blocks[self._part * workers + worker :: self._parts * workers]


def _new_stream() -> FrameStream:
    """One whose state is set next."""
    return FrameStream.__new__(FrameStream)


@functools.cache
def _also(kind: type) -> type:
    """A class that is both; it has no instances."""
    return types.new_class("FrameStream", (FrameStream, kind))


def _worker() -> tuple[int, int]:
    """Number of this process among a ``DataLoader``'s workers, and how many there are."""
    loaders = sys.modules.get("torch.utils.data")
    information = None if loaders is None else loaders.get_worker_info()
    return (0, 1) if information is None else (information.id, information.num_workers)


async def _following(frames: AsyncGenerator[EncodedFrame, None]) -> EncodedFrame | None:
    return await anext(frames, None)


async def _ended(
    frames: AsyncGenerator[EncodedFrame, None], waiting: Future[EncodedFrame | None]
) -> None:
    """Ends an iteration that may be in the middle of a frame."""
    waiting.cancel()
    while True:
        try:
            await frames.aclose()
        except RuntimeError:  # the frame that was being read has not noticed its cancel yet
            await asyncio.sleep(0)
        else:
            return
