"""The predictions of one shard as Parquet: one row a frame key, written once."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from simcloud.errors import Corruption
from simcloud.scoring.types import Answer, Detection

FORMAT = "simcloud.predictions/v1"

_DETECTION = pa.struct(
    [
        pa.field("label", pa.string(), nullable=False),
        pa.field("class_id", pa.int32(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),
        # pixel edges in the stored picture, maxima exclusive
        pa.field("x_min", pa.float32(), nullable=False),
        pa.field("y_min", pa.float32(), nullable=False),
        pa.field("x_max", pa.float32(), nullable=False),
        pa.field("y_max", pa.float32(), nullable=False),
    ]
)

_COLUMNS: list[pa.Field[Any]] = [
    pa.field("frame", pa.int64(), nullable=False),
    pa.field("camera", pa.string(), nullable=False),
    # gRPC status code as a number; a file is only written when every row is 0 or an error
    # that another try can't mend
    pa.field("code", pa.int32(), nullable=False),
    pa.field("reason", pa.string(), nullable=False),
    pa.field("message", pa.string(), nullable=False),
    pa.field("predictions", pa.list_(pa.field("item", _DETECTION, nullable=False))),
    pa.field("target", pa.string(), nullable=False),
    pa.field("attempts", pa.int32(), nullable=False),
    pa.field("queue_s", pa.float64(), nullable=False),
    pa.field("fetch_s", pa.float64(), nullable=False),
    pa.field("target_s", pa.float64(), nullable=False),
    pa.field("total_s", pa.float64(), nullable=False),
]

SCHEMA = pa.schema(_COLUMNS)
"""Columns of a predictions object, in order."""


def to_parquet(answers: Iterable[Answer], *, model: str, model_digest: str) -> bytes:
    """A predictions object: rows by frame and camera, the model in the file's metadata."""
    rows = sorted(answers, key=lambda answer: answer.key)
    table = pa.Table.from_pylist(
        [_row(answer) for answer in rows],
        schema=SCHEMA.with_metadata(
            {"simcloud.format": FORMAT, "simcloud.model": model, "simcloud.digest": model_digest}
        ),
    )
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def from_parquet(data: bytes) -> list[Answer]:
    """Reads a predictions object.

    Raises:
        Corruption: not one.
    """
    try:
        table = pq.read_table(io.BytesIO(data))
        if (table.schema.metadata or {}).get(b"simcloud.format") != FORMAT.encode():
            raise Corruption(f"predictions are not of the format {FORMAT}")
        return [_answer(row) for row in table.to_pylist()]
    except (pa.ArrowException, KeyError, TypeError) as error:
        raise Corruption(f"predictions can't be read: {error}") from error


def frame_keys(data: bytes) -> Sequence[tuple[int, str]]:
    """Frame keys of a predictions object that were answered, without reading the rest."""
    table = pq.read_table(io.BytesIO(data), columns=["frame", "camera", "code"])
    rows: list[dict[str, Any]] = table.to_pylist()
    return [(row["frame"], row["camera"]) for row in rows if row["code"] == 0]


def _row(answer: Answer) -> dict[str, object]:
    return {
        "frame": answer.frame,
        "camera": answer.camera,
        "code": answer.code,
        "reason": answer.reason,
        "message": answer.message,
        "predictions": [
            {
                "label": item.label,
                "class_id": item.class_id,
                "score": item.score,
                "x_min": item.box[0],
                "y_min": item.box[1],
                "x_max": item.box[2],
                "y_max": item.box[3],
            }
            for item in answer.detections
        ],
        "target": answer.target,
        "attempts": answer.attempts,
        "queue_s": answer.queue_s,
        "fetch_s": answer.fetch_s,
        "target_s": answer.target_s,
        "total_s": answer.total_s,
    }


def _answer(row: dict[str, Any]) -> Answer:
    return Answer(
        frame=row["frame"],
        camera=row["camera"],
        code=row["code"],
        reason=row["reason"],
        message=row["message"],
        detections=tuple(
            Detection(
                label=item["label"],
                class_id=item["class_id"],
                score=item["score"],
                box=(item["x_min"], item["y_min"], item["x_max"], item["y_max"]),
            )
            for item in row["predictions"]
        ),
        target=row["target"],
        attempts=row["attempts"],
        queue_s=row["queue_s"],
        fetch_s=row["fetch_s"],
        target_s=row["target_s"],
        total_s=row["total_s"],
    )
