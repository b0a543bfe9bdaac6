"""What codecs work on: tensors as raw contents, pictures as bytes, and requests to a target."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Protocol

from simcloud.oip.tensors import Tensor
from simcloud.records import record

Parameter = bool | int | float | str
"""A parameter of a request, an answer or an output."""


MAX_PARAMETERS_BYTES = 1024 - 68
"""Parameters beside a body, all together: CustomAttributes (InvokeEndpoint's model) less a trace
context (``traceparent=``, 55 characters, a comma)."""

# Visible ASCII but `,`, `;` and `=`, which separate parameters in the header.
_HEADER_TEXT = re.compile(r"[!-+\--:<>-~]+")


def fits_header(text: str) -> bool:
    """Whether a parameter's name or value can travel in CustomAttributes."""
    return _HEADER_TEXT.fullmatch(text) is not None


def header_size(parameters: Mapping[str, str]) -> int:
    """Bytes that parameters take in CustomAttributes."""
    return sum(len(name) + len(value) + 2 for name, value in parameters.items())


@record
class TensorRequest:
    """One inference on tensors, checked against the model's signature."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[str, ...]
    """Names of the outputs wanted; all of the model's when the caller named none."""
    id: str = ""
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    """The model's; what they ask of the router has been taken out."""


@record
class TensorAnswer:
    """A model's answer in tensors."""

    outputs: tuple[Tensor, ...]
    parameters: Mapping[str, Parameter] = field(default_factory=dict)


@record
class Encoded:
    """A request in the model's encoding."""

    body: bytes
    content_type: str
    accept: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    """Parameters that have no place in the body; they travel beside it, in CustomAttributes."""


class UnencodableRequest(Exception):
    """The codec of the model has no form for this request; the message says what to change."""


class MalformedAnswer(Exception):
    """The target's answer is not what the codec expects; the message says expected and found."""


def beside_the_body(parameters: Mapping[str, Parameter]) -> dict[str, str]:
    """Parameters of a request whose encoding has no place for them.

    Raises:
        UnencodableRequest: they can't travel in a header; one that was left out would silently
            change the answer.
    """
    texts = {name: str(value) for name, value in parameters.items()}
    if header_size(texts) > MAX_PARAMETERS_BYTES or not all(
        fits_header(text) for pair in texts.items() for text in pair
    ):
        raise UnencodableRequest(
            "parameters travel in a header beside this model's body: at most "
            f"{MAX_PARAMETERS_BYTES} bytes of visible ASCII without `;`, `,` and `=`"
        )
    return texts


class TensorCodec(Protocol):
    """Tensors to a target and back."""

    def encode(self, request: TensorRequest) -> Encoded:
        """The request in the model's encoding.

        Raises:
            UnencodableRequest: there is no form for it.
        """
        ...

    def decode(self, body: bytes, content_type: str) -> TensorAnswer:
        """The answer's tensors, in whatever order they came.

        Raises:
            MalformedAnswer: the body is none of this codec's.
        """
        ...
