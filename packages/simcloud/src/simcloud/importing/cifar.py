"""CIFAR-10 and CIFAR-100, as Python batches or as binary ones.

Python batches are pickles, and a pickle can name any callable of the machine that reads it: only
NumPy's way to make an array is let through.
"""

from __future__ import annotations

import asyncio
import io
import pickle
import re
from typing import Any

import numpy as np

from simcloud.dataset.encode import Array
from simcloud.errors import InvalidRequest
from simcloud.importing.classes import CLASS
from simcloud.importing.types import (
    Content,
    ImportLimits,
    Labels,
    ReaderInput,
    Source,
    SourceFrame,
    folder_of,
    suffix_of,
)

BATCH = re.compile(r"(data_batch_\d+|test_batch)(\.bin)?|(train|test)(\.bin)?")
META = frozenset({"batches.meta", "meta", "batches.meta.txt", "fine_label_names.txt"})
_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE
_ALLOWED = frozenset(
    {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    }
)
"""What NumPy's pickles name; ``_codecs.encode`` is how Python 3 writes bytes for Python 2."""
_Batch = tuple[Array, list[int]]


class _ArraysOnly(pickle.Unpickler):
    """Numbers, texts, lists, tables and NumPy arrays, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """NumPy's constructors; everything else is refused before it is imported."""
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch needs")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def load_pickle(data: bytes) -> dict[str, Any]:
    """A batch's table, keys as text.

    Raises:
        ValueError: no pickle, one that asks for more than arrays, or no table.
    """
    try:
        plain = _ArraysOnly(io.BytesIO(data), encoding="bytes").load()
    except Exception as error:  # a hostile pickle may raise anything
        raise ValueError(f"is no batch: {error}") from error
    if not isinstance(plain, dict):
        raise ValueError(f"holds a {type(plain).__name__}, no table")
    return {_text(key): value for key, value in plain.items()}


def load_batch(data: bytes, *, binary: bool, labels: int) -> _Batch:
    """Pictures (N, 3072) uint8, planes of red, green, blue; and their classes.

    Args:
        data: the file.
        binary: whether it is of the binary version.
        labels: bytes before each picture of the binary version; the last one is the class.

    Raises:
        ValueError: it is no batch.
    """
    if binary:
        row = labels + _PIXELS
        if not data or len(data) % row:
            raise ValueError(f"has {len(data)} bytes, no multiple of {row}")
        table = np.frombuffer(data, dtype=np.uint8).reshape(-1, row)
        return table[:, labels:], [int(value) for value in table[:, labels - 1]]
    plain = load_pickle(data)
    pictures = plain.get("data")
    numbers = plain.get("labels", plain.get("fine_labels"))
    if (
        not isinstance(pictures, np.ndarray)
        or pictures.dtype != np.uint8
        or pictures.ndim != 2
        or pictures.shape[1] != _PIXELS
    ):
        raise ValueError(f"`data` is no array of N x {_PIXELS} bytes")
    if not isinstance(numbers, list) or not all(type(value) is int for value in numbers):
        raise ValueError("`labels` is no list of numbers")
    if len(numbers) != len(pictures):
        raise ValueError(f"has {len(pictures)} pictures and {len(numbers)} labels")
    return pictures, numbers


async def read_cifar(given: ReaderInput) -> Labels:
    """Every picture of every batch, its class as a parameter."""
    names = await _class_names(given)
    content = CifarContent(given.source, given.limits, labels=2 if len(names) > 10 else 1)
    frames: list[SourceFrame] = []
    for name in sorted(name for name in given.files if is_batch(name)):
        try:
            _, numbers = await content.batch(name)
        except InvalidRequest as error:
            given.problems.add(name, error.problem)
            continue
        split = "test" if name.rsplit("/", 1)[-1].startswith("test") else "train"
        for item, number in enumerate(numbers):
            if not 0 <= number < len(names):
                given.problems.add(f"{name}#{item}", f"class {number} has no name")
                continue
            params = {CLASS: names[number]}
            frames.append(SourceFrame(picture=name, item=item, split=split, params=params))
    return Labels(frames=frames, classes=tuple(sorted(set(names))), boxed=False, content=content)


def is_batch(name: str) -> bool:
    """Whether a file is called as a batch is."""
    return BATCH.fullmatch(name.rsplit("/", 1)[-1]) is not None


async def _class_names(given: ReaderInput) -> list[str]:
    found = [given.labels_file] if given.labels_file else []
    found += [name for name in sorted(given.files) if name.rsplit("/", 1)[-1] in META]
    if not found:
        raise InvalidRequest(
            given.source.label, f"has no class names: none of {', '.join(sorted(META))}"
        )
    data = await given.read(found[0])
    if suffix_of(found[0]) == ".txt":
        return [line for line in data.decode("utf-8", errors="replace").split("\n") if line.strip()]
    try:
        plain = load_pickle(data)
    except ValueError as error:
        raise InvalidRequest(found[0], str(error)) from error
    names = plain.get("label_names", plain.get("fine_label_names"))
    if not isinstance(names, list):
        raise InvalidRequest(found[0], "has no `label_names`")
    return [_text(name) for name in names]


def _text(value: object) -> str:
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


class CifarContent(Content):
    """Pictures of batches; the batch read last is kept, and no other."""

    def __init__(self, source: Source, limits: ImportLimits, *, labels: int) -> None:
        super().__init__(source, limits)
        self._labels = labels
        self._lock = asyncio.Lock()
        # Mutable: the batch read last, by name.
        self._kept: tuple[str, _Batch] | None = None

    async def batch(self, name: str) -> _Batch:
        """A whole batch.

        Raises:
            InvalidRequest: it is none.
        """
        async with self._lock:
            if self._kept is not None and self._kept[0] == name:
                return self._kept[1]
            data = await self._source.read(name, limit=self._limits.label_bytes)
            binary = suffix_of(name) == ".bin"
            try:
                batch = await asyncio.to_thread(
                    load_batch, data, binary=binary, labels=self._labels
                )
            except ValueError as error:
                raise InvalidRequest(name, str(error)) from error
            self._kept = (name, batch)
            return batch

    async def rgb(self, frame: SourceFrame) -> bytes | Array:
        """The picture, (32, 32, 3) uint8 RGB."""
        pictures, _ = await self.batch(frame.picture)
        assert frame.item is not None
        planes = pictures[frame.item].reshape(3, _SIDE, _SIDE)
        return np.ascontiguousarray(planes.transpose(1, 2, 0))


def cifar_folder(names: list[str]) -> bool:
    """Whether batches and their class names are in one folder."""
    folders = {
        folder_of(name) for name in names if is_batch(name) and suffix_of(name) in {"", ".bin"}
    }
    return any(folder_of(name) in folders for name in names if name.rsplit("/", 1)[-1] in META)
