"""One tensor that is the body: whatever the model reads and says, as it is.

For models with a format of their own, such as the JSON of language models: a BYTES tensor of one
element, or UINT8 of any length.
"""

from __future__ import annotations

from simcloud.oip.tensors import Tensor, join_bytes, split_bytes
from simcloud_inference_router.catalog import TensorSignature
from simcloud_inference_router.codecs.base import (
    Encoded,
    TensorAnswer,
    TensorRequest,
    UnencodableRequest,
    beside_the_body,
)


class WholeBody:
    """The codec.

    Args:
        output: the model's one output.
        media_type: of the request.
        accept: media type wanted back; empty: any.
    """

    def __init__(self, *, output: TensorSignature, media_type: str, accept: str) -> None:
        self._output = output
        self._media_type = media_type
        self._accept = accept

    def encode(self, request: TensorRequest) -> Encoded:
        """The one element of BYTES, or the UINT8 as they are."""
        tensor = request.inputs[0]
        body = tensor.data
        if tensor.datatype == "BYTES":
            elements = split_bytes(tensor.data)
            if len(elements) != 1:
                raise UnencodableRequest(f"the body is one element, found {len(elements)}")
            (body,) = elements
        return Encoded(body, self._media_type, self._accept, beside_the_body(request.parameters))

    def decode(self, body: bytes, content_type: str) -> TensorAnswer:
        """The body as the one output; any bytes will do."""
        name = self._output.name
        if self._output.datatype == "BYTES":
            shape = tuple(1 for _ in self._output.shape)
            return TensorAnswer((Tensor(name, "BYTES", shape, join_bytes([body])),))
        return TensorAnswer((Tensor(name, "UINT8", (len(body),), body),))
