"""Tensor requests and answers: Open Inference Protocol JSON v2 and Triton's binary extension.

Triton's form (its docs/protocol/extension_binary_data.md, and src/sagemaker_server.cc for the
content type): a JSON header of N bytes, then the binary tensors one after the other, little-endian
and row-major; `application/vnd.sagemaker-triton.binary+json;json-header-size=N` says N. Without
binary tensors the whole body is the JSON.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from simcloud_model_container.errors import BadRequest

JSON_TYPE = "application/json"
BINARY_TYPE = "application/vnd.sagemaker-triton.binary+json"
_HEADER_SIZE = re.compile(re.escape(BINARY_TYPE) + r"\s*;\s*json-header-size=(\d{1,18})\s*")

# Explicit byte order: the wire is little-endian whatever the machine is.
DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
MAX_RANK = 32
"""Dimensions of a tensor; numpy itself stops at 64, with an error that is nobody's request's."""
_DATATYPES = {dtype: name for name, dtype in DTYPES.items()}

Array = npt.NDArray[Any]
Parameters = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class TensorRequest:
    """A decoded request."""

    id: str
    """The caller's, echoed; may be empty."""
    inputs: dict[str, Array]
    """By name; read-only views of the body where it was binary."""
    parameters: Parameters
    """The request's own `parameters`."""
    outputs: dict[str, bool] = field(default_factory=dict)
    """Outputs asked for by name, and whether as binary; empty: all of them."""
    binary_output: bool = False
    """Whether outputs that say nothing of their own are wanted as binary."""


def json_header_size(content_type: str) -> int:
    """N of a Triton binary content type.

    Raises:
        BadRequest: the parameter is missing or is no number.
    """
    match = _HEADER_SIZE.fullmatch(content_type.strip())
    if match is None:
        message = f"expected `{BINARY_TYPE};json-header-size=N`, found `{content_type}`"
        raise BadRequest(message)
    return int(match.group(1))


def decode_tensor_request(body: bytes, *, header_size: int | None = None) -> TensorRequest:
    """Decode a request; `header_size` None means that all of the body is JSON.

    Raises:
        BadRequest: the JSON, a tensor's shape, datatype or size, or the header size is wrong.
    """
    size = len(body) if header_size is None else header_size
    if size == 0 and body:
        message = "json-header-size=0 (one raw tensor) is not supported: send a JSON header"
        raise BadRequest(message)
    if size > len(body):
        message = f"json-header-size={size} is more than the body's {len(body)} bytes"
        raise BadRequest(message)
    document = _json_object(body[:size])
    inputs, end = _inputs(document, memoryview(body), size)
    if end != len(body):
        message = f"the header describes {end} bytes of body, {len(body)} came"
        raise BadRequest(message)
    parameters = _object(document, "parameters")
    return TensorRequest(
        id=str(document.get("id", "")),
        inputs=inputs,
        parameters=parameters,
        outputs=_wanted_outputs(document, default=parameters.get("binary_data_output") is True),
        binary_output=parameters.get("binary_data_output") is True,
    )


def encode_tensor_answer(
    outputs: Mapping[str, Array],
    *,
    binary: frozenset[str],
    model_name: str,
    model_version: str,
    request_id: str = "",
) -> tuple[str, bytes]:
    """The content type and body of an answer whose outputs named in `binary` are binary.

    Raises:
        KeyError: an output's dtype has no name in the protocol.
    """
    entries: list[dict[str, object]] = []
    tail: list[bytes] = []
    for name, values in outputs.items():
        datatype = _DATATYPES[values.dtype.newbyteorder("<")]
        entry: dict[str, object] = {
            "name": name,
            "datatype": datatype,
            "shape": list(values.shape),
        }
        if name in binary:
            data = np.ascontiguousarray(values, DTYPES[datatype]).tobytes()
            entry["parameters"] = {"binary_data_size": len(data)}
            tail.append(data)
        else:
            entry["data"] = values.ravel().tolist()
        entries.append(entry)
    document: dict[str, object] = {
        "model_name": model_name,
        "model_version": model_version,
        "outputs": entries,
    }
    if request_id:
        document["id"] = request_id
    header = json.dumps(document, separators=(",", ":")).encode()
    if not binary:
        return JSON_TYPE, header
    return f"{BINARY_TYPE};json-header-size={len(header)}", b"".join([header, *tail])


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        message = f"the request's JSON can't be read: {error}"
        raise BadRequest(message) from error
    if not isinstance(document, dict):
        message = f"the request's JSON must be an object, found {type(document).__name__}"
        raise BadRequest(message)
    return document


def _object(document: dict[str, Any], key: str) -> dict[str, Any]:
    value = document.get(key, {})
    if not isinstance(value, dict):
        message = f"`{key}` must be an object, found {type(value).__name__}"
        raise BadRequest(message)
    return value


def _entries(document: dict[str, Any], key: str) -> list[tuple[str, dict[str, Any]]]:
    entries = document.get(key, [])
    if not isinstance(entries, list):
        message = f"`{key}` must be a list, found {type(entries).__name__}"
        raise BadRequest(message)
    named: dict[str, dict[str, Any]] = {}
    for position, entry in enumerate(entries):
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or name in named:
            message = f"{key}[{position}] must be an object with a `name` of its own"
            raise BadRequest(message)
        named[name] = entry
    return list(named.items())


def _inputs(
    document: dict[str, Any], body: memoryview, offset: int
) -> tuple[dict[str, Array], int]:
    inputs: dict[str, Array] = {}
    for name, entry in _entries(document, "inputs"):
        dtype = DTYPES.get(str(entry.get("datatype")))
        if dtype is None:
            known, found = ", ".join(DTYPES), entry.get("datatype")
            message = f"input {name}: expected a datatype of {known}, found {found}"
            raise BadRequest(message)
        shape = _shape(name, entry)
        size = _object(entry, "parameters").get("binary_data_size")
        if size is None:
            inputs[name] = _from_json(name, entry, dtype, shape)
            continue
        expected = math.prod(shape) * dtype.itemsize
        if type(size) is not int or size != expected:
            message = (
                f"input {name}: shape {list(shape)} takes {expected} bytes, "
                f"binary_data_size is {size}"
            )
            raise BadRequest(message)
        if offset + size > len(body):
            message = f"input {name}: its {size} bytes go beyond the body's end at {len(body)}"
            raise BadRequest(message)
        inputs[name] = np.frombuffer(body[offset : offset + size], dtype).reshape(shape)
        offset += size
    return inputs, offset


def _shape(name: str, entry: dict[str, Any]) -> tuple[int, ...]:
    shape = entry.get("shape")
    if not isinstance(shape, list) or not all(type(i) is int and 0 <= i < 2**31 for i in shape):
        message = f"input {name}: expected a shape of integers from 0 on, found {shape}"
        raise BadRequest(message)
    if len(shape) > MAX_RANK:
        message = f"input {name}: a shape has at most {MAX_RANK} dimensions, found {len(shape)}"
        raise BadRequest(message)
    return tuple(shape)


def _from_json(
    name: str, entry: dict[str, Any], dtype: np.dtype[Any], shape: tuple[int, ...]
) -> Array:
    try:
        # The protocol allows nested lists and one flat list.
        values: Array = np.asarray(entry["data"])
    except (KeyError, ValueError) as error:
        message = f"input {name}: it has neither `binary_data_size` nor `data` of regular shape"
        raise BadRequest(message) from error
    if values.dtype.kind not in "biuf":
        message = f"input {name}: `data` must be numbers in a flat or regular nested list"
        raise BadRequest(message)
    converted = _cast(values, entry["data"], dtype)
    if converted is None:
        message = f"input {name}: `data` has values that {entry['datatype']} can't hold"
        raise BadRequest(message)
    if converted.size != math.prod(shape):
        message = (
            f"input {name}: shape {list(shape)} has {math.prod(shape)} elements, "
            f"`data` has {converted.size}"
        )
        raise BadRequest(message)
    return converted.reshape(shape)


def _cast(values: Array, data: object, dtype: np.dtype[Any]) -> Array | None:
    """`values` as `dtype`; None when one of them doesn't fit."""
    if dtype.kind in "iu" and values.dtype.kind == "f":
        # numpy makes floats of integers beyond int64 beside small ones, and loses their low bits.
        values = np.asarray(data, object)
        if not all(type(value) is int for value in values.flat):
            return None
    try:
        with np.errstate(over="raise", invalid="raise"):
            converted = values.astype(dtype)
    except ArithmeticError:
        return None
    exact = dtype.kind == "f" or np.array_equal(converted, values)
    return converted if exact else None


def _wanted_outputs(document: dict[str, Any], *, default: bool) -> dict[str, bool]:
    return {
        name: _object(entry, "parameters").get("binary_data", default) is True
        for name, entry in _entries(document, "outputs")
    }
