"""What a model's codec and targets allow its tensors to be; checked when the catalogue is read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simcloud_inference_router.catalog import ModelEntry

_ONE_EACH_WAY = frozenset({"npy", "csv", "bytes"})
_IN_PARTS = frozenset({"json_v2", "instances_json", "csv", "bytes"})
"""Codecs by which a part alone can be read; Triton's tells sizes in a header of the whole."""


def problems_of(model: ModelEntry) -> Iterator[str]:
    """All that does not go together, a sentence each."""
    yield from codec_problems(model)
    yield from answer_problems(model)
    yield from picture_problems(model)
    yield from batching_problems(model)


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


def picture_problems(model: ModelEntry) -> Iterator[str]:
    """What does not go together with how pictures travel, likewise."""
    if model.picture_codec != "tensor":
        return
    if model.tensor_codec in {None, "bytes"} or len(model.inputs) != 1 or not model.max_batch_size:
        yield (
            "picture_codec tensor makes a frame a row of the model's one input: it needs one input,"
            " max_batch_size of 1 or more, and a tensor_codec other than bytes"
        )
    elif model.inputs[0].datatype == "BYTES" and set(model.inputs[0].shape[1:]) - {1, -1}:
        yield (
            f"picture_codec tensor makes a frame one element of {model.inputs[0].name}: its shape "
            "must be [-1] or [-1, 1]"
        )
    elif model.decoupled:
        yield "picture_codec tensor has one answer for each frame: the model must not be decoupled"


def batching_problems(model: ModelEntry) -> Iterator[str]:
    """What does not go together with requests that are sent as one, likewise."""
    options = model.dynamic_batching
    if options is None:
        return
    if not model.max_batch_size:
        yield "dynamic_batching needs max_batch_size: without it inputs have no batch dimension"
        return
    if model.tensor_codec in {None, "bytes"}:
        yield (
            f"dynamic_batching needs a tensor_codec with rows, found {model.tensor_codec or 'null'}"
        )
    if model.picture_codec == "raw_image":
        yield (
            "dynamic_batching can't put pictures together: with picture_codec raw_image a picture "
            "is the whole body; set picture_codec to tensor, or to null when only tensors are sent"
        )
    if model.decoupled or any(target.sessions for target in model.targets):
        yield "dynamic_batching is for models with one answer to each request and no sessions"
    most = options.max_batch_size or model.max_batch_size
    if max(most, *options.preferred_batch_size, 0) > min(most, model.max_batch_size):
        yield (
            "dynamic_batching: preferred_batch_size is at most max_batch_size, and that at most "
            f"the model's {model.max_batch_size}"
        )


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
