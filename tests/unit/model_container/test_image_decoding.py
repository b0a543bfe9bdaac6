from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest

from simcloud_model_container.errors import BadRequest, BodyTooLarge
from simcloud_model_container.image_decoding import decode_image

PIXELS = np.random.default_rng(4).integers(0, 256, (6, 9, 3), np.uint8)
PNG = bytes(cv2.imencode(".png", PIXELS)[1])
JPEG = bytes(cv2.imencode(".jpg", PIXELS)[1])


def test_channels_come_out_as_rgb() -> None:
    decoded = decode_image(PNG, content_type="image/png", max_pixels=100)
    np.testing.assert_array_equal(decoded, PIXELS[:, :, ::-1])


@pytest.mark.parametrize("shape", [(6, 9), (6, 9, 4)])
def test_grey_is_repeated_and_alpha_dropped(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(5).integers(0, 256, shape, np.uint8)
    data = bytes(cv2.imencode(".png", pixels)[1])
    decoded = decode_image(data, content_type="application/x-image", max_pixels=100)
    colours = pixels[:, :, 2::-1] if pixels.ndim == 3 else np.stack([pixels] * 3, axis=2)
    np.testing.assert_array_equal(decoded, colours)


def test_an_exif_orientation_is_not_applied() -> None:
    tiff = b"MM\x00\x2a\x00\x00\x00\x08\x00\x01" + struct.pack(">HHIHHI", 0x112, 3, 1, 6, 0, 0)
    exif = b"Exif\x00\x00" + tiff
    turned = JPEG[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + JPEG[2:]
    applied = cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR)
    assert applied is not None
    assert applied.shape == (9, 6, 3)
    decoded = decode_image(turned, content_type="image/jpeg", max_pixels=100)
    assert decoded.shape == (6, 9, 3)


def test_a_picture_of_too_many_pixels_is_refused_by_its_header() -> None:
    with pytest.raises(BodyTooLarge, match="9 x 6 = 54 pixels, at most 53"):
        decode_image(PNG, content_type="image/png", max_pixels=53)


def test_a_decompression_bomb_is_refused_without_decoding() -> None:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 2, 0, 0, 0)
    header = struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    bomb = PNG[:8] + header + PNG[33:]
    with pytest.raises(BodyTooLarge):
        decode_image(bomb, content_type="image/png", max_pixels=32_000_000)


def test_the_content_type_must_be_the_body_s() -> None:
    with pytest.raises(BadRequest, match="says image/jpeg, the body is image/png"):
        decode_image(PNG, content_type="image/jpeg", max_pixels=100)


def test_damaged_data_is_refused() -> None:
    middle = len(PNG) // 2
    damaged = PNG[:middle] + bytes([PNG[middle] ^ 0xFF]) + PNG[middle + 1 :]
    with pytest.raises(BadRequest, match="damaged"):
        decode_image(damaged, content_type="image/png", max_pixels=100)
