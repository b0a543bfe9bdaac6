from __future__ import annotations

import pytest
from pydantic import ValidationError

from simcloud_inference_router.catalog import ModelEntry
from support.router import model


def entry(**changes: object) -> ModelEntry:
    batching: dict[str, object] = {"dynamic_batching": {}, "picture_codec": None}
    return ModelEntry.model_validate({**model(), **batching, **changes})


def test_the_models_own_size_is_the_default() -> None:
    options = entry().dynamic_batching
    assert options is not None
    assert (options.max_batch_size, options.preferred_batch_size) == (0, ())
    assert options.max_queue_delay_microseconds == 0
    assert entry(dynamic_batching=None).dynamic_batching is None


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"picture_codec": "raw_image"}, "raw_image a picture is the whole body"),
        ({"max_batch_size": 0}, "inputs have no batch dimension"),
        (
            {"tensor_codec": "bytes", "inputs": [{"name": "x", "datatype": "UINT8", "shape": [-1]}]}
            | {"outputs": [{"name": "y", "datatype": "UINT8", "shape": [-1]}]},
            "needs a tensor_codec with rows, found bytes",
        ),
        ({"tensor_codec": None}, "needs a tensor_codec with rows, found null"),
        ({"dynamic_batching": {"max_batch_size": 9}}, "at most the model's 8"),
        ({"dynamic_batching": {"preferred_batch_size": [9]}}, "preferred_batch_size is at most"),
        (
            {"dynamic_batching": {"preferred_batch_size": [4], "max_batch_size": 2}},
            "preferred_batch_size is at most",
        ),
        ({"dynamic_batching": {"preferred_batch_size": [1]}}, "greater than or equal to 2"),
        (
            {"targets": [{"name": "d", "kind": "sagemaker", "endpoint": "d", "sessions": True}]},
            "no sessions",
        ),
    ],
)
def test_what_can_t_be_batched_is_refused_with_the_reason(
    changes: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        entry(**changes)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"tensor_codec": None}, "needs one input"),
        ({"max_batch_size": 0}, "max_batch_size of 1 or more"),
        (
            {"inputs": [{"name": name, "datatype": "FP32", "shape": [-1]} for name in "ab"]},
            "needs one input",
        ),
        (
            {"inputs": [{"name": "x", "datatype": "BYTES", "shape": [-1, 2]}]},
            r"must be \[-1\] or \[-1, 1\]",
        ),
    ],
)
def test_pictures_are_rows_of_one_input_with_a_batch_dimension(
    changes: dict[str, object], problem: str
) -> None:
    assert entry(picture_codec="tensor").picture_codec == "tensor"
    with pytest.raises(ValidationError, match=problem):
        entry(picture_codec="tensor", dynamic_batching=None, **changes)
