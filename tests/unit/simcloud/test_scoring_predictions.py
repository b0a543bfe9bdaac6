"""A predictions object says back what was written."""

from __future__ import annotations

import pytest

from simcloud.errors import Corruption
from simcloud.scoring.predictions import SCHEMA, frame_keys, from_parquet, to_parquet
from simcloud.scoring.types import Answer, Detection


def _answer(frame: int, code: int = 0) -> Answer:
    return Answer(
        frame=frame,
        camera="main",
        code=code,
        reason="MODEL_ERROR" if code else "",
        message="",
        detections=(Detection(label="couch", class_id=57, score=0.5, box=(1.0, 2.0, 3.5, 4.0)),),
        target="nanodet-g/AllTraffic",
        attempts=1,
        queue_s=0.5,
        fetch_s=0.25,
        target_s=0.125,
        total_s=1.0,
    )


def test_what_is_written_is_read_back_by_frame_and_camera() -> None:
    data = to_parquet([_answer(7), _answer(3)], model="nanodet-g", model_digest="ab")
    assert from_parquet(data) == [_answer(3), _answer(7)]
    assert SCHEMA.names[:3] == ["frame", "camera", "code"]


def test_only_answered_frames_are_keys() -> None:
    data = to_parquet([_answer(1), _answer(2, code=13)], model="m", model_digest="d")
    assert frame_keys(data) == [(1, "main")]


def test_other_bytes_are_corruption() -> None:
    with pytest.raises(Corruption, match="can't be read"):
        from_parquet(b"PAR1 but not really")
