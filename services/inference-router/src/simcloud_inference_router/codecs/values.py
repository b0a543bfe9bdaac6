"""Raw contents of tensors and the numbers or texts that JSON carries."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from simcloud.oip.tensors import DATATYPES, Tensor, join_bytes, split_bytes
from simcloud_inference_router.codecs.base import MalformedAnswer, UnencodableRequest
from simcloud_inference_router.codecs.documents import shape_of, text_of
from simcloud_inference_router.codecs.nested import unnested

_NO_JSON = frozenset({"BF16"})
"""numpy has no bfloat16, and JSON no use for one."""

_ELEMENTS: Mapping[str, set[type]] = {
    "b": {bool},
    "i": {int},
    "u": {int},
    "f": {int, float},
}
"""What the elements of JSON may be, by numpy's kind of datatype."""


def to_json(tensor: Tensor) -> list[object]:
    """A tensor's elements as a flat list, row-major.

    Raises:
        UnencodableRequest: BF16, numbers that are not finite, or BYTES that are no UTF-8.
    """
    if tensor.datatype in _NO_JSON:
        raise UnencodableRequest(f"{tensor.datatype} has no form in JSON; send FP32")
    if tensor.datatype == "BYTES":
        try:
            return [element.decode() for element in split_bytes(tensor.data)]
        except UnicodeDecodeError as exc:
            raise UnencodableRequest(
                "BYTES that are no UTF-8 have no form in JSON; this model takes text"
            ) from exc
    values = np.frombuffer(tensor.data, DATATYPES[tensor.datatype].dtype)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise UnencodableRequest("NaN and infinity have no form in JSON")
    elements: list[object] = values.tolist()
    return elements


def from_json(entry: Mapping[str, object]) -> Tensor:
    """An output whose ``data`` is a JSON list, flat or nested.

    Raises:
        MalformedAnswer: datatype, shape and data don't fit each other.
    """
    name, datatype, shape = text_of(entry, "name"), text_of(entry, "datatype"), shape_of(entry)
    data = entry.get("data")
    if not isinstance(data, list):
        raise MalformedAnswer("an output has neither binary_data_size nor a list `data`")
    found, flat = unnested(data, f"output {name}")
    if len(flat) != math.prod(shape) or (len(found) > 1 and found != shape):
        raise MalformedAnswer(
            f"output {name} of shape {list(shape)} should have {math.prod(shape)} elements, flat "
            f"or in that shape; `data` has {len(flat)}"
        )
    return Tensor(name, datatype, shape, elements_to_raw(name, datatype, flat))


def elements_to_raw(name: str, datatype: str, flat: list[object]) -> bytes:
    """Raw contents of an output's elements.

    Raises:
        MalformedAnswer: an element is not of the datatype, or the datatype has no form in text.
    """
    try:
        if datatype == "BYTES":
            return join_bytes(_text_or_bytes(element) for element in flat)
        if datatype in _NO_JSON:
            raise ValueError("it has no form in JSON")
        wanted = DATATYPES[datatype].dtype
        assert wanted is not None, "only BYTES has none"
        if found := {type(element) for element in flat} - _ELEMENTS[wanted.kind]:
            raise ValueError(f"elements are {', '.join(kind.__name__ for kind in found)}")
        # Of the wanted type at once: by way of float64, large integers would be rounded.
        with np.errstate(over="raise"):
            data = np.array(flat, dtype=wanted).tobytes()
    except (ValueError, KeyError, TypeError, OverflowError, FloatingPointError) as exc:
        raise MalformedAnswer(f"output {name} of datatype {datatype}: {exc}") from exc
    return data


def _text_or_bytes(element: object) -> str | bytes:
    if not isinstance(element, str | bytes):
        raise TypeError(f"expected texts, found {type(element).__name__}")
    return element
