"""What a model's codec and targets allow its tensors to be; checked when the catalogue is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simcloud_inference_router.catalog import ModelEntry

_ONE_EACH_WAY = frozenset({"npy", "csv", "bytes"})
_IN_PARTS = frozenset({"json_v2", "instances_json", "csv", "bytes"})
"""Codecs by which a part alone can be read; Triton's tells sizes in a header of the whole."""


def codec_problems(model: ModelEntry) -> Iterator[str]:
    """What does not go together, a sentence each."""
    codec = model.tensor_codec
    if codec and not (model.inputs and model.outputs):
        yield (
            f"tensor_codec {codec} needs inputs and outputs; set it to null for a model that "
            "takes only pictures"
        )
        return
    if codec in _ONE_EACH_WAY and not len(model.inputs) == len(model.outputs) == 1:
        yield f"codec {codec} carries one tensor each way"
        return
    yield from _shape_problems(model)
    if codec != "bytes" and (model.media_type != "application/json" or model.accept):
        yield f"media_type and accept mean nothing for codec {codec}; remove them"


def answer_problems(model: ModelEntry) -> Iterator[str]:
    """What does not go together with answers or requests that belong together, likewise."""
    if model.decoupled:
        others = [each.name for each in model.targets if each.kind != "sagemaker_stream"]
        if others:
            yield f"decoupled needs targets of kind sagemaker_stream; others: {', '.join(others)}"
        if model.tensor_codec not in _IN_PARTS:
            yield f"decoupled needs a codec that reads parts: {', '.join(sorted(_IN_PARTS))}"
    if len({each.sessions for each in model.targets}) > 1:
        yield "either all targets keep sessions or none"
    if not model.decoupled and any(each.part_framing != "parts" for each in model.targets):
        yield "part_framing means nothing for a model that is not decoupled; remove it"


def _shape_problems(model: ModelEntry) -> Iterator[str]:
    tensors = (*model.inputs, *model.outputs)
    match model.tensor_codec:
        case "csv":
            yield from _csv_problems(model)
        case "bytes":
            for tensor in tensors:
                if (tensor.datatype, tensor.shape) not in {("BYTES", (1,)), ("UINT8", (-1,))}:
                    yield (
                        f"tensor {tensor.name} must be BYTES of shape [1] or UINT8 of shape [-1]: "
                        "codec bytes makes it the body"
                    )
        case "instances_json":
            for tensor in tensors:
                if not tensor.shape or tensor.shape[0] != -1:
                    yield f"tensor {tensor.name} must have -1 first: codec instances_json has rows"
        case _:
            pass


def _csv_problems(model: ModelEntry) -> Iterator[str]:
    for tensor in (*model.inputs, *model.outputs):
        if tensor.datatype in {"BYTES", "BF16"}:
            yield f"tensor {tensor.name} must be of numbers: codec csv"
    if len(model.inputs[0].shape) != 2:
        yield f"tensor {model.inputs[0].name} must have two dimensions: codec csv has rows"
