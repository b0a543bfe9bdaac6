"""One invocation, without HTTP: bytes and a few headers in, bytes and a content type out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from simcloud_model_container.catalogue import ModelDescription
from simcloud_model_container.errors import BadRequest, UnsupportedContentType
from simcloud_model_container.image_decoding import IMAGE_TYPES, decode_image
from simcloud_model_container.models.family import ModelFamily, Parameters, Tensors
from simcloud_model_container.models.parameters import read_custom_attributes
from simcloud_model_container.negotiation import answer_type, media_type
from simcloud_model_container.settings import RequestLimits
from simcloud_model_container.tensor_codec import (
    BINARY_TYPE,
    JSON_TYPE,
    TensorRequest,
    decode_tensor_request,
    encode_tensor_answer,
    json_header_size,
)

_CONTENT_TYPES = (*IMAGE_TYPES, JSON_TYPE, BINARY_TYPE)


@dataclass(frozen=True, slots=True)
class Invocation:
    """What the caller sent."""

    content_type: str
    accept: str
    custom_attributes: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Work:
    """An invocation, read: images for the network, and how to answer."""

    images: list[npt.NDArray[np.float32]]
    """Each (channels, height, width), as the network takes it."""
    sizes: list[tuple[int, int]]
    """Each image's (width, height), pixels, in which boxes are answered."""
    parameters: Parameters
    tensors: TensorRequest | None
    """None when the body was a picture."""
    answer_type: str
    """application/json, or Triton's binary type."""


class InvocationCodec:
    """Reads and answers invocations of one model; pure, called from several threads."""

    def __init__(
        self, *, description: ModelDescription, family: ModelFamily, limits: RequestLimits
    ) -> None:
        self._description = description
        self._family = family
        self._limits = limits
        self._output_names = tuple(output.name for output in description.outputs)

    def read(self, invocation: Invocation) -> Work:
        """Decode the body and prepare its images.

        Raises:
            RequestRefused: of the family that says what is wrong.
        """
        kind = media_type(invocation.content_type)
        accepted = answer_type(invocation.accept)
        attributes = read_custom_attributes(
            invocation.custom_attributes, self._family.parameter_names
        )
        if kind in IMAGE_TYPES:
            pixels = decode_image(
                invocation.body, content_type=kind, max_pixels=self._limits.max_image_pixels
            )
            prepared, sizes = self._prepare(pixels[None])
            return Work(prepared, sizes, attributes, None, accepted)
        if kind == JSON_TYPE:
            request = decode_tensor_request(invocation.body)
        elif kind == BINARY_TYPE:
            size = json_header_size(invocation.content_type)
            request = decode_tensor_request(invocation.body, header_size=size)
        else:
            message = f"expected one of {', '.join(_CONTENT_TYPES)}, found `{kind}`"
            raise UnsupportedContentType(message)
        self._check_outputs(request)
        prepared, sizes = self._images_of(request)
        parameters = {**attributes, **request.parameters}
        return Work(prepared, sizes, parameters, request, accepted)

    def answer(self, work: Work, raw: Sequence[Tensors]) -> Answer:
        """Encode the answer to `work` from each image's network outputs.

        Raises:
            BadRequest: a parameter is out of range.
        """
        tensors = self._family.answers(raw, work.sizes, work.parameters)
        if work.tensors is None and work.answer_type == JSON_TYPE:
            return self._words(work, tensors)
        wanted = work.tensors.outputs if work.tensors is not None else {}
        names = tuple(wanted) or self._output_names
        default = work.answer_type == BINARY_TYPE or (
            work.tensors is not None and work.tensors.binary_output
        )
        content_type, body = encode_tensor_answer(
            {name: tensors[name] for name in names},
            binary=frozenset(name for name in names if default or wanted.get(name, False)),
            model_name=self._description.name,
            model_version=self._description.version,
            request_id=work.tensors.id if work.tensors is not None else "",
        )
        return Answer(content_type, body)

    def _words(self, work: Work, tensors: Tensors) -> Answer:
        width, height = work.sizes[0]
        document = {
            "model": self._description.name,
            "image": {"width": width, "height": height},
            **self._family.describe(tensors, work.parameters),
        }
        return Answer(JSON_TYPE, json.dumps(document, separators=(",", ":")).encode())

    def _check_outputs(self, request: TensorRequest) -> None:
        unknown = set(request.outputs).difference(self._output_names)
        if unknown:
            known = ", ".join(self._output_names)
            message = f"the model's outputs are {known}; there is no {', '.join(sorted(unknown))}"
            raise BadRequest(message)

    def _images_of(
        self, request: TensorRequest
    ) -> tuple[list[npt.NDArray[np.float32]], list[tuple[int, int]]]:
        if len(request.inputs) != 1:
            found = ", ".join(request.inputs) or "none"
            message = f"expected exactly one input, {self._known_inputs()}; found {found}"
            raise BadRequest(message)
        ((name, values),) = request.inputs.items()
        description = next((i for i in self._description.inputs if i.name == name), None)
        if description is None:
            message = f"there is no input {name}; expected {self._known_inputs()}"
            raise BadRequest(message)
        self._check_tensor(name, values, description.datatype, description.shape)
        if name == "image":
            return self._prepare(values)
        _, height, width = self._family.input_shape
        if not np.isfinite(values).all():
            message = f"input {name} has values that are not finite"
            raise BadRequest(message)
        return list(values), [(width, height)] * len(values)

    def _check_tensor(
        self, name: str, values: npt.NDArray[Any], datatype: str, shape: tuple[int, ...]
    ) -> None:
        dtype = {"UINT8": np.uint8, "FP32": np.float32}[datatype]
        fits = values.ndim == len(shape) and all(
            expected in {-1, found} for expected, found in zip(shape, values.shape, strict=True)
        )
        if values.dtype != dtype or not fits or 0 in values.shape:
            message = (
                f"input {name}: expected {datatype} {list(shape)} without empty dimensions, "
                f"found {values.dtype.name} {list(values.shape)}"
            )
            raise BadRequest(message)
        if len(values) > self._limits.max_images:
            message = f"{len(values)} images came, at most {self._limits.max_images} are taken"
            raise BadRequest(message)

    def _prepare(
        self, pictures: npt.NDArray[np.uint8]
    ) -> tuple[list[npt.NDArray[np.float32]], list[tuple[int, int]]]:
        count, height, width, _ = pictures.shape
        return [self._family.prepare(picture) for picture in pictures], [(width, height)] * count

    def _known_inputs(self) -> str:
        return " or ".join(i.name for i in self._description.inputs)
