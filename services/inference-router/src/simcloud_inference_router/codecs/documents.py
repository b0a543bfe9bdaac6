"""The JSON of the Open Inference Protocol over HTTP, read with care: it comes from outside."""

from __future__ import annotations

import json
from collections.abc import Mapping

from simcloud_inference_router.codecs.base import MalformedAnswer, Parameter

Document = dict[str, object]


def parse_object(text: bytes) -> Document:
    """A JSON object.

    Raises:
        MalformedAnswer: it is none.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise MalformedAnswer(f"the answer is not JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise MalformedAnswer(f"expected a JSON object, found {type(value).__name__}")
    return value


def tensor_documents(document: Document) -> list[Document]:
    """The entries of ``outputs``."""
    outputs = document.get("outputs")
    if not isinstance(outputs, list):
        raise MalformedAnswer("the answer has no list `outputs`")
    for entry in outputs:
        if not isinstance(entry, dict):
            raise MalformedAnswer(f"an output must be an object, found {type(entry).__name__}")
    return outputs


def text_of(entry: Mapping[str, object], key: str) -> str:
    """A text that must be there."""
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        raise MalformedAnswer(f"an output has no text `{key}`")
    return value


def shape_of(entry: Mapping[str, object]) -> tuple[int, ...]:
    """An output's shape: a list of integers, 0 or more."""
    shape = entry.get("shape")
    if not isinstance(shape, list):
        raise MalformedAnswer(f"output {entry.get('name')!r} has no list `shape`")
    for size in shape:
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size < 2**63:
            raise MalformedAnswer(f"output {entry.get('name')!r} has the shape {shape!r}")
    return tuple(shape)


def parameters_of(document: Mapping[str, object]) -> dict[str, Parameter]:
    """Parameters of an answer; those that OIP has no form for are left out."""
    found = document.get("parameters")
    if not isinstance(found, dict):
        return {}
    return {key: value for key, value in found.items() if _is_plain(key) and _is_plain(value)}


def _is_plain(value: object) -> bool:
    """Whether protobuf takes it: no half surrogate pair, no integer that 64 bits can't hold."""
    match value:
        case str():
            return value.isascii() or value == value.encode(errors="replace").decode()
        case int():
            return -(2**63) <= value < 2**64
        case _:
            return isinstance(value, float)
