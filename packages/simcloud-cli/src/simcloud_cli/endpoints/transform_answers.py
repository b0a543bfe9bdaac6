"""A transform job's answers, read: each is a list of detections, or says why there is none."""

from __future__ import annotations

from collections.abc import Mapping

from simcloud.dataset.frames import FrameRef
from simcloud.errors import Corruption
from simcloud.s3.errors import NoSuchKey
from simcloud.s3.retrying import for_each
from simcloud.scoring.decode import decode_detections
from simcloud.scoring.events import FrameUnscored
from simcloud.scoring.types import Answer, Detection, FrameKey
from simcloud_cli.endpoints.transform_files import (
    Answers,
    JobRecord,
    TransformFiles,
    picture_name,
)

NO_OUTPUT = "NO_OUTPUT"
"""Reason of a frame whose answer the job did not write."""
TWO_OUTPUTS = "TWO_OUTPUTS"
"""Reason of a frame with two answers, which can't be told apart."""
BAD_ANSWER = "BAD_ANSWER"
"""Reason of a frame whose answer is no list of detections."""

_AT_ONCE = 16


async def read_answers(
    files: TransformFiles,
    record: JobRecord,
    answers: Answers,
    pictures: Mapping[FrameKey, FrameRef],
    *,
    why: str,
) -> list[Answer | FrameUnscored]:
    """What a job answered to each of these pictures, in their order.

    Args:
        files: where its answers are.
        record: the job.
        answers: what it wrote.
        pictures: of one shard.
        why: what SageMaker says of the job, for those without an answer.
    """

    async def one(item: tuple[FrameKey, FrameRef]) -> Answer | FrameUnscored:
        key, name = item[0], picture_name(*item)
        if name in answers.doubled:
            return FrameUnscored(key, TWO_OUTPUTS, f"{record.output_prefix} has {name} twice")
        if name not in answers.keys:
            return FrameUnscored(key, NO_OUTPUT, f"{record.job} wrote no answer: {why}")
        try:
            detections = decode_detections(await files.answer(answers.keys[name]))
        except Corruption as error:
            return FrameUnscored(key, BAD_ANSWER, error.message)
        except NoSuchKey:
            return FrameUnscored(key, NO_OUTPUT, f"{record.job} was read by another call")
        return _answer(key, record, detections)

    return await for_each(pictures.items(), one, limit=_AT_ONCE)


def _answer(key: FrameKey, record: JobRecord, detections: tuple[Detection, ...]) -> Answer:
    # SageMaker tells no times of a job's single requests.
    return Answer(
        frame=key[0],
        camera=key[1],
        code=0,
        reason="",
        message="",
        detections=detections,
        target=f"transform-job/{record.job}",
        attempts=1,
        queue_s=0.0,
        fetch_s=0.0,
        target_s=0.0,
        total_s=0.0,
    )
