"""Picture files: looked at before they are taken, kept as they are where our encodings allow."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from simcloud.annotators import Encoding
from simcloud.dataset.encode import Array
from simcloud.importing.types import ImportLimits
from simcloud.scene.image_header import read_header

_ORIENTATION = 0x0112
"""EXIF tag of how a picture is to be turned; 1 is upright (Exif 2.32, 4.6.4)."""
_START_OF_SCAN = 0xDA
_STAND_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})
"""JPEG markers without a length (ISO/IEC 10918-1, table B.1)."""


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """A picture that can be taken."""

    width: int
    height: int
    """Pixels, upright."""
    as_is: Encoding | None
    """The encoding in which its bytes are 8-bit RGB already; None: it has to be decoded."""


def look_at(data: bytes, limits: ImportLimits) -> PictureFacts:
    """Decodes a picture once, to know that it can be.

    Raises:
        ValueError: no picture, cut off, broken, or too large; says which.
    """
    header = read_header(data)
    if max(header.width_px, header.height_px) > limits.side_px or header.pixels > limits.pixels:
        raise ValueError(
            f"it is {header.width_px}x{header.height_px}; at most {limits.side_px} a side and "
            f"{limits.pixels} pixels are taken"
        )
    height, width = decode_rgb(data).shape[:2]
    as_is = None
    if header.kind == "jpeg" and _jpeg_is_plain(data):
        as_is = Encoding.JPEG
    elif header.kind == "png" and _png_is_plain(data):
        as_is = Encoding.PNG
    return PictureFacts(width=width, height=height, as_is=as_is)


def decode_rgb(data: bytes) -> Array:
    """Any picture as (H, W, 3) uint8 RGB, upright; grey is repeated, alpha dropped.

    Raises:
        ValueError: it can't be decoded.
    """
    import cv2

    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise ValueError(f"it can't be decoded: {error}") from error
    if image is None:
        raise ValueError("it can't be decoded: broken or cut off")
    return np.ascontiguousarray(image[:, :, ::-1])


def decode_ids(data: bytes) -> Array:
    """A mask or segmentation picture as it is: (H, W) or (H, W, 3 or 4), uint8 or uint16, RGB(A).

    Raises:
        ValueError: it can't be decoded.
    """
    import cv2

    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError(f"it can't be decoded: {error}") from error
    if image is None:
        raise ValueError("it can't be decoded: broken or cut off")
    if image.ndim == 2:
        return np.asarray(image)
    order = [2, 1, 0, 3][: image.shape[2]]
    return np.ascontiguousarray(image[:, :, order])


def _png_is_plain(data: bytes) -> bool:
    """8-bit RGB without transparency or EXIF; else a decoder gives other than (H, W, 3) uint8."""
    depth, colour = data[24], data[25]
    at = 8
    while at + 8 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        if kind in {b"tRNS", b"eXIf"}:
            return False
        if kind == b"IDAT":
            break
        at += 12 + length
    return (depth, colour) == (8, 2)


def _jpeg_is_plain(data: bytes) -> bool:
    """Three components and upright."""
    at, components, orientation = 2, 0, 1
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes
            at += 1
            continue
        if marker in _STAND_ALONE:
            at += 2
            continue
        if marker == _START_OF_SCAN:
            break
        (length,) = struct.unpack_from(">H", data, at + 2)
        body = data[at + 4 : at + 2 + length]
        if 0xC0 <= marker <= 0xCF and marker not in {0xC4, 0xC8, 0xCC} and len(body) > 5:
            components = body[5]
        elif marker == 0xE1 and body.startswith(b"Exif\0\0"):
            orientation = exif_orientation(body[6:])
        at += 2 + length
    return components == 3 and orientation == 1


def exif_orientation(tiff: bytes) -> int:
    """The orientation that EXIF data says, 1 to 8; 1 when it says none."""
    order = "<" if tiff[:2] == b"II" else ">"
    try:
        (at,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, at)
        for number in range(count):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, at + 2 + 12 * number)
            if tag == _ORIENTATION:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1
