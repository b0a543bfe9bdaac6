"""One array in, one array out, as ``.npy``: what many plain numpy containers speak."""

from __future__ import annotations

import ast
import io
import math
from typing import Literal

import numpy as np

from simcloud.errors import InvalidRequest
from simcloud.oip.tensors import Array, tensor_of
from simcloud_inference_router.codecs.base import (
    Encoded,
    MalformedAnswer,
    TensorAnswer,
    TensorRequest,
    UnencodableRequest,
    beside_the_body,
)

MEDIA_TYPE = "application/x-npy"

MAX_HEADER_BYTES = 10_000
"""numpy's own limit (numpy.lib.format)."""

_NO_NPY = frozenset({"BF16", "BYTES"})


class Npy:
    """The codec.

    Args:
        output: the model's one output, by which the answer is called.
    """

    def __init__(self, *, output: str) -> None:
        self._output = output

    def encode(self, request: TensorRequest) -> Encoded:
        """The one input as ``.npy``, version 1.0."""
        tensor = request.inputs[0]
        if tensor.datatype in _NO_NPY:
            raise UnencodableRequest(f"{tensor.datatype} has no form in .npy")
        file = io.BytesIO()
        np.save(file, tensor.array(), allow_pickle=False)
        return Encoded(file.getvalue(), MEDIA_TYPE, MEDIA_TYPE, beside_the_body(request.parameters))

    def decode(self, body: bytes, content_type: str) -> TensorAnswer:
        """The one output; pickled objects are refused."""
        if content_type.partition(";")[0].strip() != MEDIA_TYPE:
            raise MalformedAnswer(f"expected {MEDIA_TYPE}, found {content_type!r}")
        try:
            return TensorAnswer((tensor_of(self._output, read_array(body)),))
        except InvalidRequest as exc:
            raise MalformedAnswer(f"the answer is no .npy of numbers: {exc}") from exc


def read_array(body: bytes) -> Array:
    """The array of an .npy file (numpy.lib.format, versions 1 and 2): a view of the body.

    Not by numpy.load, which makes room for whatever a header claims, and reads headers of Python 2
    by its tokenizer.

    Raises:
        MalformedAnswer: it is none, or not one of numbers.
    """
    try:
        start, size, code = (12, int.from_bytes(body[8:12], "little"), body[6])
        if code == 1:
            start, size = 10, int.from_bytes(body[8:10], "little")
        if body[:6] != b"\x93NUMPY" or code not in {1, 2} or not 0 < size <= MAX_HEADER_BYTES:
            raise ValueError("its first bytes are not those of .npy")
        header = ast.literal_eval(body[start : start + size].decode("latin-1").strip())
        descr, shape = header["descr"], header["shape"]
        dtype = np.dtype(descr) if isinstance(descr, str) else None
        if dtype is None or dtype.kind not in "biuf":
            raise ValueError("it is no array of numbers")
        if not isinstance(shape, tuple) or not all(type(each) is int for each in shape):
            raise ValueError(f"its shape is {str(shape)[:64]}")
        order: Literal["C", "F"] = "F" if header["fortran_order"] is True else "C"
        data = body[start + size :]
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError(f"{dtype} of shape {str(shape)[:64]} is not {len(data)} bytes")
        return np.frombuffer(data, dtype).reshape(shape, order=order)
    except (
        *(ValueError, TypeError, KeyError, IndexError, SyntaxError),
        *(MemoryError, RecursionError, OverflowError),
    ) as exc:
        raise MalformedAnswer(f"the answer is no .npy of numbers: {exc}") from exc
