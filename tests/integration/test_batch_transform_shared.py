"""Several calls and one transform job: nothing is paid for twice, nothing foreign is counted.

SageMaker is on paper, its job played; pictures, records, answers and predictions are in real S3.
"""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from simcloud.client.pictures import picture_of
from simcloud.client.router import Picture
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.reader import Dataset
from simcloud.errors import DeadlineExceeded, PreconditionFailed
from simcloud.s3.objects import ObjectStore
from simcloud.scoring.stored_predictions import load_scored
from simcloud.spec.plan import CountingRule, Plan
from simcloud_cli.endpoints.transform_files import JobRecord, TransformFiles
from support.aws_stubs import PaperAws
from support.dataset_frames import make_frame, make_layer
from support.s3_server import S3Server
from support.transform_job import (
    JOB,
    MODEL,
    PLAN,
    Job,
    but,
    described,
    framed,
    publish,
    published,
    sees_a_seat,
)
from support.transform_player import play

SECOND = "simcloud-scored-0002"
NO_JOB = "Could not find requested job"
RULE = CountingRule(labels={"chair": "seat"}, min_visible_px=1)


@pytest.fixture(scope="module")
def location(s3_server: S3Server) -> RunLocation:
    return published(s3_server)


@pytest.fixture
async def job(store: ObjectStore, location: RunLocation, paper: PaperAws) -> Job:
    return Job(store, await Dataset.open(store, location), paper)


def _begun(paper: PaperAws) -> list[str]:
    """Names of the jobs that SageMaker was asked to begin."""
    return [item[2]["TransformJobName"] for item in paper.sent if item[1] == "CreateTransformJob"]


async def _is_killed(job: Job, name: str = JOB) -> None:
    """The command begins a job and does not see its end."""
    job.begins(name)
    job.is_("InProgress", name)
    job.limit_s = 1.0
    job.is_("InProgress", name)
    with pytest.raises(DeadlineExceeded):
        await job.run()


def _other(frame: int, camera: str) -> EncodedFrame:
    """A frame of another run: its picture is white."""
    picture = picture_of(np.full((6, 8, 3), 255, np.uint8))
    assert isinstance(picture, Picture)
    return make_frame(frame, camera, layers=[make_layer("rgb", picture.data)])


@pytest.mark.parametrize("runs", [True, False])
async def test_answers_to_the_pictures_of_a_run_that_was_made_again_are_dropped(
    store: ObjectStore, s3_server: S3Server, bucket: str, paper: PaperAws, runs: bool
) -> None:
    location = RunLocation(bucket=bucket, prefix="runs", run="scored")
    await publish(s3_server, location, PLAN, framed)
    job = Job(store, await Dataset.open(store, location), paper)
    await _is_killed(job)
    await play(store, job.created(), sees_a_seat)
    # The run is deleted; the record lies outside of it. Another one gets its name.
    rows = [row.key async for row in store.list_keys(bucket, location.root)]
    await store.delete_many(bucket, rows)
    await publish(s3_server, location, PLAN, _other)

    again = job.another()
    again.dataset = await Dataset.open(store, location)
    again.is_("InProgress" if runs else "Completed")
    if runs:
        paper.answers("sagemaker", "StopTransformJob", {"TransformJobName": JOB})
    again.begins(SECOND)
    again.is_("InProgress", SECOND)
    again.plays(but("000000001.right.png"))
    again.is_("Completed", SECOND)
    _, ended = await again.run()
    # The old job answered this one; the new one didn't.
    assert [item.key for item in ended.unscored] == [(1, "right")]
    assert any("pictures of an earlier run called scored" in line for line in again.said)
    assert ended.scored_now == 2
    assert await again.left() == []


async def test_a_run_that_has_grown_takes_the_answers_to_the_shards_that_it_had(
    store: ObjectStore, s3_server: S3Server, bucket: str, paper: PaperAws
) -> None:
    location = RunLocation(bucket=bucket, prefix="runs", run="scored")
    await publish(s3_server, location, Plan(frames=1, frames_per_shard=1), framed)
    job = Job(store, await Dataset.open(store, location), paper)
    await _is_killed(job)
    await play(store, job.created(), sees_a_seat)
    rows = [row.key async for row in store.list_keys(bucket, location.root)]
    await store.delete_many(bucket, rows)
    await publish(s3_server, location, PLAN, framed)

    again = job.another()
    again.dataset = await Dataset.open(store, location)
    again.is_("Completed")
    again.is_("Completed")
    again.begins(SECOND)
    again.is_("InProgress", SECOND)
    again.plays(sees_a_seat)
    again.is_("Completed", SECOND)
    _, ended = await again.run()
    assert ended.scored_now == 4
    assert not ended.unscored
    frames = await load_scored(store, again.dataset, ended.model, RULE)
    assert len(frames) == 4


async def test_who_began_a_job_finds_it_read_by_another_call(job: Job, paper: PaperAws) -> None:
    job.begins()
    job.is_("InProgress")
    faster = job.another()

    async def another_reads_it() -> None:
        await play(job.store, job.created(), sees_a_seat)
        _, ended = await faster.run()
        assert ended.scored_now == 4

    job.meanwhile = another_reads_it
    for _ in range(3):
        job.is_("Completed")
    _, ended = await job.run()
    assert not ended.unscored
    assert ended.scored_now == 0
    assert _begun(paper) == [JOB]
    assert await job.left() == []


async def test_who_joined_a_job_and_finds_it_read_begins_no_other(
    job: Job, paper: PaperAws
) -> None:
    await _is_killed(job)
    joined, faster = job.another(), job.another()
    joined.is_("InProgress")
    joined.is_("InProgress")

    async def another_reads_it() -> None:
        await play(job.store, job.created(), sees_a_seat)
        _, ended = await faster.run()
        assert ended.scored_now == 4

    joined.meanwhile = another_reads_it
    for _ in range(3):
        joined.is_("Completed")
    _, ended = await joined.run()
    assert not ended.unscored
    assert _begun(paper) == [JOB]


async def test_a_slower_call_leaves_the_next_job_s_files_alone(job: Job, paper: PaperAws) -> None:
    job.begins()
    job.is_("InProgress")
    faster = job.another()

    async def another_reads_it_and_begins_the_next() -> None:
        await play(job.store, job.created(), but("000000000.left.png"))
        faster.is_("Failed")
        faster.is_("Failed")
        await _is_killed(faster, SECOND)
        job.is_("Failed")

    job.meanwhile = another_reads_it_and_begins_the_next
    _, ended = await job.run()
    assert {item.key[0] for item in ended.unscored} == {0}
    assert _begun(paper) == [JOB, SECOND]
    left = await job.left()
    assert {key.rpartition("/")[2] for key in left} == {
        "000000000.left.png",
        "000000000.right.png",
        "job.json",
        "pictures.manifest",
    }
    assert not any(JOB in key for key in left)

    await play(job.store, job.created(), sees_a_seat)
    last = job.another()
    last.is_("Completed", SECOND)
    last.is_("Completed", SECOND)
    _, ended = await last.run()
    assert ended.scored_now == 2
    assert not ended.unscored
    assert await job.left() == []


async def test_between_the_record_and_the_job_another_call_begins_the_same_job(
    job: Job, paper: PaperAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = TransformFiles.stage
    faster = job.another()

    async def first_another(
        self: TransformFiles, name: str, dataset: Dataset, pictures: object
    ) -> list[str]:
        monkeypatch.setattr(TransformFiles, "stage", stage)
        _, ended = await faster.run()
        assert ended.scored_now == 4
        return await stage(self, name, dataset, pictures)  # type: ignore[arg-type]

    monkeypatch.setattr(TransformFiles, "stage", first_another)
    paper.answers("sagemaker", "DescribeModel", None, MODEL)
    paper.refuses("sagemaker", "DescribeTransformJob", "ValidationException", NO_JOB)
    faster.begins()
    faster.is_("InProgress")
    faster.plays(sees_a_seat)
    faster.is_("Completed")
    paper.refuses("sagemaker", "CreateTransformJob", "ResourceInUse", "Job name must be unique")
    job.is_("Completed")
    job.is_("Completed")
    _, ended = await job.run()
    assert not ended.unscored
    # SageMaker begins one job of a name.
    assert set(_begun(paper)) == {JOB}
    assert await job.left() == []


async def test_another_models_job_that_was_faster_by_a_moment_is_waited_out(
    job: Job, paper: PaperAws
) -> None:
    paper.answers("sagemaker", "DescribeModel", None, MODEL)
    paper.refuses("sagemaker", "CreateTransformJob", "ResourceInUse", "Job name must be unique")
    other = described("InProgress") | {"ModelName": "other-model"}
    paper.answers("sagemaker", "DescribeTransformJob", None, other)
    with pytest.raises(PreconditionFailed, match="of SageMaker model other-model still"):
        await job.run()


async def test_what_another_call_scored_before_the_record_was_kept_begins_no_job(
    job: Job, paper: PaperAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = TransformFiles.keep
    faster = job.another()

    async def first_another(self: TransformFiles, record: JobRecord) -> None:
        monkeypatch.setattr(TransformFiles, "keep", keep)
        _, ended = await faster.run()
        assert ended.scored_now == 4
        await keep(self, record)

    monkeypatch.setattr(TransformFiles, "keep", first_another)
    paper.answers("sagemaker", "DescribeModel", None, MODEL)
    faster.begins()
    # The slower call took the first number.
    faster.is_("InProgress", SECOND)
    faster.plays(sees_a_seat)
    faster.is_("Completed", SECOND)
    _, ended = await job.run()
    assert not ended.unscored
    assert _begun(paper) == [SECOND]
    assert await job.left() == []


async def test_a_call_that_was_killed_between_predictions_and_deletion_is_cleaned_up_after(
    job: Job, paper: PaperAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    clear = TransformFiles.clear

    async def killed(self: TransformFiles, record: JobRecord, *, keep_files: bool) -> None:
        monkeypatch.setattr(TransformFiles, "clear", clear)
        raise asyncio.CancelledError

    monkeypatch.setattr(TransformFiles, "clear", killed)
    job.begins()
    job.is_("InProgress")
    job.plays(sees_a_seat)
    job.is_("Completed")
    with pytest.raises(asyncio.CancelledError):
        await job.run()
    assert await job.left()
    job.is_("Completed")
    _, ended = await job.another().run()
    assert ended.scored_now == 0
    assert _begun(paper) == [JOB]
    assert await job.left() == []
