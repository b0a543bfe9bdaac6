from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from simcloud.oip.tensors import Tensor, join_bytes, tensor_of
from simcloud_inference_router.codecs.base import (
    MalformedAnswer,
    TensorAnswer,
    TensorCodec,
    TensorRequest,
    UnencodableRequest,
)
from simcloud_inference_router.codecs.json_v2 import JsonV2
from simcloud_inference_router.codecs.npy import Npy
from simcloud_inference_router.codecs.raw_image import encode_picture
from simcloud_inference_router.codecs.triton_binary import MEDIA_TYPE, TritonBinary
from simcloud_inference_router.codecs.values import from_json, to_json

DTYPES = st.sampled_from(["?", "u1", "<u2", "<u4", "<u8", "i1", "<i2", "<i4", "<i8", "<f4", "<f8"])
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(
        dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    )
)
FINITE = ARRAYS.filter(lambda array: array.dtype.kind != "f" or bool(np.isfinite(array).all()))
TEXTS = st.lists(st.text(max_size=5), max_size=4)

REQUEST = TensorRequest(
    inputs=(
        Tensor("x", "FP32", (1, 2), struct.pack("<2f", 1, 2)),
        Tensor("t", "BYTES", (1,), join_bytes([b"ab"])),
    ),
    outputs=("y",),
    id="7",
    parameters={"threshold": 0.5, "flag": True},
)


def test_triton_binary_is_the_header_and_the_tensors_in_the_order_of_the_inputs() -> None:
    encoded = TritonBinary().encode(REQUEST)
    size = int(encoded.content_type.removeprefix(f"{MEDIA_TYPE};json-header-size="))
    assert json.loads(encoded.body[:size]) == {
        "id": "7",
        "inputs": [
            {
                "name": "x",
                "shape": [1, 2],
                "datatype": "FP32",
                "parameters": {"binary_data_size": 8},
            },
            {
                "name": "t",
                "shape": [1],
                "datatype": "BYTES",
                "parameters": {"binary_data_size": 6},
            },
        ],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
        "parameters": {"threshold": 0.5, "flag": True},
    }
    assert encoded.body[size:] == struct.pack("<2f", 1, 2) + b"\x02\x00\x00\x00ab"


def test_triton_binary_reads_outputs_that_came_as_json_beside_binary_ones() -> None:
    entries = [
        {"name": "a", "datatype": "INT32", "shape": [2], "data": [1, -2]},
        {"name": "b", "datatype": "UINT8", "shape": [3], "parameters": {"binary_data_size": 3}},
    ]
    header = json.dumps({"outputs": entries, "parameters": {"k": 1, "nested": {}}}).encode()
    answer = TritonBinary().decode(header + b"xyz", f"{MEDIA_TYPE}; json-header-size={len(header)}")
    assert answer == TensorAnswer(
        (
            Tensor("a", "INT32", (2,), struct.pack("<2i", 1, -2)),
            Tensor("b", "UINT8", (3,), b"xyz"),
        ),
        {"k": 1},
    )


def test_triton_binary_recognizes_headers_that_differ_in_the_requests_id_alone() -> None:
    entry = {
        "name": "y",
        "datatype": "UINT8",
        "shape": [2],
        "parameters": {"binary_data_size": 2},
    }
    for number, parameters in enumerate(({}, {"id": "1"}, {"id": "2"}, {"id": "1"})):
        # In the answer's own parameters an id means what it says.
        document = {"id": str(number), "parameters": parameters, "outputs": [entry]}
        header = json.dumps(document, separators=(",", ":")).encode()
        data = bytes([number, 7])
        answer = TritonBinary().decode(
            header + data, f"{MEDIA_TYPE};json-header-size={len(header)}"
        )
        assert answer == TensorAnswer((Tensor("y", "UINT8", (2,), data),), parameters)


@given(text=st.text(max_size=20), values=st.lists(st.integers(0, 255), min_size=1, max_size=3))
def test_triton_binary_carries_every_id_and_shape_seen_before_or_not(
    text: str, values: list[int]
) -> None:
    tensor = Tensor("x", "UINT8", (len(values),), bytes(values))
    encoded = TritonBinary().encode(TensorRequest((tensor,), ("y",), text))
    size = int(encoded.content_type.removeprefix(f"{MEDIA_TYPE};json-header-size="))
    header = json.loads(encoded.body[:size])
    assert header.get("id", "") == text
    assert header["inputs"][0]["shape"] == [len(values)]
    assert encoded.body[size:] == bytes(values)


def output(more: str) -> str:
    return '{"outputs":[{"name":"y","datatype":"UINT8","shape":[2]' + more + "}]}"


@pytest.mark.parametrize(
    ("header", "tail", "content_type"),
    [
        ("{", b"", None),
        ("[]", b"", None),
        ("{}", b"", None),
        ('{"outputs":[1]}', b"", None),
        (output(""), b"", None),
        (output(',"data":[1]'), b"", None),
        (output(',"data":["a","b"]'), b"", None),
        (output(',"data":[1.5,2]'), b"", None),
        (output(',"parameters":{"binary_data_size":2}'), b"a", None),
        (output(',"parameters":{"binary_data_size":2}'), b"abc", None),
        (output(',"parameters":{"binary_data_size":-1}'), b"", None),
        (output(',"parameters":{"binary_data_size":true}'), b"a", None),
        ('{"outputs":[{"name":"y","datatype":"UINT8","shape":[-1],"data":[]}]}', b"", None),
        ('{"outputs":[{"name":"","datatype":"UINT8","shape":[0],"data":[]}]}', b"", None),
        ('{"outputs":[]}', b"", "application/octet-stream"),
        ('{"outputs":[]}', b"", MEDIA_TYPE),
        ('{"outputs":[]}', b"", f"{MEDIA_TYPE};json-header-size=0"),
        ('{"outputs":[]}', b"", f"{MEDIA_TYPE};json-header-size=15"),
    ],
)
def test_an_answer_that_is_not_tritons_is_malformed(
    header: str, tail: bytes, content_type: str | None
) -> None:
    kind = content_type or f"{MEDIA_TYPE};json-header-size={len(header)}"
    with pytest.raises(MalformedAnswer):
        TritonBinary().decode(header.encode() + tail, kind)


@given(st.binary(max_size=60), st.integers(0, 80))
def test_no_bytes_from_a_target_do_more_than_be_malformed(body: bytes, size: int) -> None:
    for codec, kind in (
        (TritonBinary(), f"{MEDIA_TYPE};json-header-size={size}"),
        (JsonV2(), "application/json"),
        (Npy(output="y"), "application/x-npy"),
    ):
        assert isinstance(codec, object)
        _decode_or_malformed(codec, body, kind)


def _decode_or_malformed(codec: TensorCodec, body: bytes, kind: str) -> None:
    try:
        codec.decode(body, kind)
    except MalformedAnswer:
        return


@given(FINITE)
def test_numbers_survive_json(array: np.ndarray) -> None:
    tensor = tensor_of("y", array)
    values = json.loads(json.dumps(to_json(tensor)))
    entry = {
        "name": "y",
        "datatype": tensor.datatype,
        "shape": list(tensor.shape),
        "data": values,
    }
    assert from_json(entry) == tensor


@given(TEXTS)
def test_texts_survive_json(texts: list[str]) -> None:
    tensor = Tensor("t", "BYTES", (len(texts),), join_bytes(texts))
    entry = {
        "name": "t",
        "datatype": "BYTES",
        "shape": [len(texts)],
        "data": json.loads(json.dumps(to_json(tensor))),
    }
    assert from_json(entry) == tensor


def test_large_unsigned_numbers_survive_json() -> None:
    tensor = tensor_of("y", np.array([0, 2**63, 2**64 - 1], np.uint64))
    entry = {"name": "y", "datatype": "UINT64", "shape": [3], "data": to_json(tensor)}
    assert from_json(entry) == tensor


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor("x", "BF16", (1,), b"\x00\x00"),
        Tensor("x", "FP32", (1,), struct.pack("<f", float("nan"))),
        Tensor("x", "BYTES", (1,), join_bytes([b"\xff"])),
    ],
)
def test_what_json_can_not_carry_is_refused(tensor: Tensor) -> None:
    with pytest.raises(UnencodableRequest):
        JsonV2().encode(TensorRequest(inputs=(tensor,), outputs=("y",)))


def test_json_v2_is_one_document() -> None:
    encoded = JsonV2().encode(REQUEST)
    document = json.loads(encoded.body)
    assert document["inputs"][1] == {
        "name": "t",
        "shape": [1],
        "datatype": "BYTES",
        "data": ["ab"],
    }
    assert (encoded.content_type, encoded.accept) == ("application/json", "application/json")


@pytest.mark.parametrize("data", [[[1, 2], [3, 4]], [1, 2, 3, 4]])
def test_json_data_may_be_nested_or_flat(data: list[object]) -> None:
    body = json.dumps(
        {"outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 2], "data": data}]}
    ).encode()
    (output,) = JsonV2().decode(body, "application/json; charset=utf-8").outputs
    assert output.array().tolist() == [[1, 2], [3, 4]]


@given(ARRAYS)
def test_arrays_survive_npy(array: np.ndarray) -> None:
    tensor = tensor_of("x", array)
    encoded = Npy(output="x").encode(TensorRequest(inputs=(tensor,), outputs=("x",)))
    (back,) = Npy(output="x").decode(encoded.body, encoded.content_type).outputs
    assert back == tensor


def test_a_pickled_or_text_array_is_malformed() -> None:
    for array in (np.array([{}], object), np.array(["a"])):
        file = io.BytesIO()
        np.save(file, array, allow_pickle=True)
        with pytest.raises(MalformedAnswer):
            Npy(output="y").decode(file.getvalue(), "application/x-npy")


def test_a_picture_is_its_own_request() -> None:
    encoded = encode_picture(b"png", media_type="image/png", accept="", parameters={"a": "1"})
    assert (encoded.body, encoded.content_type, encoded.accept) == (
        b"png",
        "image/png",
        "application/json",
    )
    assert encoded.parameters == {"a": "1"}
