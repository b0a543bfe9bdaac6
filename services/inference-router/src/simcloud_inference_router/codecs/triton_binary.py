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
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TypeAlias

from simcloud.oip.tensors import Tensor
from simcloud_inference_router.codecs.base import (
    Encoded,
    MalformedAnswer,
    Parameter,
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


# One tensor's name, datatype, shape and bytes of raw contents; None: its data is in the header.
_Layout: TypeAlias = tuple[str, str, tuple[int, ...], int | None]

# A client repeats the same layouts, and a server its headers, but for the request's id. Both are
# checked before they are kept: names are the model's own, ranks are bounded.
_KEPT = 512
_MAX_KEPT_HEADER_BYTES = 2048
_MAX_KEPT_TYPE = 128

# Triton writes the request's id first; it is nothing that we read.
_ID = re.compile(rb'\{"id":"[^"\\]{1,256}",')


@dataclass(frozen=True, slots=True)
class _AnswerHeader:
    """What an answer's header says."""

    layouts: tuple[_Layout, ...]
    parameters: Mapping[str, Parameter]
    tensors: Mapping[int, Tensor]
    """Outputs whose data is in the header, by their place."""


class TritonBinary:
    """The codec; it has no state."""

    def encode(self, request: TensorRequest) -> Encoded:
        """Header and raw contents; never fails, every datatype has a raw form."""
        inputs = request.inputs
        text = _request_header(
            tuple([(each.name, each.datatype, each.shape, len(each.data)) for each in inputs]),
            request.outputs,
        )
        # Parts of an object without its braces.
        if request.id:
            text += f',"id":{json.dumps(request.id)}'
        if request.parameters:
            parameters = json.dumps(dict(request.parameters), separators=(",", ":"))
            text += f',"parameters":{parameters}'
        header = f"{{{text}}}".encode()
        return Encoded(
            body=b"".join([header, *[each.data for each in inputs]]),
            content_type=f"{MEDIA_TYPE};json-header-size={len(header)}",
            accept=MEDIA_TYPE,
        )

    def decode(self, body: bytes, content_type: str) -> TensorAnswer:
        """Header and raw contents, or plain JSON where no output came binary."""
        size = _header_size(content_type, len(body))
        text = body[:size]
        if found := _ID.match(text):
            text = b"{" + text[found.end() :]
        # Large ones hold their data, which does not come twice.
        read = _answer_header if len(text) <= _MAX_KEPT_HEADER_BYTES else _read_answer_header
        header = read(text)
        outputs: list[Tensor] = []
        position = size
        for place, (name, datatype, shape, length) in enumerate(header.layouts):
            if length is None:
                outputs.append(header.tensors[place])
                continue
            if position + length > len(body):
                raise MalformedAnswer(
                    f"output {name} should have {length} bytes; {len(body) - position} are left"
                )
            data = body[position : position + length]
            position += length
            outputs.append(Tensor(name, datatype, shape, data))
        if position != len(body):
            raise MalformedAnswer(f"{len(body) - position} bytes follow the last output")
        return TensorAnswer(tuple(outputs), header.parameters)


@lru_cache(_KEPT)
def _request_header(inputs: tuple[_Layout, ...], outputs: tuple[str, ...]) -> str:
    header = {
        "inputs": [
            {
                "name": name,
                "shape": shape,
                "datatype": datatype,
                "parameters": {_BINARY_SIZE: size},
            }
            for name, datatype, shape, size in inputs
        ],
        "outputs": [{"name": name, "parameters": {"binary_data": True}} for name in outputs],
    }
    return json.dumps(header, separators=(",", ":"))[1:-1]


def _read_answer_header(text: bytes) -> _AnswerHeader:
    document = parse_object(text)
    layouts: list[_Layout] = []
    tensors: dict[int, Tensor] = {}
    for place, entry in enumerate(tensor_documents(document)):
        length = _binary_length(entry)
        if length is None:
            tensors[place] = tensor = from_json(entry)
            layouts.append((tensor.name, tensor.datatype, tensor.shape, None))
        else:
            name, datatype = text_of(entry, "name"), text_of(entry, "datatype")
            layouts.append((name, datatype, shape_of(entry), length))
    # Shared by all answers with this header.
    parameters = MappingProxyType(parameters_of(document))
    return _AnswerHeader(tuple(layouts), parameters, tensors)


_answer_header = lru_cache(_KEPT)(_read_answer_header)


def _header_size(content_type: str, total: int) -> int:
    known = _said_size if len(content_type) <= _MAX_KEPT_TYPE else _read_size
    size = known(content_type)
    if size is None:
        return total
    if not 0 < size <= total:
        raise MalformedAnswer(f"json-header-size is {size}, the body has {total} bytes")
    return size


def _read_size(content_type: str) -> int | None:
    """Size of the header as the content type says it; None: all is JSON."""
    if content_type.partition(";")[0].strip() == "application/json":
        return None
    match = _HEADER_SIZE.fullmatch(content_type.strip())
    if match is None:
        raise MalformedAnswer(
            f"expected {MEDIA_TYPE};json-header-size=N or application/json, found {content_type!r}"
        )
    return int(match[1])


_said_size = lru_cache(_KEPT)(_read_size)


def _binary_length(entry: dict[str, object]) -> int | None:
    parameters = entry.get("parameters")
    if not isinstance(parameters, dict) or _BINARY_SIZE not in parameters:
        return None
    length = parameters[_BINARY_SIZE]
    if not isinstance(length, int) or isinstance(length, bool) or length < 0:
        raise MalformedAnswer(f"{_BINARY_SIZE} must be a number of bytes, found {length!r}")
    return length
