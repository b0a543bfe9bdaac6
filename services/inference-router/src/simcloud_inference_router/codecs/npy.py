"""One array in, one array out, as ``.npy``: what many plain numpy containers speak."""

from __future__ import annotations

import io

import numpy as np

from simcloud.errors import InvalidRequest
from simcloud.oip.tensors import tensor_of
from simcloud_inference_router.codecs.base import (
    MAX_PARAMETERS_BYTES,
    Encoded,
    MalformedAnswer,
    TensorAnswer,
    TensorRequest,
    UnencodableRequest,
    fits_header,
    header_size,
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
        parameters = {name: str(value) for name, value in request.parameters.items()}
        # One that was left out of the header would silently change the answer.
        if header_size(parameters) > MAX_PARAMETERS_BYTES or not all(
            fits_header(text) for pair in parameters.items() for text in pair
        ):
            raise UnencodableRequest(
                "parameters travel in a header beside .npy: at most "
                f"{MAX_PARAMETERS_BYTES} bytes of visible ASCII without `;`, `,` and `=`"
            )
        return Encoded(file.getvalue(), MEDIA_TYPE, MEDIA_TYPE, parameters)

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
