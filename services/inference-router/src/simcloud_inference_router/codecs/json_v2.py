"""Tensors as JSON: the Open Inference Protocol over HTTP, version 2."""

from __future__ import annotations

import json

from simcloud_inference_router.codecs.base import (
    Encoded,
    MalformedAnswer,
    TensorAnswer,
    TensorRequest,
)
from simcloud_inference_router.codecs.documents import (
    parameters_of,
    parse_object,
    tensor_documents,
)
from simcloud_inference_router.codecs.values import from_json, to_json

MEDIA_TYPE = "application/json"


class JsonV2:
    """The codec; it has no state."""

    def encode(self, request: TensorRequest) -> Encoded:
        """The request as one JSON object, tensors as flat lists."""
        document: dict[str, object] = {
            "inputs": [
                {
                    "name": tensor.name,
                    "shape": tensor.shape,
                    "datatype": tensor.datatype,
                    "data": to_json(tensor),
                }
                for tensor in request.inputs
            ],
            "outputs": [{"name": name} for name in request.outputs],
        }
        if request.id:
            document["id"] = request.id
        if request.parameters:
            document["parameters"] = dict(request.parameters)
        body = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
        return Encoded(body=body, content_type=MEDIA_TYPE, accept=MEDIA_TYPE)

    def decode(self, body: bytes, content_type: str) -> TensorAnswer:
        """The answer's tensors."""
        if content_type.partition(";")[0].strip() != MEDIA_TYPE:
            raise MalformedAnswer(f"expected {MEDIA_TYPE}, found {content_type!r}")
        document = parse_object(body)
        outputs = tuple(from_json(entry) for entry in tensor_documents(document))
        return TensorAnswer(outputs, parameters_of(document))
