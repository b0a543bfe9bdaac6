"""Encoded pictures to RGB arrays, within limits."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from simcloud_model_container.errors import BadRequest, BodyTooLarge
from simcloud_model_container.image_header import read_image_header

# Raw image bytes of either kind, SageMaker's name for them in its built-in algorithms.
ANY_IMAGE = "application/x-image"
IMAGE_TYPES = ("image/jpeg", "image/png", ANY_IMAGE)


def decode_image(data: bytes, *, content_type: str, max_pixels: int) -> npt.NDArray[np.uint8]:
    """Decode a JPEG or PNG to (height, width, RGB) uint8.

    Rows and columns are those stored in the file: an EXIF orientation is not applied, so that boxes
    are in the pixels of the picture as it was sent. Alpha is dropped, grey is repeated, 16 bits
    are reduced to 8.

    Raises:
        BadRequest: not a complete picture of that type.
        BodyTooLarge: more than `max_pixels` pixels by its header; nothing is decoded then.
    """
    header = read_image_header(data)
    if content_type not in {ANY_IMAGE, header.media_type}:
        message = f"the content type says {content_type}, the body is {header.media_type}"
        raise BadRequest(message)
    if header.width * header.height > max_pixels:
        message = (
            f"the picture is {header.width} x {header.height} = {header.width * header.height} "
            f"pixels, at most {max_pixels} are decoded"
        )
        raise BodyTooLarge(message)
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise _undecodable(header.media_type) from error
    if pixels is None or pixels.shape != (header.height, header.width, 3):
        raise _undecodable(header.media_type)
    return np.asarray(pixels, np.uint8)


def _undecodable(media_type: str) -> BadRequest:
    return BadRequest(f"the {media_type} can't be decoded: its data is damaged")
