"""Triton's binary tensors as its SageMaker server takes them.

A JSON header, then the raw tensors in the order of the inputs. The content type must be exactly the
prefix below with the header's size; any other type, ``application/octet-stream`` too, makes Triton
read the whole body as JSON (triton-inference-server/server, src/sagemaker_server.cc and
docs/protocol/extension_binary_data.md). Raw contents of gRPC are the same bytes, so nothing is
converted.
"""

from __future__ import annotations

import json
import re

from simcloud.oip.tensors import Tensor
from simcloud_inference_router.codecs.base import (
    Encoded,
    MalformedAnswer,
    TensorAnswer,
    TensorRequest,
)
from simcloud_inference_router.codecs.documents import (
    parameters_of,
    parse_object,
    shape_of,
    tensor_documents,
    text_of,
)
from simcloud_inference_router.codecs.values import from_json

MEDIA_TYPE = "application/vnd.sagemaker-triton.binary+json"

_HEADER_SIZE = re.compile(re.escape(MEDIA_TYPE) + r"\s*;\s*json-header-size=([0-9]{1,12})")
_BINARY_SIZE = "binary_data_size"


class TritonBinary:
    """The codec; it has no state."""

    def encode(self, request: TensorRequest) -> Encoded:
        """Header and raw contents; never fails, every datatype has a raw form."""
        header: dict[str, object] = {
            "inputs": [
                {
                    "name": tensor.name,
                    "shape": tensor.shape,
                    "datatype": tensor.datatype,
                    "parameters": {_BINARY_SIZE: len(tensor.data)},
                }
                for tensor in request.inputs
            ],
            "outputs": [
                {"name": name, "parameters": {"binary_data": True}} for name in request.outputs
            ],
        }
        if request.id:
            header["id"] = request.id
        if request.parameters:
            header["parameters"] = dict(request.parameters)
        text = json.dumps(header, separators=(",", ":")).encode()
        return Encoded(
            body=b"".join([text, *(tensor.data for tensor in request.inputs)]),
            content_type=f"{MEDIA_TYPE};json-header-size={len(text)}",
            accept=MEDIA_TYPE,
        )

    def decode(self, body: bytes, content_type: str) -> TensorAnswer:
        """Header and raw contents, or plain JSON where no output came binary."""
        size = _header_size(content_type, len(body))
        document = parse_object(body[:size])
        outputs: list[Tensor] = []
        position = size
        for entry in tensor_documents(document):
            length = _binary_length(entry)
            if length is None:
                outputs.append(from_json(entry))
                continue
            if position + length > len(body):
                raise MalformedAnswer(
                    f"output {text_of(entry, 'name')} should have {length} bytes; "
                    f"{len(body) - position} are left"
                )
            data = body[position : position + length]
            position += length
            name, datatype = text_of(entry, "name"), text_of(entry, "datatype")
            outputs.append(Tensor(name, datatype, shape_of(entry), data))
        if position != len(body):
            raise MalformedAnswer(f"{len(body) - position} bytes follow the last output")
        return TensorAnswer(tuple(outputs), parameters_of(document))


def _header_size(content_type: str, total: int) -> int:
    if content_type.partition(";")[0].strip() == "application/json":
        return total
    match = _HEADER_SIZE.fullmatch(content_type.strip())
    if match is None:
        raise MalformedAnswer(
            f"expected {MEDIA_TYPE};json-header-size=N or application/json, found {content_type!r}"
        )
    size = int(match[1])
    if not 0 < size <= total:
        raise MalformedAnswer(f"json-header-size is {size}, the body has {total} bytes")
    return size


def _binary_length(entry: dict[str, object]) -> int | None:
    parameters = entry.get("parameters")
    if not isinstance(parameters, dict) or _BINARY_SIZE not in parameters:
        return None
    length = parameters[_BINARY_SIZE]
    if not isinstance(length, int) or isinstance(length, bool) or length < 0:
        raise MalformedAnswer(f"{_BINARY_SIZE} must be a number of bytes, found {length!r}")
    return length
