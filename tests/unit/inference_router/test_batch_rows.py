from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simcloud.oip.tensors import DATATYPES, Tensor, join_bytes
from simcloud_inference_router.batching.rows import joined, split
from simcloud_inference_router.codecs.base import MalformedAnswer, TensorAnswer


@st.composite
def requests(draw: st.DrawFn) -> list[tuple[Tensor, ...]]:
    """Inputs of one to six requests that may be sent as one."""
    signature = [
        (f"t{number}", draw(st.sampled_from(sorted(DATATYPES))), tuple(rest))
        for number, rest in enumerate(
            draw(st.lists(st.lists(st.integers(0, 3), max_size=2), min_size=1, max_size=3))
        )
    ]
    rows = draw(st.lists(st.integers(1, 4), min_size=1, max_size=6))
    return [tuple(draw(_tensor(*each, rows=count)) for each in signature) for count in rows]


@st.composite
def _tensor(
    draw: st.DrawFn, name: str, datatype: str, rest: tuple[int, ...], *, rows: int
) -> Tensor:
    elements = rows * math.prod(rest)
    itemsize = DATATYPES[datatype].itemsize
    if itemsize is None:
        data = join_bytes(
            draw(st.lists(st.binary(max_size=5), min_size=elements, max_size=elements))
        )
    else:
        data = draw(st.binary(min_size=elements * itemsize, max_size=elements * itemsize))
    return Tensor(name, datatype, (rows, *rest), data)


@given(requests())
def test_what_was_joined_is_split_into_what_it_was(parts: list[tuple[Tensor, ...]]) -> None:
    rows = [each[0].shape[0] for each in parts]
    whole = joined(parts)
    for tensor in whole:
        assert tensor.shape[0] == sum(rows)
    answers = split(TensorAnswer(whole, {"a": 1}), rows)
    assert [each.outputs for each in answers] == parts
    assert all(each.parameters == {"a": 1} for each in answers)


@pytest.mark.parametrize("datatype", ["FP16", "BYTES"])
@pytest.mark.parametrize("shape", [(), (2, 1), (4, 1), (1, 3)])
def test_an_answer_with_other_rows_than_the_batch_is_refused(
    datatype: str, shape: tuple[int, ...]
) -> None:
    elements = math.prod(shape)
    data = join_bytes([b"x"] * elements) if datatype == "BYTES" else bytes(2 * elements)
    answer = TensorAnswer((Tensor("y", datatype, shape, data),))
    with pytest.raises(MalformedAnswer, match="its first dimension must be 3"):
        split(answer, [1, 2])


def test_an_answer_without_outputs_is_everybodys() -> None:
    assert split(TensorAnswer((), {"a": 1}), [1, 2]) == [TensorAnswer((), {"a": 1})] * 2
