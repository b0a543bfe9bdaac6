from __future__ import annotations

import pytest

from simcloud.errors import InvalidRequest
from simcloud.oip.tensors import Tensor
from simcloud_inference_router.catalog import ModelEntry
from simcloud_inference_router.codecs.base import MalformedAnswer
from simcloud_inference_router.signature import check_inputs, check_outputs, select_outputs

MODEL = ModelEntry.model_validate(
    {
        "name": "m",
        "task": "t",
        "digest": "0" * 64,
        "max_batch_size": 4,
        "inputs": [
            {"name": "a", "datatype": "UINT8", "shape": [-1, 2]},
            {"name": "b", "datatype": "UINT8", "shape": [-1, -1]},
        ],
        "outputs": [
            {"name": "y", "datatype": "UINT8", "shape": [-1, 2]},
            {"name": "z", "datatype": "BYTES", "shape": [-1]},
        ],
        "targets": [{"name": "m", "kind": "sagemaker", "endpoint": "m"}],
    }
)


def uint8(name: str, *shape: int) -> Tensor:
    size = 1
    for each in shape:
        size *= each
    return Tensor(name, "UINT8", shape, bytes(size))


def test_the_batch_size_is_the_first_dimension_of_all_inputs() -> None:
    assert check_inputs(MODEL, [uint8("b", 3, 7), uint8("a", 3, 2)]) == 3


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ([uint8("a", 1, 2)], "also needs: b"),
        ([uint8("a", 1, 2), uint8("c", 1, 2)], "no such input"),
        ([uint8("a", 1, 2), uint8("a", 1, 2)], "given twice"),
        ([uint8("a", 1, 3), uint8("b", 1, 2)], r"expected shape \[-1, 2\]"),
        ([uint8("a", 2), uint8("b", 1, 2)], "expected shape"),
        ([Tensor("a", "INT8", (1, 2), b"ab"), uint8("b", 1, 2)], "expected datatype UINT8"),
        ([uint8("a", 1, 2), uint8("b", 2, 2)], "first dimensions differ"),
        ([uint8("a", 5, 2), uint8("b", 5, 2)], "batch size 5 is not within 1 to 4"),
        ([uint8("a", 0, 2), uint8("b", 0, 2)], "batch size 0"),
    ],
)
def test_inputs_that_are_not_the_signatures_are_refused(inputs: list[Tensor], problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        check_inputs(MODEL, inputs)


def test_outputs_are_those_named_or_all() -> None:
    assert check_outputs(MODEL, []) == ("y", "z")
    assert check_outputs(MODEL, ["z"]) == ("z",)
    with pytest.raises(InvalidRequest, match="it has: y, z"):
        check_outputs(MODEL, ["q"])
    with pytest.raises(InvalidRequest, match="twice"):
        check_outputs(MODEL, ["y", "y"])


def test_an_answers_outputs_come_in_the_order_asked_for() -> None:
    texts = Tensor("z", "BYTES", (1,), b"\x01\x00\x00\x00a")
    found = [uint8("extra", 1), uint8("y", 1, 2), texts]
    assert [tensor.name for tensor in select_outputs(MODEL, found, ("z", "y"))] == ["z", "y"]


@pytest.mark.parametrize(
    "found",
    [
        [],
        [Tensor("y", "INT8", (1, 2), b"ab")],
        [Tensor("y", "UINT8", (1, 2), b"abc")],
        [Tensor("y", "UINT8", (1, 3), b"abc")],
        [Tensor("y", "UINT8", (2,), b"ab")],
    ],
)
def test_an_answer_without_the_signatures_output_is_malformed(found: list[Tensor]) -> None:
    with pytest.raises(MalformedAnswer):
        select_outputs(MODEL, found, ("y",))


def test_broken_framing_of_texts_is_malformed() -> None:
    with pytest.raises(MalformedAnswer):
        select_outputs(MODEL, [Tensor("z", "BYTES", (1,), b"\x09\x00\x00\x00a")], ("z",))
