"""What goes into an ONNX network and what comes out, read from the file without running it.

The file is a protocol buffer (onnx/onnx.proto3). Only the fields of its signature are described
here, in a descriptor pool of their own, so that neither onnx nor onnxruntime is needed and none of
theirs is in the way; the parser keeps the rest unread.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from simcloud.errors import InvalidRequest

_MESSAGE, _INT32, _INT64, _STRING = 11, 5, 3, 9
_LABEL_ONE, _LABEL_MANY = 1, 3

# onnx/onnx.proto3: message -> (field, number, type, message's name, repeated)
_FIELDS: Final[dict[str, tuple[tuple[str, int, int, str, bool], ...]]] = {
    "Model": (("graph", 7, _MESSAGE, "Graph", False),),
    "Graph": (
        ("initializer", 5, _MESSAGE, "Initializer", True),
        ("input", 11, _MESSAGE, "Value", True),
        ("output", 12, _MESSAGE, "Value", True),
    ),
    "Initializer": (("name", 8, _STRING, "", False),),
    "Value": (("name", 1, _STRING, "", False), ("type", 2, _MESSAGE, "Type", False)),
    "Type": (("tensor_type", 1, _MESSAGE, "TensorType", False),),
    "TensorType": (
        ("elem_type", 1, _INT32, "", False),
        ("shape", 2, _MESSAGE, "Shape", False),
    ),
    "Shape": (("dim", 1, _MESSAGE, "Dimension", True),),
    "Dimension": (("dim_value", 1, _INT64, "", False), ("dim_param", 2, _STRING, "", False)),
}

# TensorProto.DataType to the Open Inference Protocol's names.
_DATATYPES: Final = {
    1: "FP32", 2: "UINT8", 3: "INT8", 4: "UINT16", 5: "INT16", 6: "INT32", 7: "INT64", 8: "BYTES",
    9: "BOOL", 10: "FP16", 11: "FP64", 12: "UINT32", 13: "UINT64", 16: "BF16",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class NetworkTensor:
    """An input or an output of the network itself, before and after which nothing is done."""

    name: str
    datatype: str
    """As the Open Inference Protocol names it."""
    shape: tuple[int, ...]
    """-1 where it varies."""


@dataclass(frozen=True, slots=True)
class NetworkSignature:
    """All tensors that a caller gives and gets."""

    inputs: tuple[NetworkTensor, ...]
    outputs: tuple[NetworkTensor, ...]


def read_signature(path: Path) -> NetworkSignature:
    """The signature of an ONNX file.

    Raises:
        InvalidRequest: the file is not ONNX, or has a tensor that Triton has no type for.
    """
    model: Any = _message_class()()
    try:
        model.ParseFromString(path.read_bytes())
    except message.DecodeError as error:
        raise InvalidRequest(str(path), "is not an ONNX file") from error
    if not model.graph.input or not model.graph.output:
        raise InvalidRequest(str(path), "is not an ONNX network: it has no inputs or no outputs")
    # Before IR version 4 weights were inputs too.
    weights = {item.name for item in model.graph.initializer}
    return NetworkSignature(
        inputs=tuple(_tensor(path, v) for v in model.graph.input if v.name not in weights),
        outputs=tuple(_tensor(path, v) for v in model.graph.output),
    )


def _tensor(path: Path, value: Any) -> NetworkTensor:
    kind = value.type.tensor_type
    datatype = _DATATYPES.get(kind.elem_type)
    if datatype is None:
        raise InvalidRequest(
            str(path), f"tensor {value.name} has ONNX's type {kind.elem_type}, which no client has"
        )
    # A dimension that varies has a name or nothing in place of a value.
    shape = tuple(dim.dim_value if dim.dim_value > 0 else -1 for dim in kind.shape.dim)
    return NetworkTensor(name=value.name, datatype=datatype, shape=shape)


@cache
def _message_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="simcloud/onnx_signature.proto", package="simcloud.onnx", syntax="proto3"
    )
    for name, fields in _FIELDS.items():
        described = file.message_type.add(name=name)
        for field, number, kind, type_name, many in fields:
            added = described.field.add(name=field, number=number)
            added.type = descriptor_pb2.FieldDescriptorProto.Type.ValueType(kind)
            added.label = descriptor_pb2.FieldDescriptorProto.Label.ValueType(
                _LABEL_MANY if many else _LABEL_ONE
            )
            if type_name:
                added.type_name = f".simcloud.onnx.{type_name}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("simcloud.onnx.Model"))
