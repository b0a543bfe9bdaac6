"""Triton's classification extension: the largest elements of an output with their labels; pure.

An element is ``value:index`` or ``value:index:label``, BYTES (docs/protocol/
extension_classification.md). The model is asked for the output as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from simcloud.oip.tensors import Array, Tensor, join_bytes
from simcloud_inference_router.codecs.base import MalformedAnswer


def classified(tensor: Tensor, count: int, *, labels: Sequence[str], batched: bool) -> Tensor:
    """The ``count`` largest elements of an output, largest first, of each element of the batch.

    Args:
        tensor: the model's output, of numbers.
        count: 1 or more; fewer where there are no more.
        labels: by index.
        batched: whether the first dimension is the batch.

    Raises:
        MalformedAnswer: the output's datatype has no order.
    """
    if tensor.datatype in {"BYTES", "BF16", "BOOL"}:
        raise MalformedAnswer(f"output {tensor.name} is {tensor.datatype}: it can't be classified")
    rows = tensor.shape[0] if batched else 1
    width = math.prod(tensor.shape[1:] if batched else tensor.shape)
    count = min(count, width)
    elements = [
        text for row in tensor.array().reshape(rows, width) for text in _largest(row, count, labels)
    ]
    shape = (rows, count) if batched else (count,)
    return Tensor(tensor.name, "BYTES", shape, join_bytes(elements))


def _largest(row: Array, count: int, labels: Sequence[str]) -> list[str]:
    # Ascending and stable over the reversed row: of equals the first index comes first.
    order = len(row) - 1 - np.argsort(row[::-1], kind="stable")[::-1][:count]
    return [_text(row[index], int(index), labels) for index in order]


def _text(value: np.generic, index: int, labels: Sequence[str]) -> str:
    # std::to_string, which Triton's server writes values with.
    number = f"{float(value):f}" if value.dtype.kind == "f" else str(value)
    label = f":{labels[index]}" if index < len(labels) else ""
    return f"{number}:{index}{label}"
