"""Reads a picture's kind and size from its first bytes, and whether its last ones are there.

Decoders allocate by the header and fill what is missing with grey; both are decided here, before
any pixel is decoded.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from simcloud_model_container.errors import BadRequest

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Frame headers of JPEG (ITU-T T.81 table B.1): C4, C8 and CC between them are other segments.
_JPEG_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN, _JPEG_END = 0xDA, 0xD9
# In a scan's data FF is followed by 00 (stuffing), RST0-7, or the next marker (T.81 B.1.1.2).
_JPEG_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """What a picture's header says."""

    media_type: str
    """image/jpeg or image/png."""
    width: int
    """Pixels, as stored: an EXIF orientation is not applied."""
    height: int
    """Pixels, as stored."""


def read_image_header(data: bytes) -> ImageHeader:
    """The header of a complete JPEG or PNG.

    Raises:
        BadRequest: neither kind, truncated, or without a size.
    """
    if data.startswith(_PNG_SIGNATURE):
        return _read_png(data)
    if data.startswith(b"\xff\xd8"):
        return _read_jpeg(data)
    found = data[:8].hex(" ") or "nothing"
    message = f"the body is neither JPEG nor PNG: it begins with {found}"
    raise BadRequest(message)


def _read_png(data: bytes) -> ImageHeader:
    width = height = 0
    offset = len(_PNG_SIGNATURE)
    while offset + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, offset)
        if kind == b"IHDR" and length == 13 and offset + 25 <= len(data):
            width, height = struct.unpack_from(">II", data, offset + 8)
        offset += 12 + length
        if kind == b"IEND" and offset <= len(data):
            return _header("image/png", width, height)
    raise _truncated("PNG", "no IEND chunk", len(data))


def _read_jpeg(data: bytes) -> ImageHeader:
    width = height = 0
    offset = 2
    while offset + 4 <= len(data):
        if data[offset] != 0xFF:
            message = f"the JPEG is damaged: expected a marker at byte {offset}"
            raise BadRequest(message)
        marker = data[offset + 1]
        if marker == 0xFF:  # fill bytes may stand before a marker
            offset += 1
            continue
        length = struct.unpack_from(">H", data, offset + 2)[0]
        if marker in _JPEG_FRAME_HEADERS and offset + 9 <= len(data):
            height, width = struct.unpack_from(">HH", data, offset + 5)
        offset += 2 + length
        if marker == _JPEG_SCAN:
            found = _JPEG_NEXT_MARKER.search(data, offset)
            if found is None:
                break
            if data[found.start() + 1] == _JPEG_END:
                return _header("image/jpeg", width, height)
            offset = found.start()
    raise _truncated("JPEG", "no end-of-image marker", len(data))


def _header(media_type: str, width: int, height: int) -> ImageHeader:
    if width == 0 or height == 0:
        message = f"the picture's header gives no size: {width} x {height}"
        raise BadRequest(message)
    return ImageHeader(media_type=media_type, width=width, height=height)


def _truncated(kind: str, what: str, size: int) -> BadRequest:
    return BadRequest(f"the {kind} is truncated: {what} in its {size} bytes")
