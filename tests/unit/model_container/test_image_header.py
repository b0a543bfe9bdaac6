from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcloud_model_container.errors import BadRequest
from simcloud_model_container.image_header import ImageHeader, read_image_header

SIZES = st.integers(1, 70)


def encoded(extension: str, pixels: npt.NDArray[np.uint8], *flags: int) -> bytes:
    done, data = cv2.imencode(extension, pixels, list(flags))
    assert done
    return bytes(data)


def noise(width: int, height: int) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), np.uint8)


@given(SIZES, SIZES, st.sampled_from([(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1)]))
def test_a_jpeg_s_size_is_found_baseline_or_progressive(
    width: int, height: int, flags: tuple[int, ...]
) -> None:
    data = encoded(".jpg", noise(width, height), *flags)
    assert read_image_header(data) == ImageHeader("image/jpeg", width, height)


@given(SIZES, SIZES)
def test_a_png_s_size_is_found(width: int, height: int) -> None:
    data = encoded(".png", noise(width, height))
    assert read_image_header(data) == ImageHeader("image/png", width, height)


@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_every_truncation_is_refused(extension: str) -> None:
    data = encoded(extension, noise(9, 7))
    for length in range(len(data)):
        with pytest.raises(BadRequest):
            read_image_header(data[:length])


def test_a_thumbnail_s_end_marker_is_not_the_picture_s() -> None:
    data = encoded(".jpg", noise(40, 30))
    thumbnail = encoded(".jpg", noise(8, 8))
    segment = b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    with_thumbnail = data[:2] + segment + data[2:]
    assert read_image_header(with_thumbnail) == ImageHeader("image/jpeg", 40, 30)
    with pytest.raises(BadRequest, match="truncated"):
        read_image_header(with_thumbnail[:-2])


def test_fill_bytes_before_a_marker_and_bytes_after_the_end_are_allowed() -> None:
    data = encoded(".jpg", noise(12, 5))
    filled = data[:2] + b"\xff\xff" + data[2:] + b"tail"
    assert read_image_header(filled) == ImageHeader("image/jpeg", 12, 5)


def test_another_kind_of_file_is_refused_by_its_first_bytes() -> None:
    with pytest.raises(BadRequest, match="47 49 46 38 39 61"):
        read_image_header(b"GIF89a")
    with pytest.raises(BadRequest, match="nothing"):
        read_image_header(b"")


@given(st.sampled_from([b"\xff\xd8", b"\x89PNG\r\n\x1a\n"]), st.binary(max_size=120))
def test_arbitrary_bytes_are_read_or_refused(start: bytes, rest: bytes) -> None:
    try:
        header = read_image_header(start + rest)
    except BadRequest:
        return
    assert header.width > 0
    assert header.height > 0
