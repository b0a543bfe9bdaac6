"""Requests put together along the first dimension, and answers cut apart along it; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise

from simcloud.oip.tensors import DATATYPES, Tensor
from simcloud_inference_router.codecs.base import MalformedAnswer, TensorAnswer


def joined(parts: Sequence[Sequence[Tensor]]) -> tuple[Tensor, ...]:
    """The inputs of one request that asks what these ask.

    Args:
        parts: inputs of each request, in the same order, alike but for their first dimensions.

    Returns:
        Tensors of shape (sum of the first dimensions, ...).
    """
    if len(parts) == 1:
        return tuple(parts[0])
    return tuple(
        Tensor(
            column[0].name,
            column[0].datatype,
            (sum(each.shape[0] for each in column), *column[0].shape[1:]),
            b"".join([each.data for each in column]),
        )
        for column in zip(*parts, strict=True)
    )


def split(answer: TensorAnswer, rows: Sequence[int]) -> list[TensorAnswer]:
    """What each request's answer is.

    Args:
        answer: to the joined request; its outputs' sizes are right for their shapes.
        rows: first dimension of each request, in the order in which they were joined.

    Raises:
        MalformedAnswer: an output has not as many rows as the request.
    """
    if len(rows) == 1:
        return [answer]
    columns = [_cut(output, rows) for output in answer.outputs]
    if not columns:
        return [TensorAnswer((), answer.parameters) for _ in rows]
    return [TensorAnswer(each, answer.parameters) for each in zip(*columns, strict=True)]


def _cut(tensor: Tensor, rows: Sequence[int]) -> list[Tensor]:
    total = sum(rows)
    if not tensor.shape or tensor.shape[0] != total:
        raise MalformedAnswer(
            f"output {tensor.name} has shape {list(tensor.shape)}; a batch of {total} was sent, so "
            f"its first dimension must be {total}"
        )
    ends = [0, *accumulate(rows)]
    rest = tensor.shape[1:]
    width = math.prod(rest)
    itemsize = DATATYPES[tensor.datatype].itemsize
    if itemsize is None:
        places = _ends_of_elements(tensor.data)
        cuts = [places[end * width] for end in ends]
    else:
        cuts = [end * width * itemsize for end in ends]
    return [
        Tensor(tensor.name, tensor.datatype, (count, *rest), tensor.data[start:end])
        for count, (start, end) in zip(rows, pairwise(cuts), strict=True)
    ]


def _ends_of_elements(data: bytes) -> list[int]:
    """Where the elements of BYTES end, 0 first; their framing has been checked."""
    ends, position = [0], 0
    while position < len(data):
        position += 4 + int.from_bytes(data[position : position + 4], "little")
        ends.append(position)
    return ends
