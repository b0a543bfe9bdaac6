"""Image files as arrays, decoded once and kept within a byte limit.

Nothing is read through a renderer: Mitsuba 3.9.1 never returns from an EXR when the process may
use one CPU only.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import numpy.typing as npt

from simcloud.errors import InvalidRequest
from simcloud.scene.files import on_disk, read_file
from simcloud.scene.translate.types import Texture

Float32Array = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]


def srgb_to_linear(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Decodes sRGB values in 0..1."""
    wide = values.astype(np.float64)
    return np.where(wide <= 0.04045, wide / 12.92, ((wide + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(values: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Encodes linear values in 0..1."""
    wide = np.clip(values.astype(np.float64), 0.0, None)
    return np.where(wide <= 0.0031308, 12.92 * wide, 1.055 * wide ** (1 / 2.4) - 0.055)


def read_image(path: str, max_side_px: int) -> UInt8Array:
    """An 8- or 16-bit image as uint8 (H, W, 4), reduced so that no side exceeds the limit.

    Raises:
        InvalidRequest: the file cannot be decoded.
    """
    import cv2

    data = np.frombuffer(read_file(path), dtype=np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    if image is None or image.dtype not in (np.uint8, np.uint16):
        raise InvalidRequest("scene", f"the texture {path} is no 8- or 16-bit image")
    if image.dtype == np.uint16:
        image = ((image.astype(np.uint32) + 128) // 257).astype(np.uint8)
    scale = max_side_px / max(image.shape[:2])
    if scale < 1:
        size = (max(1, int(image.shape[1] * scale)), max(1, int(image.shape[0] * scale)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    if image.shape[2] == 2:
        image = np.concatenate([np.repeat(image[:, :, :1], 3, axis=2), image[:, :, 1:]], axis=2)
    alpha = image[:, :, 3:] if image.shape[2] == 4 else np.full((*image.shape[:2], 1), 255, "u1")
    return np.ascontiguousarray(np.concatenate([image[:, :, 2::-1], alpha], axis=2))


def read_environment(path: str, width: int, height: int) -> Float32Array:
    """A latitude-longitude image as linear float32 (height, width, 3), values 0 to 65504.

    Raises:
        InvalidRequest: the file cannot be decoded.
    """
    import cv2

    image: npt.NDArray[Any]
    if path.lower().endswith(".exr"):
        image = _read_exr(path)
    else:
        data = np.frombuffer(read_file(path), dtype=np.uint8)
        decoded = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
        if decoded is None or decoded.ndim != 3:
            raise InvalidRequest("scene", f"the environment {path} is no colour image")
        image = decoded[:, :, 2::-1]
        if image.dtype == np.uint8:
            image = srgb_to_linear(image.astype(np.float64) / 255.0)
    image = np.nan_to_num(image.astype(np.float32), nan=0.0, posinf=65504.0, neginf=0.0)
    image = np.clip(image, 0.0, 65504.0)
    if image.shape[:2] != (height, width):
        shrink = image.shape[0] > height
        method = cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
        image = cv2.resize(image, (width, height), interpolation=method)
    return np.ascontiguousarray(image)


def _read_exr(path: str) -> npt.NDArray[np.floating]:
    import OpenEXR

    try:
        with on_disk(path) as copy, OpenEXR.File(str(copy)) as file:
            channels = file.channels()
            if "RGB" in channels:
                return np.asarray(channels["RGB"].pixels)
            if "RGBA" in channels:
                return np.asarray(channels["RGBA"].pixels)[:, :, :3]
            names = ("R", "G", "B") if "R" in channels else ("Y", "Y", "Y")
            return np.stack([np.asarray(channels[name].pixels) for name in names], axis=-1)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise InvalidRequest("scene", f"the environment {path} is no EXR: {error}") from error


class ImageStore:
    """Decoded images and environments by what was asked for, least recently used out first.

    Args:
        limit_bytes: bytes kept; one image is always kept, even if it is larger.
        max_side_px: larger textures are reduced to this.
        environment_size: (width, height) that every environment is brought to: renderers compile
            a kernel for each size.
    """

    def __init__(
        self, *, limit_bytes: int, max_side_px: int, environment_size: tuple[int, int]
    ) -> None:
        self._limit = limit_bytes
        self._max_side = max_side_px
        self._environment_size = environment_size
        self._entries: OrderedDict[tuple[object, ...], npt.NDArray[np.generic]] = OrderedDict()
        self.held_bytes = 0

    def pixels(self, path: str) -> UInt8Array:
        """The file as uint8 (H, W, 4)."""
        found = self._get(("pixels", path))
        if found is None:
            found = self._put(("pixels", path), read_image(path, self._max_side))
        return found.view(np.uint8)

    def values(self, texture: Texture) -> Float32Array:
        """A texture's linear values, float32 (H, W, C): C is 1 for one channel, else 3."""
        key = ("values", texture)
        found = self._get(key)
        if found is None:
            found = self._put(key, self._decode(texture))
        return found.view(np.float32)

    def environment(self, path: str) -> Float32Array:
        """A latitude-longitude image, linear float32 (H, W, 3)."""
        key = ("environment", path)
        found = self._get(key)
        if found is None:
            found = self._put(key, read_environment(path, *self._environment_size))
        return found.view(np.float32)

    def _decode(self, texture: Texture) -> Float32Array:
        pixels = self.pixels(texture.path)
        levels = np.arange(256) / 255.0
        picks = (0, 1, 2) if texture.channel is None else (texture.channel,)
        planes = []
        for index, channel in enumerate(picks):
            # alpha is never encoded, whatever the file's colours are
            curve = srgb_to_linear(levels) if texture.srgb and channel != 3 else levels
            table = curve * texture.scale[index] + texture.bias[index]
            planes.append(table.astype(np.float32)[pixels[:, :, channel]])
        return np.ascontiguousarray(np.stack(planes, axis=-1))

    def _get(self, key: tuple[object, ...]) -> npt.NDArray[np.generic] | None:
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def _put(
        self, key: tuple[object, ...], value: npt.NDArray[np.generic]
    ) -> npt.NDArray[np.generic]:
        value.setflags(write=False)
        self._entries[key] = value
        self.held_bytes += value.nbytes
        while self.held_bytes > self._limit and len(self._entries) > 1:
            _, dropped = self._entries.popitem(last=False)
            self.held_bytes -= dropped.nbytes
        return value
