from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from simcloud_model_container.errors import BadRequest
from simcloud_model_container.tensor_codec import (
    BINARY_TYPE,
    DTYPES,
    JSON_TYPE,
    decode_tensor_request,
    encode_tensor_answer,
    json_header_size,
)

ARRAYS = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda name: hnp.arrays(DTYPES[name], hnp.array_shapes(min_dims=1, max_dims=4, max_side=5))
)


def binary_request(header: dict[str, Any], *tensors: npt.NDArray[Any]) -> tuple[int, bytes]:
    data = json.dumps(header).encode()
    return len(data), b"".join([data, *(tensor.tobytes() for tensor in tensors)])


def described(name: str, tensor: npt.NDArray[Any], datatype: str) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": datatype,
        "shape": list(tensor.shape),
        "parameters": {"binary_data_size": tensor.nbytes},
    }


def datatype_of(tensor: npt.NDArray[Any]) -> str:
    return next(name for name, dtype in DTYPES.items() if dtype == tensor.dtype)


@given(ARRAYS, ARRAYS)
def test_binary_tensors_come_out_as_they_were_sent(
    first: npt.NDArray[Any], second: npt.NDArray[Any]
) -> None:
    header = {
        "id": "7",
        "inputs": [
            described("a", first, datatype_of(first)),
            described("b", second, datatype_of(second)),
        ],
    }
    size, body = binary_request(header, first, second)
    request = decode_tensor_request(body, header_size=size)
    assert request.id == "7"
    for name, sent in (("a", first), ("b", second)):
        assert request.inputs[name].dtype == sent.dtype
        assert request.inputs[name].shape == sent.shape
        assert request.inputs[name].tobytes() == sent.tobytes()


@given(st.dictionaries(st.text(min_size=1, max_size=5), ARRAYS, max_size=3), st.data())
def test_an_answer_read_as_a_request_gives_its_tensors_back(
    outputs: dict[str, npt.NDArray[Any]], data: st.DataObject
) -> None:
    names = sorted(outputs)
    finite = {n for n in names if np.isfinite(outputs[n].astype(np.float64)).all()}
    binary = frozenset(n for n in names if n not in finite or data.draw(st.booleans()))
    content_type, body = encode_tensor_answer(
        outputs, binary=binary, model_name="m", model_version="1", request_id="r"
    )
    size = json_header_size(content_type) if binary else None
    header = json.loads(body[:size])
    assert (header["id"], header["model_name"], header["model_version"]) == ("r", "m", "1")
    header["inputs"] = header.pop("outputs")
    text = json.dumps(header).encode()
    rest = body[size:] if size is not None else b""
    request = decode_tensor_request(text + rest, header_size=len(text))
    assert list(request.inputs) == list(outputs)
    for name, values in outputs.items():
        np.testing.assert_array_equal(request.inputs[name], values)


def test_json_data_may_be_nested_or_flat() -> None:
    for data in ([[1, 2], [3, 4]], [1, 2, 3, 4]):
        entry = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": data}
        request = decode_tensor_request(json.dumps({"inputs": [entry]}).encode())
        np.testing.assert_array_equal(request.inputs["x"], np.array([[1, 2], [3, 4]], np.float32))


def test_an_answer_without_binary_outputs_is_json() -> None:
    content_type, body = encode_tensor_answer(
        {"x": np.array([1, 2], np.int64)}, binary=frozenset(), model_name="m", model_version="1"
    )
    assert content_type == JSON_TYPE
    (output,) = json.loads(body)["outputs"]
    assert output == {"name": "x", "datatype": "INT64", "shape": [2], "data": [1, 2]}


def test_outputs_say_for_themselves_or_by_the_request_whether_they_are_binary() -> None:
    outputs = [{"name": "a", "parameters": {"binary_data": False}}, {"name": "b"}]
    document = {"parameters": {"binary_data_output": True}, "outputs": outputs}
    request = decode_tensor_request(json.dumps(document).encode())
    assert request.binary_output
    assert request.outputs == {"a": False, "b": True}


@pytest.mark.parametrize("text", ["json-header-size=12", " json-header-size=12 "])
def test_the_header_size_is_read(text: str) -> None:
    assert json_header_size(f"{BINARY_TYPE};{text}") == 12


@pytest.mark.parametrize("tail", ["", ";", ";json-header-size=", ";json-header-size=-1", ";n=3"])
def test_a_missing_or_malformed_header_size_is_refused(tail: str) -> None:
    with pytest.raises(BadRequest, match="json-header-size=N"):
        json_header_size(BINARY_TYPE + tail)


@pytest.mark.parametrize(
    ("size", "body", "problem"),
    [
        (3, b"{}", "more than the body's 2 bytes"),
        (0, b"{}", "one raw tensor"),
        (2, b"{}rest", "describes 2 bytes of body, 6 came"),
        (None, b"[1]", "must be an object"),
        (None, b"{", "can't be read"),
        (None, b"[" * 100_000, "can't be read"),
        (None, b'{"inputs": 3}', "`inputs` must be a list"),
        (None, b'{"inputs": [{"datatype": "FP32"}]}', "with a `name`"),
        (None, b'{"inputs": [{"name": "x"}, {"name": "x"}]}', "`name` of its own"),
        (None, b'{"parameters": []}', "`parameters` must be an object"),
    ],
)
def test_a_malformed_request_is_refused(size: int | None, body: bytes, problem: str) -> None:
    with pytest.raises(BadRequest, match=problem):
        decode_tensor_request(body, header_size=size)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"datatype": "BYTES"}, "expected a datatype of"),
        ({"shape": [2, -1]}, "shape of integers"),
        ({"shape": [2.0, 2]}, "shape of integers"),
        ({"shape": [3, 2]}, "takes 24 bytes, binary_data_size is 16"),
        ({"parameters": {"binary_data_size": 20}}, "takes 16 bytes, binary_data_size is 20"),
        ({"shape": [4, 4], "parameters": {"binary_data_size": 64}}, "beyond the body's end"),
        ({"parameters": {}}, "neither `binary_data_size` nor `data`"),
    ],
)
def test_a_tensor_of_the_wrong_size_is_refused(change: dict[str, Any], problem: str) -> None:
    tensor = np.zeros((2, 2), np.float32)
    header = {"inputs": [{**described("x", tensor, "FP32"), **change}]}
    size, body = binary_request(header, tensor)
    with pytest.raises(BadRequest, match=problem):
        decode_tensor_request(body, header_size=size)


@pytest.mark.parametrize(
    ("datatype", "data", "problem"),
    [
        ("UINT8", [256, 0], "can't hold"),
        ("UINT8", [-1, 0], "can't hold"),
        ("UINT8", [0.5, 0], "can't hold"),
        ("UINT64", [2**63, -1], "can't hold"),
        ("BOOL", [2, 0], "can't hold"),
        ("FP32", [1e39, 0], "can't hold"),
        ("UINT64", [2**64, 0], "must be numbers"),
        ("FP32", ["1", "2"], "must be numbers"),
        ("FP32", [[1], [2, 3]], "regular shape"),
        ("FP32", [1, 2, 3], re.escape("shape [2] has 2 elements, `data` has 3")),
    ],
)
def test_json_data_that_does_not_fit_is_refused(
    datatype: str, data: list[Any], problem: str
) -> None:
    entry = {"name": "x", "datatype": datatype, "shape": [2], "data": data}
    with pytest.raises(BadRequest, match=problem):
        decode_tensor_request(json.dumps({"inputs": [entry]}).encode())


@given(st.binary(max_size=200), st.none() | st.integers(0, 250))
def test_arbitrary_bytes_are_read_or_refused(body: bytes, size: int | None) -> None:
    with contextlib.suppress(BadRequest):
        decode_tensor_request(body, header_size=size)


def test_a_shape_of_too_many_dimensions_is_a_bad_request() -> None:
    entry = {"name": "x", "datatype": "UINT8", "shape": [1] * 70, "data": [1]}
    with pytest.raises(BadRequest, match="at most 32 dimensions"):
        decode_tensor_request(json.dumps({"inputs": [entry]}).encode())
