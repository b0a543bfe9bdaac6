from __future__ import annotations

import json
import struct

import numpy as np
import pytest

from simcloud.oip.tensors import Tensor, join_bytes, tensor_of
from simcloud_inference_router.catalog import TensorSignature
from simcloud_inference_router.codecs.base import (
    MalformedAnswer,
    TensorRequest,
    UnencodableRequest,
)
from simcloud_inference_router.codecs.csv_rows import Csv
from simcloud_inference_router.codecs.instances_json import InstancesJson
from simcloud_inference_router.codecs.json_v2 import JsonV2
from simcloud_inference_router.codecs.whole_body import WholeBody


def signature(name: str, datatype: str, *shape: int) -> TensorSignature:
    return TensorSignature.model_validate({"name": name, "datatype": datatype, "shape": shape})


def request(*tensors: Tensor, **parameters: str | float) -> TensorRequest:
    return TensorRequest(inputs=tensors, outputs=("y",), parameters=parameters)


ROWS = InstancesJson(outputs=[signature("y", "FP32", -1, 2)])
TWO = InstancesJson(outputs=[signature("label", "BYTES", -1), signature("score", "FP32", -1)])


def test_one_input_is_a_list_of_rows() -> None:
    encoded = ROWS.encode(request(tensor_of("x", np.arange(6, dtype=np.int32).reshape(1, 3, 2))))
    assert json.loads(encoded.body) == {"instances": [[[0, 1], [2, 3], [4, 5]]]}
    assert (encoded.content_type, encoded.accept) == ("application/json", "application/json")


def test_several_inputs_are_objects_by_name_and_bytes_that_are_no_text_are_base64() -> None:
    numbers = tensor_of("n", np.array([[1.5], [2.0]], np.float32))
    texts = Tensor("t", "BYTES", (2,), join_bytes(["é", b"\xff"]))
    encoded = TWO.encode(request(numbers, texts, threshold=0.5))
    assert json.loads(encoded.body)["instances"] == [
        {"n": [1.5], "t": "é"},
        {"n": [2.0], "t": {"b64": "/w=="}},
    ]
    assert encoded.parameters == {"threshold": "0.5"}


@pytest.mark.parametrize("predictions", [[[1, 2.5], [3, 4]], [{"y": [1, 2.5]}, {"y": [3, 4]}]])
def test_predictions_may_be_values_or_objects(predictions: object) -> None:
    body = json.dumps({"predictions": predictions}).encode()
    (tensor,) = ROWS.decode(body, "application/json; charset=utf-8").outputs
    assert tensor.array().tolist() == [[1, 2.5], [3, 4]]


def test_predictions_of_several_outputs_are_put_together_by_name() -> None:
    body = b'{"predictions":[{"label":"cat","score":0.5},{"label":{"b64":"/w=="},"score":1}]}'
    label, score = TWO.decode(body, "application/json").outputs
    assert label.array().tolist() == [b"cat", b"\xff"]
    assert score.array().tolist() == [0.5, 1.0]


def test_no_rows_are_an_empty_tensor() -> None:
    (tensor,) = ROWS.decode(b'{"predictions":[]}', "application/json").outputs
    assert (tensor.shape, tensor.data) == ((0, 0 + 2), b"")


@pytest.mark.parametrize(
    "predictions",
    [
        "1",
        "[[1,2],[3],[4,5,6]]",
        "[[1,2],3]",
        "[1,[2,3]]",
        '[["a","b"]]',
        '[{"z":[1,2]}]',
        "[[true,false]]",
        "[[null,1]]",
    ],
)
def test_predictions_that_are_ragged_or_of_another_kind_are_malformed(predictions: str) -> None:
    with pytest.raises(MalformedAnswer):
        ROWS.decode(f'{{"predictions":{predictions}}}'.encode(), "application/json")


@pytest.mark.parametrize("value", ['{"b64":"!"}', '{"b64":"é"}', '{"b65":""}', "1"])
def test_bytes_are_text_or_base64_and_nothing_else(value: str) -> None:
    with pytest.raises(MalformedAnswer):
        TWO.decode(
            f'{{"predictions":[{{"label":{value},"score":1}}]}}'.encode(), "application/json"
        )


@pytest.mark.parametrize(
    "tensor",
    [
        tensor_of("x", np.float32(1.0) * np.ones(())),
        tensor_of("x", np.array([[np.nan]], np.float32)),
        tensor_of("x", np.zeros((2, 0), np.float32)),
        Tensor("x", "BF16", (1,), b"\x00\x00"),
    ],
)
def test_what_rows_can_not_carry_is_refused(tensor: Tensor) -> None:
    with pytest.raises(UnencodableRequest):
        ROWS.encode(request(tensor))


PROBABILITIES = Csv(output=signature("y", "FP32", -1, 3))


@pytest.mark.parametrize(
    ("table", "body"),
    [
        (np.array([[0.1, 2], [3, 1e-20]], np.float32), b"0.1,2.0\n3.0,1e-20"),
        (np.array([[1, -2]], np.int64), b"1,-2"),
        (np.array([[True, False]]), b"1,0"),
        (np.array([[0.1]], np.float64), b"0.1"),
    ],
)
def test_a_table_is_lines_of_numbers_in_their_shortest_form(table: np.ndarray, body: bytes) -> None:
    encoded = PROBABILITIES.encode(request(tensor_of("x", table)))
    assert (encoded.body, encoded.content_type, encoded.accept) == (body, "text/csv", "text/csv")


@pytest.mark.parametrize(
    "body",
    [
        b"0.5,0.25,0.25\n1,0,0\n",
        b"[0.5, 0.25, 0.25],[1, 0, 0]",
        b"[0.5, 0.25, 0.25]\r\n[1, 0, 0]\r\n",
        b"0.5\n0.25\n0.25\n1\n0\n0",
    ],
)
def test_numbers_are_read_however_their_container_puts_them_in_lines(body: bytes) -> None:
    (tensor,) = PROBABILITIES.decode(body, "text/csv; charset=utf-8").outputs
    assert tensor.array().tolist() == [[0.5, 0.25, 0.25], [1, 0, 0]]


def test_a_table_without_a_fixed_dimension_has_the_lines_for_rows() -> None:
    codec = Csv(output=signature("y", "INT64", -1, -1))
    (tensor,) = codec.decode(b"1,2\n3,4\n5,6", "text/csv").outputs
    assert tensor.array().tolist() == [[1, 2], [3, 4], [5, 6]]


@pytest.mark.parametrize("body", [b"1,2", b"a,b,c", b"1,,3", b"\xff", b"1,2,3,4"])
def test_text_that_is_no_such_table_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        PROBABILITIES.decode(body, "text/csv")


def test_the_whole_body_goes_there_and_back_as_it_is() -> None:
    codec = WholeBody(
        output=signature("y", "BYTES", 1), media_type="application/json", accept="text/plain"
    )
    encoded = codec.encode(request(Tensor("x", "BYTES", (1,), join_bytes([b'{"a":1}']))))
    assert (encoded.body, encoded.content_type, encoded.accept) == (
        b'{"a":1}',
        "application/json",
        "text/plain",
    )
    (tensor,) = codec.decode(b"\xff\x00", "any").outputs
    assert tensor == Tensor("y", "BYTES", (1,), join_bytes([b"\xff\x00"]))
    codec = WholeBody(output=signature("y", "UINT8", -1), media_type="a/b", accept="")
    assert codec.encode(request(Tensor("x", "UINT8", (2,), b"ab"))).body == b"ab"
    assert codec.decode(b"xyz", "").outputs == (Tensor("y", "UINT8", (3,), b"xyz"),)


def test_parameters_that_can_not_travel_beside_a_body_are_refused() -> None:
    with pytest.raises(UnencodableRequest, match="header"):
        PROBABILITIES.encode(request(tensor_of("x", np.ones((1, 1))), text="a b"))


@pytest.mark.parametrize("data", ["[[1,2],[3],[4,5,6]]", "[[1,2,3],[4,5,6]]"])
def test_nested_json_must_have_the_shape_that_it_says(data: str) -> None:
    body = f'{{"outputs":[{{"name":"y","datatype":"FP32","shape":[3,2],"data":{data}}}]}}'
    with pytest.raises(MalformedAnswer, match=r"shape|expected"):
        JsonV2().decode(body.encode(), "application/json")


def test_not_a_number_comes_through_json_where_the_datatype_has_one() -> None:
    """Python containers write NaN, which is no JSON; a float output takes it, an integer not."""
    entry = '{"name":"y","datatype":"%s","shape":[1],"data":[NaN]}'
    (tensor,) = (
        JsonV2()
        .decode(('{"outputs":[' + entry % "FP32" + "]}").encode(), "application/json")
        .outputs
    )
    assert struct.unpack("<f", tensor.data)[0] != struct.unpack("<f", tensor.data)[0]
    with pytest.raises(MalformedAnswer):
        JsonV2().decode(('{"outputs":[' + entry % "INT32" + "]}").encode(), "application/json")
