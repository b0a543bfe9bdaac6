from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from simcloud.errors import InvalidRequest
from simcloud.oip.tensors import (
    DATATYPES,
    Tensor,
    check_raw,
    datatype_of,
    fill_request,
    fill_response,
    from_raw,
    input_tensors,
    join_bytes,
    new,
    output_arrays,
    split_bytes,
    tensor_of,
    to_raw,
)

_NUMERIC = [each.dtype for each in DATATYPES.values() if each.dtype and each.name != "BF16"]


@given(
    st.sampled_from(_NUMERIC).flatmap(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0))
    )
)
def test_numeric_arrays_survive_raw_contents(array: np.ndarray[Any, Any]) -> None:
    raw = to_raw(array)
    back = from_raw(raw, datatype=datatype_of(array.dtype), shape=array.shape)
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


@given(st.lists(st.binary(max_size=20)))
def test_bytes_survive_their_framing(elements: list[bytes]) -> None:
    raw = join_bytes(elements)
    assert len(raw) == sum(4 + len(element) for element in elements)
    assert split_bytes(raw) == elements


@given(st.binary(max_size=40))
def test_any_bytes_are_elements_or_a_broken_framing(data: bytes) -> None:
    try:
        elements = split_bytes(data)
    except InvalidRequest:
        return
    assert join_bytes(elements) == data


def test_text_is_framed_as_utf_8() -> None:
    assert to_raw(np.array(["é", "x"])) == b"\x02\x00\x00\x00\xc3\xa9\x01\x00\x00\x00x"
    assert to_raw(np.array([b"a", "b"], dtype=object)) == b"\x01\0\0\0a\x01\0\0\0b"
    with pytest.raises(InvalidRequest, match="text or bytes, found int"):
        to_raw(np.array([1, 2], dtype=object))


def test_big_endian_and_strided_arrays_become_little_endian_rows() -> None:
    array = np.arange(6, dtype=">i4").reshape(2, 3).T
    assert datatype_of(array.dtype) == "INT32"
    assert to_raw(array) == np.array([0, 3, 1, 4, 2, 5], dtype="<i4").tobytes()


def test_arrays_are_views_of_the_bytes() -> None:
    data = np.arange(4, dtype="<f4").tobytes()
    array = from_raw(data, datatype="FP32", shape=(2, 2))
    assert not array.flags.owndata
    assert not array.flags.writeable


def test_bf16_is_its_bit_patterns() -> None:
    assert from_raw(b"\x80\x3f", datatype="BF16", shape=[1]).tolist() == [0x3F80]


@pytest.mark.parametrize("dtype", ["c8", "M8[s]", "f16"])
def test_a_dtype_outside_the_protocol_is_refused(dtype: str) -> None:
    with pytest.raises(InvalidRequest, match="no datatype of the protocol"):
        datatype_of(np.dtype(dtype))


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "problem"),
    [
        ("FP32", [2], b"1234567", "is 8 bytes, found 7"),
        ("FP99", [1], b"", "is one of BOOL"),
        ("fp32", [1], b"1234", "found 'fp32'"),
        ("INT8", [-1], b"1", "0 or more"),
        ("INT8", [1] * 33, b"1", "at most 32 dimensions"),
        ("BYTES", [2], b"\x01\0\0\0a", "is 2 BYTES elements, found 1"),
        ("BYTES", [1], b"\x09\0\0\0a", "ends 8 bytes too late"),
        ("BYTES", [1], b"\x01\0", "end within a length"),
        ("INT64", [2**40, 2**40], b"", "bytes, found 0"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_field(
    datatype: str, shape: list[int], data: bytes, problem: str
) -> None:
    with pytest.raises(InvalidRequest, match=problem) as caught:
        check_raw(data, datatype=datatype, shape=shape, field="inputs[0]")
    assert caught.value.field.startswith("inputs[0]")


def test_no_elements_are_no_bytes() -> None:
    assert check_raw(b"", datatype="FP32", shape=[0, 3], field="x") == (0, 3)
    assert check_raw(b"1234", datatype="FP32", shape=[], field="x") == ()


def test_a_request_is_read_as_it_was_filled() -> None:
    request = new("ModelInferRequest")
    images = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    fill_request(request, [("images", images), ("names", np.array(["a", "b"]))])
    first, second = input_tensors(type(request).FromString(request.SerializeToString()))
    assert (first.name, first.datatype, first.shape) == ("images", "UINT8", (2, 2, 3))
    np.testing.assert_array_equal(first.array(), images)
    assert second.array().tolist() == [b"a", b"b"]


@pytest.mark.parametrize(
    ("datatype", "field", "values"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-128, 127]),
        ("INT16", "int_contents", [-1, 2]),
        ("INT32", "int_contents", [-1, 2]),
        ("INT64", "int64_contents", [-(2**60), 2]),
        ("UINT8", "uint_contents", [0, 255]),
        ("UINT16", "uint_contents", [0, 2]),
        ("UINT32", "uint_contents", [0, 2**32 - 1]),
        ("UINT64", "uint64_contents", [0, 2**64 - 1]),
        ("FP32", "fp32_contents", [0.5, -1.0]),
        ("FP64", "fp64_contents", [0.1, -1.0]),
        ("BYTES", "bytes_contents", [b"a", b""]),
    ],
)
def test_typed_contents_become_raw(datatype: str, field: str, values: list[Any]) -> None:
    request = new("ModelInferRequest")
    tensor = request.inputs.add(name="x", datatype=datatype, shape=[2])
    getattr(tensor.contents, field).extend(values)
    (found,) = input_tensors(request)
    assert found.array().tolist() == values


def _typed(datatype: str, field: str, values: list[Any], shape: list[int]) -> Any:
    request = new("ModelInferRequest")
    tensor = request.inputs.add(name="x", datatype=datatype, shape=shape)
    getattr(tensor.contents, field).extend(values)
    return request


def test_typed_contents_that_are_wrong_are_refused() -> None:
    for request, problem in (
        (_typed("FP16", "fp32_contents", [1.0], [1]), "travels in raw_input_contents only"),
        (_typed("FP32", "fp64_contents", [1.0], [1]), "is in fp32_contents, found"),
        (_typed("INT8", "int_contents", [200], [1]), "not a INT8"),
        (_typed("FP32", "fp32_contents", [1.0], [2]), "is 8 bytes, found 4"),
    ):
        with pytest.raises(InvalidRequest, match=problem):
            input_tensors(request)


def test_raw_and_typed_contents_do_not_mix() -> None:
    request = _typed("FP32", "fp32_contents", [1.0], [1])
    request.raw_input_contents.append(b"1234")
    with pytest.raises(InvalidRequest, match=r"must be absent when raw_input_contents"):
        input_tensors(request)


def test_every_input_has_its_raw_entry_and_its_own_name() -> None:
    request = new("ModelInferRequest")
    fill_request(request, [("x", np.zeros(1)), ("x", np.zeros(1))])
    with pytest.raises(InvalidRequest, match="occurs twice"):
        input_tensors(request)
    del request.raw_input_contents[-1]
    with pytest.raises(InvalidRequest, match="2 inputs need as many entries, found 1"):
        input_tensors(request)


def test_responses_are_raw_with_an_entry_an_output() -> None:
    response = new("ModelInferResponse")
    scores = np.linspace(0, 1, 4, dtype=np.float32).reshape(2, 2)
    labels = Tensor("labels", "BYTES", (2,), join_bytes(["cat", "dog"]))
    fill_response(response, [tensor_of("scores", scores), labels])
    assert len(response.raw_output_contents) == len(response.outputs) == 2
    assert not any(output.HasField("contents") for output in response.outputs)
    arrays = output_arrays(response)
    np.testing.assert_array_equal(arrays["scores"], scores)
    assert arrays["labels"].tolist() == [b"cat", b"dog"]
    del response.raw_output_contents[-1]
    with pytest.raises(InvalidRequest, match="2 outputs need"):
        output_arrays(response)
