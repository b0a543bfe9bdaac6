"""Sizes of pictures by their headers, against what wrote them."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simcloud.scene.image_header import read_header

SUFFIXES = (".png", ".jpg", ".bmp", ".tiff", ".webp", ".hdr")


def encoded(suffix: str, shape: tuple[int, int], *options: int) -> bytes:
    image = np.random.default_rng(1).integers(0, 255, (*shape, 3)).astype(np.uint8)
    pixels = image.astype(np.float32) if suffix == ".hdr" else image
    done, data = cv2.imencode(suffix, pixels, list(options))
    assert done
    return bytes(data)


@pytest.mark.parametrize(
    ("suffix", "kind"),
    [
        (".png", "png"),
        (".jpg", "jpeg"),
        (".bmp", "bmp"),
        (".tiff", "tiff"),
        (".webp", "webp"),
        (".hdr", "hdr"),
    ],
)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (300, 257)])
def test_width_and_height_are_those_that_were_written(
    suffix: str, kind: str, shape: tuple[int, int]
) -> None:
    header = read_header(encoded(suffix, shape))
    assert (header.kind, header.height_px, header.width_px) == (kind, *shape)


def test_webp_without_loss_and_progressive_jpeg_are_read_too() -> None:
    lossless = read_header(encoded(".webp", (33, 65), cv2.IMWRITE_WEBP_QUALITY, 101))
    assert (lossless.width_px, lossless.height_px) == (65, 33)
    progressive = read_header(encoded(".jpg", (33, 65), cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
    assert (progressive.width_px, progressive.height_px) == (65, 33)


def test_an_exr_is_as_large_as_its_data_window(tmp_path: Path) -> None:
    path = tmp_path / "sky.exr"
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {"RGB": np.zeros((7, 13, 3), np.float32)}) as file:
        file.write(str(path))
    found = read_header(path.read_bytes())
    assert (found.kind, found.width_px, found.height_px) == ("exr", 13, 7)


def test_a_picture_that_would_fill_the_memory_is_known_by_its_header() -> None:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", 30_000, 30_000, 8, 6, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk
    data += struct.pack(">I", zlib.crc32(chunk)) + b"\0\0\0\0IEND\xaeB`\x82"
    assert read_header(data).pixels == 900_000_000


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "the file is empty"),
        (b"not a picture", "it is no PNG"),
        (b"<!doctype html><title>404</title>", "it is no PNG"),
        (b"\x89PNG\r\n\x1a\n", "no header chunk"),
        (b"\xff\xd8\xff\xe0", "cut off"),
        (b"BM", "cut off or broken"),
        (b"RIFF0000WAVE", "no WebP"),
        (b"\x76\x2f\x31\x01\0\0\0\0\0", "no data window"),
        (b"#?RADIANCE\n", "no size"),
    ],
)
def test_what_is_no_picture_is_told_in_words(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_header(data)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_pictures_that_end_early_are_noticed(suffix: str) -> None:
    whole = encoded(suffix, (64, 64))
    with pytest.raises(ValueError, match="cut off"):
        read_header(whole[: len(whole) // 2])


@settings(max_examples=300, deadline=None)
@given(
    suffix=st.sampled_from(SUFFIXES),
    at=st.integers(0, 400),
    byte=st.integers(0, 255),
    length=st.integers(0, 2000),
)
def test_broken_headers_raise_nothing_but_value_errors(
    suffix: str, at: int, byte: int, length: int
) -> None:
    data = bytearray(_SAMPLES[suffix][:length] if length else _SAMPLES[suffix])
    if data:
        data[at % len(data)] = byte
    try:
        header = read_header(bytes(data))
    except ValueError:
        return
    assert header.pixels > 0


_SAMPLES = {
    suffix: encoded(suffix, (9, 11))
    for suffix in (".png", ".jpg", ".bmp", ".tiff", ".webp", ".hdr")
}
