"""Textures for many scattered points: 8-bit pyramids, read by OpenCV's bilinear remap."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from simcloud.scene.translate.types import Texture
from simcloud_generator.backends.images import (
    Float32Array,
    ImageStore,
    UInt8Array,
    srgb_to_linear,
)

MAP_WIDTH = 1024
"""Points are read as a picture this wide: OpenCV's maps end at 32767 a side."""

MIN_SIDE_PX = 4
"""A pyramid ends before a side would be shorter."""

_BORDERS = {
    "repeat": cv2.BORDER_WRAP,
    "mirror": cv2.BORDER_REFLECT,
    "clamp": cv2.BORDER_REPLICATE,
}


class Texels:
    """Samples of textures at a level of detail; pyramids are kept within a byte limit.

    Args:
        images: where pictures come from.
        limit_bytes: of pyramids; the least recently used go first, one is always kept.
    """

    def __init__(self, images: ImageStore, *, limit_bytes: int) -> None:
        self._images = images
        self._limit = limit_bytes
        self._pyramids: OrderedDict[str, tuple[UInt8Array, ...]] = OrderedDict()
        self._held = 0

    def level(self, texture: Texture, uv: Float32Array, pixels: npt.NDArray[np.int64]) -> int:
        """The level whose texels are about as large as pixels.

        Args:
            texture: the texture.
            uv: coordinates (2, N).
            pixels: flat pixel indices (N,) that they were seen in, ascending.
        """
        pyramid = self._pyramid(texture.path)
        neighbours = np.flatnonzero(np.diff(pixels) == 1)
        if len(neighbours) == 0:
            return min(2, len(pyramid) - 1)
        height, width = pyramid[0].shape[:2]
        across, up = np.abs(uv[:, neighbours + 1] - uv[:, neighbours])
        texels = float(np.median(np.maximum(across * width, up * height)))
        return int(np.clip(np.log2(max(texels, 1.0)), 0, len(pyramid) - 1))

    def sample(self, texture: Texture, uv: Float32Array, level: int) -> Float32Array:
        """Linear values (3, N), or (1, N) of one channel, at coordinates (2, N) with v up."""
        picture = self._pyramid(texture.path)[level]
        height, width = picture.shape[:2]
        x, y = _wrapped(uv[0], texture.wrap), 1.0 - _wrapped(uv[1], texture.wrap)
        found = remap(picture, x * width - 0.5, y * height - 0.5, _BORDERS[texture.wrap])
        levels = np.arange(256) / 255.0
        picks = (0, 1, 2) if texture.channel is None else (texture.channel,)
        planes = []
        for index, channel in enumerate(picks):
            curve = srgb_to_linear(levels) if texture.srgb and channel != 3 else levels
            table = (curve * texture.scale[index] + texture.bias[index]).astype(np.float32)
            planes.append(table[found[:, channel]])
        return np.stack(planes)

    def _pyramid(self, path: str) -> tuple[UInt8Array, ...]:
        found = self._pyramids.get(path)
        if found is not None:
            self._pyramids.move_to_end(path)
            return found
        levels: list[UInt8Array] = [self._images.pixels(path)]
        while min(levels[-1].shape[:2]) >= 2 * MIN_SIDE_PX:
            height, width = levels[-1].shape[:2]
            half = cv2.resize(levels[-1], (width // 2, height // 2), interpolation=cv2.INTER_AREA)
            levels.append(np.asarray(half, dtype=np.uint8))
        made = tuple(levels)
        self._pyramids[path] = made
        self._held += _bytes(made)
        while self._held > self._limit and len(self._pyramids) > 1:
            _, dropped = self._pyramids.popitem(last=False)
            self._held -= _bytes(dropped)
        return made


def _bytes(pyramid: tuple[UInt8Array, ...]) -> int:
    return sum(level.nbytes for level in pyramid)


def _wrapped(values: Float32Array, mode: str) -> Float32Array:
    """Coordinates brought near 0 to 1, as the mode repeats the picture."""
    match mode:
        case "clamp":
            return np.clip(values, 0.0, 1.0)
        case "mirror":
            folded = np.mod(values, np.float32(2.0))
            return np.minimum(folded, 2.0 - folded)
        case _:
            return np.mod(values, np.float32(1.0))


def remap(
    picture: npt.NDArray[Any], x: Float32Array, y: Float32Array, border: int
) -> npt.NDArray[Any]:
    """Bilinear values (N, C) of a picture (H, W, C), in its dtype, at pixel coordinates (N,)."""
    count = len(x)
    rows = -(-count // MAP_WIDTH)
    maps = []
    for values in (x, y):
        padded = np.zeros(rows * MAP_WIDTH, dtype=np.float32)
        padded[:count] = values
        maps.append(padded.reshape(rows, MAP_WIDTH))
    found = cv2.remap(picture, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(found).reshape(rows * MAP_WIDTH, -1)[:count]
