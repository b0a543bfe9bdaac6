"""One array in, one array out, as ``.npy``: what many plain numpy containers speak."""

from __future__ import annotations

import io

import numpy as np

from simcloud.errors import InvalidRequest
from simcloud.oip.tensors import tensor_of
from simcloud_inference_router.codecs.base import (
    Encoded,
    MalformedAnswer,
    TensorAnswer,
    TensorRequest,
    UnencodableRequest,
    beside_the_body,
)

MEDIA_TYPE = "application/x-npy"

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
            array = np.load(io.BytesIO(body), allow_pickle=False)
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
                raise ValueError("it is no array of numbers")
            return TensorAnswer((tensor_of(self._output, array),))
        except (ValueError, EOFError, TypeError, SyntaxError, InvalidRequest) as exc:
            raise MalformedAnswer(f"the answer is no .npy of numbers: {exc}") from exc
