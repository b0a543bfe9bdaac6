from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from simcloud.annotators import ANNOTATORS, Encoding
from simcloud.dataset.encode import decode, encode
from simcloud.errors import Corruption, InvalidRequest

Array = npt.NDArray[Any]

SIZES = [(7, 5), (33, 17), (1, 1), (64, 48)]
LOSSY = {Encoding.JPEG, Encoding.EXR_HALF}


def sample(annotator: str, size: tuple[int, int]) -> Array:
    """Noise in the annotator's dtype and shape."""
    random = np.random.default_rng(5)
    row = ANNOTATORS[annotator]
    shape = (size[1], size[0], 3) if row.shape == "(H, W, 3)" else (size[1], size[0])
    if row.dtype == "float32":
        values = random.uniform(-1, 1, shape).astype(np.float32)
        if annotator.startswith("distance"):
            values = np.abs(values) * 10
            values[0, 0] = np.inf
        return values
    return random.integers(0, np.iinfo(row.dtype).max, shape, dtype=row.dtype, endpoint=True)


PLAIN = [
    (name, encoding)
    for name, row in ANNOTATORS.items()
    if row.is_layer and name != "pointcloud"
    for encoding in row.encodings
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("annotator", "encoding"), PLAIN)
def test_layer_comes_back_as_it_was(
    annotator: str, encoding: Encoding, size: tuple[int, int]
) -> None:
    array = sample(annotator, size)
    data = encode(array, encoding)
    back = decode(data, encoding)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    if encoding == Encoding.EXR_HALF:
        assert np.abs(back - array).max() <= 2**-11
    elif encoding not in LOSSY:
        assert back.tobytes() == array.tobytes()
    assert encode(array, encoding) == data, "equal arrays give equal bytes"


def test_jpeg_keeps_a_smooth_picture_within_a_few_levels() -> None:
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    picture = np.stack(np.broadcast_arrays(ramp[None, :], ramp[:, None], ramp[None, :]), axis=-1)
    back = decode(encode(picture, Encoding.JPEG), Encoding.JPEG)
    assert np.abs(back.astype(int) - picture.astype(int)).max() <= 8


def test_colours_keep_their_order_in_png_and_jpeg() -> None:
    picture = np.zeros((16, 16, 3), dtype=np.uint8)
    picture[..., 0] = 250
    for encoding in (Encoding.PNG, Encoding.JPEG):
        back = decode(encode(picture, encoding), encoding)
        assert back[8, 8, 0] > 240
        assert back[8, 8, 2] < 15


@pytest.mark.parametrize("count", [0, 1, 50])
def test_rows_with_fields_become_one_array_per_field(count: int) -> None:
    rows = np.zeros(count, dtype=[("points", np.float32, (3,)), ("semantic", np.uint16)])
    rows["points"] = np.arange(3 * count).reshape(-1, 3)
    rows["semantic"] = np.arange(count)
    data = encode(rows, Encoding.NPZ)
    with np.load(io.BytesIO(data)) as file:
        assert set(file.files) == {"points", "semantic"}
        assert (file["points"] == rows["points"]).all()
    back = decode(data, Encoding.NPZ)
    assert back.dtype == rows.dtype
    assert (back == rows).all()


def test_npz_carries_no_time_of_its_making() -> None:
    data = encode(np.ones((2, 2), np.float32), Encoding.NPZ)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert [info.date_time for info in archive.infolist()] == [(1980, 1, 1, 0, 0, 0)]


@pytest.mark.parametrize(
    ("array", "encoding"),
    [
        (np.zeros((4, 4), np.float64), Encoding.PNG),
        (np.zeros((4, 4, 4), np.uint8), Encoding.PNG),
        (np.zeros((4, 4), np.uint16), Encoding.JPEG),
        (np.zeros((4, 4, 2), np.float32), Encoding.EXR_FLOAT),
        (np.zeros((0, 4), np.uint16), Encoding.PNG),
        (np.zeros((4, 4), np.float32), Encoding.JSON),
    ],
)
def test_array_that_an_encoding_cannot_carry_is_refused(array: Array, encoding: Encoding) -> None:
    with pytest.raises(InvalidRequest, match="cannot carry"):
        encode(array, encoding)


@pytest.mark.parametrize("encoding", [e for e in Encoding if e != Encoding.JSON])
@pytest.mark.parametrize("data", [b"", b"no such file", bytes(200)])
def test_bytes_that_are_no_layer_are_corruption(encoding: Encoding, data: bytes) -> None:
    with pytest.raises(Corruption):
        decode(data, encoding)


def test_truncated_layers_are_corruption() -> None:
    picture = sample("distance_to_camera", (64, 48))
    for encoding in (Encoding.EXR_FLOAT, Encoding.NPZ):
        data = encode(picture, encoding)
        with pytest.raises(Corruption):
            decode(data[: len(data) // 2], encoding)
