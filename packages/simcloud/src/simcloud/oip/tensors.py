"""Tensors of the Open Inference Protocol: datatypes, raw contents, typed contents, BYTES framing.

Raw contents are little-endian and row-major; an element of a BYTES tensor is its length as 4 bytes,
little-endian, and its bytes. FP16 and BF16 exist as raw contents only. numpy has no bfloat16: BF16
tensors are arrays of their bit patterns, uint16.
"""

from __future__ import annotations

import math
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from simcloud.errors import InvalidRequest
from simcloud.oip.pool import OipMessage, messages
from simcloud.records import record

Array: TypeAlias = "npt.NDArray[Any]"

# Larger ranks occur nowhere; numpy stops at 64.
MAX_RANK: Final = 32


@dataclass(frozen=True, slots=True)
class Datatype:
    """A datatype: name, numpy dtype (None for BYTES), field of typed contents (None: raw only)."""

    name: str
    dtype: np.dtype[Any] | None
    contents_field: str | None

    @property
    def itemsize(self) -> int | None:
        """Bytes an element; None for BYTES, whose elements have lengths of their own."""
        return None if self.dtype is None else self.dtype.itemsize


def _row(name: str, dtype: str | None, contents_field: str | None) -> tuple[str, Datatype]:
    return name, Datatype(name, None if dtype is None else np.dtype(dtype), contents_field)


# open-inference-protocol, "Tensor Data Types", and InferTensorContents of its proto.
DATATYPES: Final[dict[str, Datatype]] = dict(
    (
        _row("BOOL", "?", "bool_contents"),
        _row("UINT8", "u1", "uint_contents"),
        _row("UINT16", "<u2", "uint_contents"),
        _row("UINT32", "<u4", "uint_contents"),
        _row("UINT64", "<u8", "uint64_contents"),
        _row("INT8", "i1", "int_contents"),
        _row("INT16", "<i2", "int_contents"),
        _row("INT32", "<i4", "int_contents"),
        _row("INT64", "<i8", "int64_contents"),
        _row("FP16", "<f2", None),
        _row("BF16", "<u2", None),
        _row("FP32", "<f4", "fp32_contents"),
        _row("FP64", "<f8", "fp64_contents"),
        _row("BYTES", None, "bytes_contents"),
    )
)
# BF16 shares uint16 with UINT16, which is what an array of uint16 means.
_BY_DTYPE: Final = {
    each.dtype: name for name, each in DATATYPES.items() if each.dtype and name != "BF16"
}


@record
class Tensor:
    """A tensor as it came: checked, its data still bytes, without a copy.

    ``data`` is its raw contents; its length is right for ``datatype`` and ``shape``.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes

    def array(self) -> Array:
        """The data as an array of ``shape``; a read-only view of ``data`` but for BYTES.

        BYTES become an object array of ``bytes``, BF16 the bit patterns as uint16.
        """
        kind = DATATYPES[self.datatype]
        if kind.dtype is None:
            return _object_array(split_bytes(self.data, f"inputs[{self.name}]"), self.shape)
        return np.frombuffer(self.data, dtype=kind.dtype).reshape(self.shape)


def datatype_of(dtype: np.dtype[Any]) -> str:
    """Datatype of arrays of ``dtype``; strings, bytes and objects are BYTES.

    Raises:
        InvalidRequest: the protocol has none for it.
    """
    if dtype.kind in "OSU":
        return "BYTES"
    name = _BY_DTYPE.get(dtype.newbyteorder("<") if dtype.itemsize > 1 else dtype)
    if name is None:
        raise InvalidRequest("datatype", f"no datatype of the protocol holds numpy's {dtype}")
    return name


def to_raw(array: Array) -> bytes:
    """Raw contents of an array: little-endian, row-major; BYTES framed.

    Raises:
        InvalidRequest: the protocol has no datatype for it, or an element is not text or bytes.
    """
    if datatype_of(array.dtype) == "BYTES":
        return join_bytes(array.ravel().tolist())
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes()


def from_raw(data: bytes, *, datatype: str, shape: Sequence[int], field: str = "tensor") -> Array:
    """The array of raw contents: (shape), a read-only view of ``data`` but for BYTES.

    Raises:
        InvalidRequest: unknown datatype, bad shape, or a length that isn't theirs.
    """
    checked = check_raw(data, datatype=datatype, shape=shape, field=field)
    return Tensor(field, datatype, checked, data).array()


def check_raw(data: bytes, *, datatype: str, shape: Sequence[int], field: str) -> tuple[int, ...]:
    """Checks that ``data`` can be the raw contents of such a tensor; returns the shape.

    Raises:
        InvalidRequest: unknown datatype, bad shape, or a length that isn't theirs.
    """
    kind = _known(datatype, field)
    checked = _shape(shape, field)
    elements = math.prod(checked)
    if kind.itemsize is None:
        found = sum(1 for _ in _walk_bytes(data, field))
        if found != elements:
            raise InvalidRequest(
                field, f"shape {list(checked)} is {elements} BYTES elements, found {found}"
            )
    elif len(data) != elements * kind.itemsize:
        raise InvalidRequest(
            field,
            f"{datatype} of shape {list(checked)} is {elements * kind.itemsize} bytes, "
            f"found {len(data)}",
        )
    return checked


def join_bytes(elements: Iterable[bytes | str]) -> bytes:
    """Frames the elements of a BYTES tensor; text as UTF-8.

    Raises:
        InvalidRequest: an element is neither text nor bytes.
    """
    framed = bytearray()
    for element in elements:
        data = element.encode() if isinstance(element, str) else element
        if not isinstance(data, bytes):
            raise InvalidRequest(
                "contents", f"elements of BYTES are text or bytes, found {type(element).__name__}"
            )
        framed += struct.pack("<I", len(data))
        framed += data
    return bytes(framed)


def split_bytes(data: bytes, field: str = "tensor") -> list[bytes]:
    """The elements of a BYTES tensor's raw contents.

    Raises:
        InvalidRequest: the framing is broken.
    """
    return [data[start:end] for start, end in _walk_bytes(data, field)]


def input_tensors(request: OipMessage) -> list[Tensor]:
    """The inputs of a ModelInferRequest, checked, in order, in raw form whichever way they came.

    Raises:
        InvalidRequest: raw and typed contents are mixed, entries are missing, a datatype, shape or
            length is wrong, or two inputs share a name.
    """
    raw = request.raw_input_contents
    inputs = request.inputs
    if raw and len(raw) != len(inputs):
        raise InvalidRequest(
            "raw_input_contents", f"{len(inputs)} inputs need as many entries, found {len(raw)}"
        )
    tensors: list[Tensor] = []
    names: set[str] = set()
    for index, each in enumerate(inputs):
        # Each attribute of a message is made anew: once.
        name, datatype, shape = each.name, each.datatype, tuple(each.shape)
        if name in names:
            raise InvalidRequest(f"inputs[{index}].name", f"{name!r} occurs twice")
        names.add(name)
        if not raw:
            data = contents_to_raw(each.contents, datatype, f"inputs[{index}]")
        elif each.HasField("contents"):
            raise InvalidRequest(
                f"inputs[{index}].contents", "must be absent when raw_input_contents is used"
            )
        else:
            data = raw[index]
        if not has_size(data, datatype=datatype, shape=shape):
            check_raw(data, datatype=datatype, shape=shape, field=f"inputs[{index}]")
        tensors.append(Tensor(name, datatype, shape, data))
    return tensors


def has_size(data: bytes, *, datatype: str, shape: tuple[int, ...]) -> bool:
    """Whether ``data`` has the very size of such a tensor; False also where that takes a look.

    The quick half of ``check_raw``, which says what is wrong, and looks into BYTES.
    """
    known = datatype in DATATYPES and len(shape) <= MAX_RANK
    return known and len(data) == _raw_size(datatype, shape)


# Clients repeat their shapes. What is kept is small: a name that we know and a bounded rank.
@lru_cache(1024)
def _raw_size(datatype: str, shape: tuple[int, ...]) -> int | None:
    """Bytes of a tensor of fixed size; None for BYTES and for what is no tensor."""
    itemsize = DATATYPES[datatype].itemsize
    if itemsize is None or any(size < 0 for size in shape):
        return None
    return math.prod(shape) * itemsize


def contents_to_raw(contents: OipMessage, datatype: str, field: str) -> bytes:
    """Raw contents of an InferTensorContents.

    Raises:
        InvalidRequest: unknown datatype, one that travels raw only, data of another datatype, or a
            value that doesn't fit.
    """
    kind = _known(datatype, field)
    if kind.contents_field is None:
        raise InvalidRequest(f"{field}.contents", f"{datatype} travels in raw_input_contents only")
    filled = [each.name for each, _ in contents.ListFields()]
    if filled and filled != [kind.contents_field]:
        raise InvalidRequest(
            f"{field}.contents", f"{datatype} is in {kind.contents_field}, found {filled}"
        )
    values = getattr(contents, kind.contents_field)
    if kind.dtype is None:
        return join_bytes(values)
    try:
        return np.array(values, dtype=kind.dtype).tobytes()
    except OverflowError as error:
        raise InvalidRequest(
            f"{field}.contents", f"a value is not a {datatype}: {error}"
        ) from error


def fill_request(request: OipMessage, arrays: Sequence[tuple[str, Array]]) -> None:
    """Adds named arrays to a ModelInferRequest as raw inputs.

    Raises:
        InvalidRequest: the protocol has no datatype for one of them.
    """
    for name, array in arrays:
        request.inputs.add(name=name, datatype=datatype_of(array.dtype), shape=array.shape)
        request.raw_input_contents.append(to_raw(array))


def fill_response(response: OipMessage, tensors: Iterable[Tensor]) -> None:
    """Adds tensors to a ModelInferResponse.

    Always as raw contents, an entry an output: tritonclient reads nothing else.
    """
    for tensor in tensors:
        response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        response.raw_output_contents.append(tensor.data)


def output_arrays(response: OipMessage) -> dict[str, Array]:
    """The outputs of a ModelInferResponse by name.

    Raises:
        InvalidRequest: as ``input_tensors``; the server broke the protocol.
    """
    raw = response.raw_output_contents
    if raw and len(raw) != len(response.outputs):
        raise InvalidRequest(
            "raw_output_contents",
            f"{len(response.outputs)} outputs need as many entries, found {len(raw)}",
        )
    arrays: dict[str, Array] = {}
    for index, each in enumerate(response.outputs):
        field = f"outputs[{index}]"
        data = raw[index] if raw else contents_to_raw(each.contents, each.datatype, field)
        arrays[each.name] = from_raw(data, datatype=each.datatype, shape=each.shape, field=field)
    return arrays


def tensor_of(name: str, array: Array) -> Tensor:
    """An array as a named tensor.

    Raises:
        InvalidRequest: the protocol has no datatype for it.
    """
    return Tensor(name, datatype_of(array.dtype), tuple(array.shape), to_raw(array))


def new(message: str) -> OipMessage:
    """An empty message by name, for example ``ModelInferRequest``."""
    return messages()[message]()


def _known(datatype: str, field: str) -> Datatype:
    kind = DATATYPES.get(datatype)
    if kind is None:
        raise InvalidRequest(
            f"{field}.datatype", f"is one of {', '.join(DATATYPES)}, found {datatype!r}"
        )
    return kind


def _shape(shape: Sequence[int], field: str) -> tuple[int, ...]:
    checked = tuple(shape)
    if len(checked) > MAX_RANK:
        raise InvalidRequest(
            f"{field}.shape", f"has at most {MAX_RANK} dimensions, found {len(checked)}"
        )
    if any(size < 0 for size in checked):
        raise InvalidRequest(
            f"{field}.shape", f"dimensions of data are 0 or more, found {list(checked)}"
        )
    return checked


def _walk_bytes(data: bytes, field: str) -> Iterable[tuple[int, int]]:
    position = 0
    while position < len(data):
        start = position + 4
        if start > len(data):
            raise InvalidRequest(field, f"BYTES end within a length, at byte {position}")
        end = start + int.from_bytes(data[position:start], "little")
        if end > len(data):
            raise InvalidRequest(
                field, f"a BYTES element at byte {position} ends {end - len(data)} bytes too late"
            )
        yield start, end
        position = end


def _object_array(elements: list[bytes], shape: tuple[int, ...]) -> Array:
    array = np.empty(len(elements), dtype=object)
    array[:] = elements
    return array.reshape(shape)


if sys.byteorder != "little":  # pragma: no cover - no such machine is supported
    raise ImportError("simcloud runs on little-endian machines only")
