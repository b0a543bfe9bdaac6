"""Pictures as rows of a model's one input, and its outputs as a frame's answer.

An encoded picture is one element of a BYTES input, as it is: what a Triton ensemble that decodes on
its own takes. An input of numbers takes ``.npy`` arrays.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TypeAlias

from simcloud.errors import InvalidRequest
from simcloud.oip.tensors import Tensor, join_bytes, tensor_of
from simcloud_inference_router.catalog import ModelEntry, TensorSignature
from simcloud_inference_router.codecs import json_v2, npy, triton_binary
from simcloud_inference_router.codecs.base import (
    Encoded,
    MalformedAnswer,
    TensorAnswer,
    UnencodableRequest,
)
from simcloud_inference_router.codecs.values import to_json

WriteAnswer: TypeAlias = Callable[[ModelEntry, str, TensorAnswer], Encoded]
"""Makes a frame's answer of the model, the frame's id, and the outputs.

Raises ``MalformedAnswer`` when there is no such form for them.
"""


def picture_row(signature: TensorSignature, data: bytes, *, media_type: str) -> Tensor:
    """A frame as a batch of one, shape (1, ...).

    Args:
        signature: of the model's one input.
        data: an encoded picture for BYTES; else an ``.npy`` array, with or without the first
            dimension.
        media_type: of ``data``.

    Raises:
        InvalidRequest: the input is of numbers and this is no ``.npy`` array of them.
    """
    if signature.datatype == "BYTES":
        shape = (1,) * len(signature.shape)
        return Tensor(signature.name, "BYTES", shape, join_bytes([data]))
    field = "frame.picture"
    if media_type.partition(";")[0].strip() != npy.MEDIA_TYPE:
        problem = (
            f"input {signature.name} is {signature.datatype}: expected media type "
            f"{npy.MEDIA_TYPE}, found {media_type[:64]}"
        )
        raise InvalidRequest(field, problem)
    try:
        array = npy.read_array(data)
    except MalformedAnswer as exc:
        raise InvalidRequest(field, f"is no .npy array of numbers: {exc}") from exc
    if array.ndim == len(signature.shape) - 1:
        array = array[None]
    return tensor_of(signature.name, array)


def answer_form(accept: str) -> WriteAnswer:
    """How answers are written that a caller takes by this media type; empty: JSON.

    Raises:
        InvalidRequest: there is no such form.
    """
    match accept.partition(";")[0].strip():
        case "" | json_v2.MEDIA_TYPE:
            return _as_json
        case triton_binary.MEDIA_TYPE:
            return _as_binary
        case other:
            problem = (
                f"this model's answers are {json_v2.MEDIA_TYPE} or {triton_binary.MEDIA_TYPE}, "
                f"found {other[:64]!r}"
            )
            raise InvalidRequest("open.accept", problem)


def _as_json(model: ModelEntry, frame: str, answer: TensorAnswer) -> Encoded:
    outputs: list[dict[str, object]] = []
    for tensor in answer.outputs:
        try:
            data = to_json(tensor)
        except UnencodableRequest as exc:
            raise MalformedAnswer(
                f"output {tensor.name}: {exc}; or ask for {triton_binary.MEDIA_TYPE} by `accept`"
            ) from exc
        outputs.append({**_described(tensor), "data": data})
    document = _document(model, frame, answer, outputs)
    body = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    return Encoded(body, json_v2.MEDIA_TYPE, "")


def _as_binary(model: ModelEntry, frame: str, answer: TensorAnswer) -> Encoded:
    outputs = [
        {**_described(tensor), "parameters": {"binary_data_size": len(tensor.data)}}
        for tensor in answer.outputs
    ]
    document = _document(model, frame, answer, outputs)
    header = json.dumps(document, separators=(",", ":")).encode()
    return Encoded(
        b"".join([header, *[each.data for each in answer.outputs]]),
        f"{triton_binary.MEDIA_TYPE};json-header-size={len(header)}",
        "",
    )


def _described(tensor: Tensor) -> dict[str, object]:
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}


def _document(
    model: ModelEntry, frame: str, answer: TensorAnswer, outputs: list[dict[str, object]]
) -> dict[str, object]:
    """A response of the Open Inference Protocol over HTTP."""
    document: dict[str, object] = {
        "model_name": model.name,
        "model_version": model.versions[0],
        "id": frame,
    }
    if answer.parameters:
        document["parameters"] = dict(answer.parameters)
    document["outputs"] = outputs
    return document
