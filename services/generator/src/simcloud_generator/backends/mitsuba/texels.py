"""All textures of a scene in one buffer, so that kernels do not depend on which ones a frame shows.

A texel is one 32-bit word: three channels of ten bits, each the square root of a linear value in
0..1. That is finer than eight bits of sRGB everywhere but in the blackest hundredth, decoding
takes one multiplication, and a bilinear sample four loads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mitsuba as mi
import numpy as np
import numpy.typing as npt

from simcloud.errors import PreconditionFailed
from simcloud_generator.backends.mitsuba.device import upload

LEVELS = 1023.0
"""Largest value of a channel."""

WRAP_MODES = ("repeat", "mirror", "clamp")
MAX_TEXELS = (1 << 31) - 1
"""Indices are 32-bit."""

PASSING_TEXELS = 1 << 24
"""Room of textures that frames draw from folders: beyond it they are forgotten between frames."""

_FIRST_TEXELS = 1 << 20


def pack_texels(linear: npt.NDArray[np.floating]) -> npt.NDArray[np.uint32]:
    """Linear values in 0..1, (H, W, 3), as words (H, W)."""
    root = np.sqrt(np.clip(linear, 0.0, 1.0))
    levels = np.rint(root * LEVELS).astype(np.uint32)
    packed: npt.NDArray[np.uint32] = levels[..., 0] | levels[..., 1] << 10 | levels[..., 2] << 20
    return packed


class TexelStore:
    """The buffer. It grows as textures are first shown, and keeps the scene's as long as it lives.

    Bounded by what a scene contains, ``PASSING_TEXELS``, the textures of one frame, and
    ``limit_bytes``.

    Args:
        limit_bytes: what the buffer may take.
    """

    def __init__(self, *, limit_bytes: int) -> None:
        self._limit = min(limit_bytes // 4, MAX_TEXELS)
        self._words = np.zeros(_FIRST_TEXELS, dtype=np.uint32)
        self._words[0] = (1 << 30) - 1  # white, where there is no texture
        self._used = 1
        self._rows: dict[object, tuple[int, int, int, int]] = {}
        self._passing: set[object] = set()
        self._buffer: Any = None

    def begin_frame(self) -> None:
        """Forgets textures that passed by, where they have become many; the scene's move up."""
        if sum(_texels(self._rows[key]) for key in self._passing) <= PASSING_TEXELS:
            return
        for key in self._passing:
            del self._rows[key]
        self._passing.clear()
        end = 1
        for key, (begin, width, height, wrap) in sorted(self._rows.items(), key=_offset):
            size = width * height
            self._words[end : end + size] = self._words[begin : begin + size]
            self._rows[key] = (end, width, height, wrap)
            end += size
        self._used = end
        self._buffer = None

    def row(
        self,
        key: object,
        wrap: str,
        make: Callable[[], npt.NDArray[np.floating]],
        *,
        passing: bool = False,
    ) -> tuple[int, int, int, int]:
        """A texture's place: offset in words, width, height, index into ``WRAP_MODES``.

        Args:
            key: names the texture; equal keys are equal textures.
            wrap: what happens outside 0..1.
            make: its linear values (H, W, 3), asked for once.
            passing: whether a frame drew it, rather than the scene naming it.

        Raises:
            PreconditionFailed: the scene's textures are larger than the limit.
        """
        found = self._rows.get(key)
        if found is None:
            found = self._rows[key] = self._add(pack_texels(make()), wrap)
            if passing:
                self._passing.add(key)
        elif not passing:
            self._passing.discard(key)
        return found

    @property
    def buffer(self) -> Any:
        """The words on the renderer's device."""
        if self._buffer is None:
            self._buffer = upload(mi.UInt32, self._words[: self._used])
        return self._buffer

    @property
    def held_bytes(self) -> int:
        """Bytes taken by textures."""
        return self._used * 4

    def _add(self, words: npt.NDArray[np.uint32], wrap: str) -> tuple[int, int, int, int]:
        begin, end = self._used, self._used + words.size
        if end > self._limit:
            raise PreconditionFailed(
                f"the scene's textures take more than {self._limit * 4 >> 20} MiB: make them "
                f"smaller, or give the generator more"
            )
        if end > len(self._words):
            grown = np.zeros(max(end, 2 * len(self._words)), dtype=np.uint32)
            grown[:begin] = self._words[:begin]
            self._words = grown
        self._words[begin:end] = words.ravel()
        self._used = end
        self._buffer = None
        return begin, words.shape[1], words.shape[0], WRAP_MODES.index(wrap)


def _texels(place: tuple[int, int, int, int]) -> int:
    return place[1] * place[2]


def _offset(row: tuple[object, tuple[int, int, int, int]]) -> int:
    return row[1][0]
