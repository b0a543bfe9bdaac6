"""Rows as JSON: ``{"instances": [...]}`` to ``{"predictions": [...]}``.

TensorFlow Serving's row format, which SageMaker's TensorFlow, scikit-learn and many other
containers speak: an entry for each element of the batch, a value where there is one tensor, an
object by names where there are several. Bytes that are no UTF-8 are ``{"b64": ...}``
(tensorflow.org/tfx/serving/api_rest, "Encoding binary values").
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence

from simcloud.oip.tensors import Tensor, split_bytes
from simcloud_inference_router.catalog import TensorSignature
from simcloud_inference_router.codecs.base import (
    Encoded,
    MalformedAnswer,
    TensorAnswer,
    TensorRequest,
    UnencodableRequest,
    beside_the_body,
)
from simcloud_inference_router.codecs.documents import parse_object
from simcloud_inference_router.codecs.nested import unnested
from simcloud_inference_router.codecs.values import elements_to_raw, to_json

MEDIA_TYPE = "application/json"


class InstancesJson:
    """The codec.

    Args:
        outputs: the model's outputs; their datatypes are not in the answer.
    """

    def __init__(self, *, outputs: Sequence[TensorSignature]) -> None:
        self._outputs = tuple(outputs)

    def encode(self, request: TensorRequest) -> Encoded:
        """A row for each element of the batch."""
        columns = {tensor.name: _rows(tensor) for tensor in request.inputs}
        if len({len(rows) for rows in columns.values()}) != 1:
            raise UnencodableRequest("rows need inputs of one first dimension")
        instances: list[object]
        if len(columns) == 1:
            (instances,) = columns.values()
        else:
            instances = [
                dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
            ]
        body = json.dumps({"instances": instances}, separators=(",", ":"), ensure_ascii=False)
        parameters = beside_the_body(request.parameters)
        return Encoded(body.encode(), MEDIA_TYPE, MEDIA_TYPE, parameters)

    def decode(self, body: bytes, content_type: str) -> TensorAnswer:
        """The rows of every output put together."""
        if content_type.partition(";")[0].strip() != MEDIA_TYPE:
            raise MalformedAnswer(f"expected {MEDIA_TYPE}, found {content_type!r}")
        predictions = parse_object(body).get("predictions")
        if not isinstance(predictions, list):
            raise MalformedAnswer("the answer has no list `predictions`")
        return TensorAnswer(
            tuple(
                _tensor(signature, [_value(row, signature, self._outputs) for row in predictions])
                for signature in self._outputs
            )
        )


def _value(row: object, signature: TensorSignature, outputs: Sequence[TensorSignature]) -> object:
    if isinstance(row, dict) and signature.name in row:
        value: object = row[signature.name]
        return value
    if len(outputs) == 1 and (not isinstance(row, dict) or set(row) == {"b64"}):
        return row
    raise MalformedAnswer(f"a prediction has no `{signature.name}`")


def _rows(tensor: Tensor) -> list[object]:
    if not tensor.shape:
        raise UnencodableRequest(f"input {tensor.name} has no rows: it is a single value")
    if tensor.datatype == "BYTES":
        flat: list[object] = [_text(element) for element in split_bytes(tensor.data)]
    else:
        flat = to_json(tensor)
    for size in reversed(tensor.shape[1:]):
        if not size:
            raise UnencodableRequest(f"input {tensor.name} has rows without elements")
        flat = [flat[start : start + size] for start in range(0, len(flat), size)]
    return flat


def _text(element: bytes) -> object:
    try:
        return element.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(element).decode()}


def _tensor(signature: TensorSignature, rows: list[object]) -> Tensor:
    shape, flat = unnested(rows, f"output {signature.name}")
    if not rows:
        # No row says how long rows are.
        shape = (0, *(max(size, 0) for size in signature.shape[1:]))
    if signature.datatype == "BYTES":
        flat = [_bytes(element, signature.name) for element in flat]
    data = elements_to_raw(signature.name, signature.datatype, flat)
    return Tensor(signature.name, signature.datatype, shape, data)


def _bytes(element: object, name: str) -> object:
    if not isinstance(element, Mapping):
        return element
    try:
        return base64.b64decode(str(element["b64"]), validate=True)
    except (KeyError, ValueError) as exc:
        raise MalformedAnswer(f"output {name}: an object that is no {{'b64': ...}}") from exc
