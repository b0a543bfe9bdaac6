"""What people have at hand as pictures that the router takes."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from simcloud.client._router_types import Picture
from simcloud.dataset.frames import FrameRef
from simcloud.errors import InvalidRequest, NotFound

PictureLike: TypeAlias = bytes | str | PathLike[str] | npt.NDArray[np.uint8] | Picture | FrameRef
"""An encoded picture; a file's path; pixels, (H, W, 3) uint8 RGB, row 0 at the top; or what goes to
the router as it is."""

_MAGIC = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
"""First bytes by kind: PNG (ISO/IEC 15948, 5.2), JPEG (ISO/IEC 10918-1, B.1.1.3: SOI, then a
marker)."""


def picture_of(given: PictureLike) -> Picture | FrameRef:
    """The picture as it goes to the router; pixels are sent as PNG, which loses nothing.

    A file's ending is not looked at, its first bytes are. What comes after them is the model's to
    judge.

    Raises:
        InvalidRequest: it is no PNG or JPEG, or pixels of another shape or type.
        NotFound: there is no such file.
    """
    match given:
        case Picture() | FrameRef():
            return given
        case bytes():
            return _encoded(given, f"picture of {len(given)} bytes")
        case np.ndarray():
            return _pixels(given)
        case _:
            return _file(Path(given))


def _file(path: Path) -> Picture:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"{path}: there is no such file") from None
    except OSError as error:
        raise InvalidRequest(str(path), f"can't be read: {error.strerror or error}") from error
    return _encoded(data, str(path))


def _encoded(data: bytes, what: str) -> Picture:
    for magic, media_type in _MAGIC.items():
        if data.startswith(magic):
            return Picture(media_type, data)
    if not data:
        raise InvalidRequest(what, "is empty")
    raise InvalidRequest(
        what, f"is neither PNG nor JPEG: it begins with {data[:8].hex(' ')}; convert it first"
    )


def _pixels(pixels: npt.NDArray[np.uint8]) -> Picture:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise InvalidRequest(
            "pixels",
            f"expected (height, width, 3) uint8 in RGB, found {pixels.shape} {pixels.dtype}",
        )
    import cv2

    done, data = cv2.imencode(".png", np.ascontiguousarray(pixels[:, :, ::-1]))
    if not done:
        raise InvalidRequest("pixels", f"of shape {pixels.shape} can't be encoded as PNG")
    return Picture("image/png", data.tobytes())
