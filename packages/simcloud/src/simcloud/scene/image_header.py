"""Size and kind of an image from its first bytes: nothing is decoded.

A picture of 30000 x 30000 takes a few kilobytes as a file and gigabytes once decoded, so what a
scene names is looked at here first. What cannot be an image, or ends before its end, is said too.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

_PNG_END = b"IEND\xaeB`\x82"
_JPEG_SIZES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Start-of-frame markers (ISO/IEC 10918-1, table B.1): C4, C8 and CC are something else."""
_TIFF_TYPES = {1: "B", 3: "H", 4: "I"}


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What an image says of itself."""

    kind: str
    """``png``, ``jpeg``, ``bmp``, ``tiff``, ``webp``, ``exr`` or ``hdr``."""
    width_px: int
    height_px: int

    @property
    def pixels(self) -> int:
        """Width times height."""
        return self.width_px * self.height_px


def read_header(data: bytes) -> ImageHeader:
    """Kind and size of an image.

    Args:
        data: the whole file; only its ends are looked at.

    Raises:
        ValueError: it is no image of a kind that can be read, or it is cut off; says what it is.
    """
    if not data:
        raise ValueError("the file is empty")
    for magic, kind, reader in _READERS:
        if data.startswith(magic):
            try:
                width, height = reader(data)
            except (struct.error, IndexError, KeyError) as error:
                raise ValueError(f"the {kind} file is cut off or broken") from error
            if width < 1 or height < 1:
                raise ValueError(f"the {kind} file says it is {width}x{height}")
            return ImageHeader(kind=kind, width_px=width, height_px=height)
    raise ValueError("it is no PNG, JPEG, BMP, TIFF, WebP, OpenEXR or Radiance HDR file")


def _png(data: bytes) -> tuple[int, int]:
    if data[12:16] != b"IHDR":
        raise ValueError("the png file has no header chunk")
    if _PNG_END not in data[-64:]:
        raise ValueError("the png file is cut off")
    return struct.unpack_from(">II", data, 16)


def _jpeg(data: bytes) -> tuple[int, int]:
    if b"\xff\xd9" not in data[-64:]:
        raise ValueError("the jpeg file is cut off")
    at = 2
    while True:
        if data[at] != 0xFF:
            raise ValueError("the jpeg file is broken")
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes
            at += 1
            continue
        if marker in _JPEG_SIZES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def _bmp(data: bytes) -> tuple[int, int]:
    width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)


def _webp(data: bytes) -> tuple[int, int]:
    if data[8:12] != b"WEBP":
        raise ValueError("it is a RIFF file, but no WebP")
    match data[12:16]:
        case b"VP8 ":
            width, height = struct.unpack_from("<HH", data, 26)
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            bits = struct.unpack_from("<I", data, 21)[0]
            return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1
        case _:
            wide, high = data[24:27], data[27:30]
            return int.from_bytes(wide, "little") + 1, int.from_bytes(high, "little") + 1


def _tiff(data: bytes) -> tuple[int, int]:
    order = "<" if data[:2] == b"II" else ">"
    at = struct.unpack_from(order + "I", data, 4)[0]
    sizes: dict[int, int] = {}
    for number in range(struct.unpack_from(order + "H", data, at)[0]):
        entry = at + 2 + 12 * number
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        if tag in (256, 257):  # ImageWidth, ImageLength
            sizes[tag] = struct.unpack_from(order + _TIFF_TYPES[kind], data, entry + 8)[0]
    return sizes[256], sizes[257]


def _exr(data: bytes) -> tuple[int, int]:
    """The data window of an OpenEXR header: name, type, size and value of each attribute."""
    at = 8
    while data[at] != 0:
        name_end = data.index(b"\0", at)
        type_end = data.index(b"\0", name_end + 1)
        size = struct.unpack_from("<I", data, type_end + 1)[0]
        if data[at:name_end] == b"dataWindow":
            left, top, right, bottom = struct.unpack_from("<iiii", data, type_end + 5)
            return right - left + 1, bottom - top + 1
        at = type_end + 5 + size
    raise ValueError("the exr file has no data window")


def _hdr(data: bytes) -> tuple[int, int]:
    found = re.search(rb"\n[-+]Y (\d{1,9}) [-+]X (\d{1,9})\n", data[:4096])
    if found is None:
        raise ValueError("the hdr file has no size")
    return int(found[2]), int(found[1])


_READERS: tuple[tuple[bytes, str, Callable[[bytes], tuple[int, int]]], ...] = (
    (b"\x89PNG\r\n\x1a\n", "png", _png),
    (b"\xff\xd8\xff", "jpeg", _jpeg),
    (b"BM", "bmp", _bmp),
    (b"RIFF", "webp", _webp),
    (b"II*\0", "tiff", _tiff),
    (b"MM\0*", "tiff", _tiff),
    (b"\x76\x2f\x31\x01", "exr", _exr),
    (b"#?", "hdr", _hdr),
)
