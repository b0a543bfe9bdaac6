"""Rows of numbers as ``text/csv``: SageMaker's XGBoost, linear learner, scikit-learn and others.

The answer's numbers may stand in one line or in several, and rows within brackets: XGBoost's
container joins predictions by commas, and rows of probabilities as Python lists.
"""

from __future__ import annotations

import math

import numpy as np

from simcloud.oip.tensors import DATATYPES, Tensor
from simcloud_inference_router.catalog import TensorSignature
from simcloud_inference_router.codecs.base import (
    Encoded,
    MalformedAnswer,
    TensorAnswer,
    TensorRequest,
    UnencodableRequest,
    beside_the_body,
)
from simcloud_inference_router.codecs.values import elements_to_raw

MEDIA_TYPE = "text/csv"


class Csv:
    """The codec: one table in, numbers out.

    Args:
        output: the model's one output.
    """

    def __init__(self, *, output: TensorSignature) -> None:
        self._output = output

    def encode(self, request: TensorRequest) -> Encoded:
        """A line for each row, without a header; floats by their shortest form."""
        tensor = request.inputs[0]
        if len(tensor.shape) != 2 or tensor.datatype in {"BYTES", "BF16"}:
            raise UnencodableRequest("CSV carries a table of numbers: rows and columns, no BYTES")
        table = tensor.array()
        if table.dtype.kind == "b":
            table = table.astype(np.uint8)
        if table.dtype.kind == "f" and not np.isfinite(table).all():
            raise UnencodableRequest("NaN and infinity have no form in CSV that all models read")
        body = "\n".join(",".join(row) for row in table.astype(str).tolist())
        parameters = beside_the_body(request.parameters)
        return Encoded(body.encode(), MEDIA_TYPE, MEDIA_TYPE, parameters)

    def decode(self, body: bytes, content_type: str) -> TensorAnswer:
        """The numbers in the output's shape."""
        if content_type.partition(";")[0].strip() != MEDIA_TYPE:
            raise MalformedAnswer(f"expected {MEDIA_TYPE}, found {content_type!r}")
        name, datatype = self._output.name, self._output.datatype
        try:
            text = body.decode().strip()
        except UnicodeDecodeError as exc:
            raise MalformedAnswer("the answer is no text") from exc
        lines = [line.strip(", \t\r") for line in text.splitlines()]
        rows = [
            line.replace("[", "").replace("]", "").replace(" ", "").split(",")
            for line in lines
            if line
        ]
        whole = DATATYPES[datatype].dtype
        assert whole is not None, "the catalogue refuses BYTES"
        read = int if whole.kind in "iu" else float
        try:
            flat: list[object] = [read(token) for row in rows for token in row]
        except ValueError as exc:
            raise MalformedAnswer(f"output {name} of datatype {datatype}: {exc}") from exc
        shape = _shape(self._output, len(flat), [len(row) for row in rows])
        return TensorAnswer((Tensor(name, datatype, shape, elements_to_raw(name, datatype, flat)),))


def _shape(output: TensorSignature, total: int, rows: list[int]) -> tuple[int, ...]:
    """The output's shape with its open dimensions filled in."""
    wanted = output.shape
    fixed = math.prod(size for size in wanted if size >= 0)
    if wanted.count(-1) == 1 and fixed and total % fixed == 0:
        return tuple(total // fixed if size < 0 else size for size in wanted)
    if wanted == (-1, -1) and len(set(rows)) <= 1:
        return (len(rows), rows[0] if rows else 0)
    if -1 not in wanted and total == fixed:
        return wanted
    raise MalformedAnswer(f"output {output.name}: {total} numbers are no {list(wanted)}")
