"""A run for a training loop: plain Python objects that PyTorch's ``DataLoader`` takes as they are.

``FrameDataset`` is map-style (``__len__``, ``__getitem__``, ``__getitems__``), ``FrameStream``
iterable with the state of an epoch (``state_dict``, ``load_state_dict``). Nothing here imports
torch; where it is loaded, a ``FrameStream`` is an ``IterableDataset`` of its. Both may be pickled
and forked: every process opens S3 for itself, when it first reads.
"""

from __future__ import annotations

import functools
import os
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from simcloud.dataset import torch_loader
from simcloud.dataset.run_reader import RunReader
from simcloud.dataset.selection import Key, Shuffle
from simcloud.dataset.source import Sample, Source, to_sample
from simcloud.errors import InvalidRequest, PreconditionFailed
from simcloud.spec.model import Spec

_STATE_VERSION = 1


class _Run:
    """What both kinds share: the source, and a reader for whichever process asks."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._reader_: RunReader | None = None

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
    def _reader(self) -> RunReader:
        if self._reader_ is None or self._reader_.pid != os.getpid():
            self._reader_ = RunReader(self.source)
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
        kind = torch_loader.iterable_kind()
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
        worker, workers = torch_loader.worker()
        return blocks[self._part * workers + worker :: self._parts * workers]


def _new_stream() -> FrameStream:
    """One whose state is set next."""
    return FrameStream.__new__(FrameStream)


@functools.cache
def _also(kind: type) -> type:
    """A class that is both; it has no instances."""
    return types.new_class("FrameStream", (FrameStream, kind))
