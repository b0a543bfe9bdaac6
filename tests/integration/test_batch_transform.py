"""`score --batch-transform` on a real S3 server; SageMaker on paper, its job played.

Requests are held against botocore's model; pictures, manifest, answers and predictions are real.
"""

from __future__ import annotations

import asyncio

import pytest

from simcloud.accounting.reconcile import reconcile
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import ModelKey, RunLocation
from simcloud.dataset.reader import Dataset
from simcloud.dataset.record import Quarantine
from simcloud.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    Transient,
)
from simcloud.s3.objects import ObjectStore
from simcloud.scoring.events import FrameUnscored, ScoreOpened, ShardScored
from simcloud.scoring.stored_predictions import load_scored
from simcloud.spec.plan import CountingRule, Plan
from simcloud_cli.endpoints.transform_files import JobRecord, TransformFiles
from simcloud_cli.endpoints.transform_request import TransformSettings
from support.aws_stubs import PaperAws
from support.dataset_frames import make_frame, make_layer
from support.model_server import ModelServer
from support.s3_server import S3Server
from support.transform_job import (
    JOB,
    MODEL,
    PLAN,
    Job,
    but,
    framed,
    png,
    publish,
    published,
    sees_a_seat,
)
from support.transform_player import container, play

NO_JOB = "Could not find requested job"
ONE_MODEL = {"ENDPOINTS": "nanodet-g=nanodet-g", "WORKERS": "1", "LOG_LEVEL": "warning"}


@pytest.fixture(scope="module")
def location(s3_server: S3Server) -> RunLocation:
    return published(s3_server)


@pytest.fixture
async def dataset(store: ObjectStore, location: RunLocation) -> Dataset:
    """The run, opened; each test scores it with a model of its own."""
    return await Dataset.open(store, location)


@pytest.fixture
def job(store: ObjectStore, dataset: Dataset, paper: PaperAws) -> Job:
    return Job(store, dataset, paper)


async def test_every_frame_is_scored_once_and_reports_read_it_as_they_read_the_routers(
    job: Job, store: ObjectStore, dataset: Dataset
) -> None:
    sent: list[tuple[str, bytes, str]] = []

    async def model(name: str, picture: bytes, media_type: str) -> bytes:
        sent.append((name, picture, media_type))
        return await sees_a_seat(name, picture, media_type)

    job.begins()
    job.is_("InProgress")
    job.plays(model)
    job.is_("Completed")
    events, ended = await job.run()
    assert ended.scored_now == 4
    assert not ended.unscored
    assert [event.shard for event in events if isinstance(event, ShardScored)] == [0, 1]
    assert ("000000001.right.png", png(1, "right"), "image/png") in sent
    assert any("1 ml.m5.xlarge for 90 s" in line for line in job.said)

    counts = await reconcile(store, dataset.location, model=ended.model)
    assert counts.scored == counts.stored == 4
    assert not counts.problems
    rule = CountingRule(labels={"chair": "seat"}, min_visible_px=1)
    frames = await load_scored(store, dataset, ended.model, rule)
    assert {item.label for frame in frames for item in frame.detections} == {"seat"}
    # Nothing that bills is left, and nothing of it is in the run.
    assert await job.left() == []

    # A second time there is nothing to ask.
    again, ended = await job.run()
    assert again[0] == ScoreOpened(model=ended.model, frames=4, scored=4)
    assert ended.scored_now == 0


async def test_the_real_model_container_answers_whatever_folder_its_answers_are_in(
    job: Job,
) -> None:
    job.begins()
    job.is_("InProgress")
    with ModelServer(environment=ONE_MODEL) as server:
        job.plays(container(server.url), folder="another/folder")
        job.is_("Completed")
        _, ended = await job.run()
    assert ended.scored_now == 4
    assert not ended.unscored


async def test_a_frame_without_an_answer_keeps_its_shard_unscored_and_is_named(
    job: Job, store: ObjectStore, dataset: Dataset
) -> None:
    job.begins()
    job.is_("InProgress")
    job.plays(but("000000000.left.png"))
    job.is_("Failed", reason="AlgorithmError: see the job's log")
    events, ended = await job.run()
    (failure,) = ended.unscored
    assert (failure.key, failure.reason) == ((0, "left"), "NO_OUTPUT")
    assert "see the job's log" in failure.message
    assert [event.shard for event in events if isinstance(event, ShardScored)] == [1]
    assert failure in [event for event in events if isinstance(event, FrameUnscored)]
    counts = await reconcile(store, dataset.location, model=ended.model)
    assert [item.shard.shard for item in counts.unscored] == [0]

    # The same command sends what is missing, and no more.
    second = "simcloud-scored-0002"
    job.begins(second)
    job.is_("InProgress", second)
    job.plays(sees_a_seat)
    job.is_("Completed", second)
    _, ended = await job.run()
    assert ended.scored_now == 2
    assert not ended.unscored


async def test_an_answer_that_is_no_list_of_detections_is_none(job: Job) -> None:
    job.begins()
    job.is_("InProgress")
    answers = {"000000000.left.png": b"{", "000000001.right.png": b'{"classifications": []}'}

    async def model(name: str, picture: bytes, media_type: str) -> bytes:
        return answers.get(name) or await sees_a_seat(name, picture, media_type)

    job.plays(model)
    job.is_("Completed")
    events, ended = await job.run()
    assert {item.key: item.reason for item in ended.unscored} == {
        (0, "left"): "BAD_ANSWER",
        (1, "right"): "BAD_ANSWER",
    }
    assert not any(isinstance(event, ShardScored) for event in events)


async def test_a_picture_with_two_answers_has_none(job: Job) -> None:
    job.begins()
    job.is_("InProgress")

    async def twice() -> None:
        for folder in ("", "again"):
            await play(job.store, job.created(), sees_a_seat, folder=folder)

    job.meanwhile = twice
    job.is_("Completed")
    _, ended = await job.run()
    assert {item.reason for item in ended.unscored} == {"TWO_OUTPUTS"}
    assert len(ended.unscored) == 4


async def test_a_killed_command_leaves_a_job_that_the_next_one_reads(job: Job) -> None:
    job.begins()
    job.is_("InProgress")
    job.limit_s = 10.0
    job.is_("InProgress")
    with pytest.raises(DeadlineExceeded, match="goes on without us"):
        await job.run()
    assert any("the same command waits for it again" in line for line in job.said)
    # The job ends while nobody looks.
    await play(job.store, job.created(), sees_a_seat)
    job.is_("Completed")
    job.is_("Completed")
    _, ended = await job.run()
    assert ended.scored_now == 4
    assert len([item for item in job.paper.sent if item[1] == "CreateTransformJob"]) == 1
    assert await job.left() == []


async def test_what_an_earlier_job_did_not_answer_goes_into_another(job: Job) -> None:
    job.begins()
    job.is_("InProgress")
    job.limit_s = 1.0
    job.is_("InProgress")
    with pytest.raises(DeadlineExceeded):
        await job.run()
    await play(job.store, job.created(), but("000000000.left.png"))
    job.is_("Failed")
    job.is_("Failed")
    second = "simcloud-scored-0002"
    job.begins(second)
    job.limit_s = 3600.0
    job.is_("InProgress", second)
    job.plays(sees_a_seat)
    job.is_("Completed", second)
    _, ended = await job.run()
    assert ended.scored_now == 4
    assert not ended.unscored


async def test_ctrl_c_stops_the_job(job: Job) -> None:
    job.begins()
    job.is_("InProgress")
    job.paper.answers("sagemaker", "StopTransformJob", {"TransformJobName": JOB})
    waiting = asyncio.Event()

    async def forever() -> None:
        waiting.set()
        await asyncio.Event().wait()

    job.meanwhile = forever
    scoring = asyncio.ensure_future(job.run())
    await waiting.wait()
    scoring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scoring
    assert any("is stopped: it bills no longer" in line for line in job.said)


async def test_a_job_that_could_not_be_stopped_is_said_to_bill(job: Job) -> None:
    job.begins()
    job.is_("InProgress")
    job.paper.refuses("sagemaker", "StopTransformJob", "AccessDeniedException", "no")

    async def cancelled() -> None:
        raise asyncio.CancelledError

    job.meanwhile = cancelled
    with pytest.raises(asyncio.CancelledError):
        await job.run()
    assert any("may go on to bill" in line and "stop-transform-job" in line for line in job.said)


async def test_a_job_that_was_recorded_and_never_begun_is_begun_by_the_next_call(
    job: Job,
) -> None:
    job.paper.answers("sagemaker", "DescribeModel", None, MODEL)
    job.paper.refuses("sagemaker", "CreateTransformJob", "ServiceUnavailable", status=503)
    with pytest.raises(Transient):
        await job.run()
    job.paper.refuses("sagemaker", "DescribeTransformJob", "ValidationException", NO_JOB)
    job.begins()
    job.is_("InProgress")
    job.plays(sees_a_seat)
    job.is_("Completed")
    _, ended = await job.run()
    assert ended.scored_now == 4
    assert await job.left() == []


async def test_another_models_job_for_the_same_predictions_is_waited_out(job: Job) -> None:
    job.begins()
    job.is_("InProgress")
    job.limit_s = 1.0
    job.is_("InProgress")
    with pytest.raises(DeadlineExceeded):
        await job.run()
    job.settings = TransformSettings(sagemaker_model="other-model")
    job.is_("InProgress")
    with pytest.raises(PreconditionFailed, match="of SageMaker model detector-model still"):
        await job.run()


async def test_of_two_commands_at_once_one_begins_a_job(store: ObjectStore, bucket: str) -> None:
    files = TransformFiles(
        store,
        RunLocation(bucket=bucket, prefix="", run="scored"),
        ModelKey(model="det", digest="ab" * 8),
        input_prefix="in",
        output_prefix="out",
    )
    records = [
        JobRecord(job=name, output_prefix=f"out/{name}", shards={0: "0" * 16})
        for name in ("first", "second")
    ]
    await files.keep(records[0])
    with pytest.raises(Conflict, match="another call has begun"):
        await files.keep(records[1])
    assert await files.record() == records[0]


async def test_a_shard_without_stored_frames_is_scored_by_nobody_and_reported(
    store: ObjectStore, s3_server: S3Server, bucket: str, paper: PaperAws
) -> None:
    def half(frame: int, camera: str) -> EncodedFrame:
        if frame:
            return make_frame(frame, camera, quarantine=Quarantine(rule="LABELS", detail="none"))
        return framed(frame, camera)

    location = RunLocation(bucket=bucket, prefix="", run="scored")
    await publish(s3_server, location, PLAN, half)
    job = Job(store, await Dataset.open(store, location), paper)
    job.begins()
    job.is_("InProgress")
    job.plays(sees_a_seat)
    job.is_("Completed")
    events, ended = await job.run()
    scored = {event.shard: event.frames for event in events if isinstance(event, ShardScored)}
    assert scored == {0: 2, 1: 0}
    rule = CountingRule(labels={"chair": "seat"}, min_visible_px=1)
    assert len(await load_scored(store, job.dataset, ended.model, rule)) == 2
    counts = await reconcile(store, location, model=ended.model)
    assert (counts.scored, counts.quarantined) == (2, 2)
    assert not counts.problems


async def test_a_long_run_goes_through_several_jobs(job: Job) -> None:
    job.settings = TransformSettings(sagemaker_model="detector-model", frames_per_job=2)
    for name in (JOB, "simcloud-scored-0002"):
        job.begins(name)
        job.is_("Completed", name)
    events, ended = await job.run()
    # Nobody played them: what was not answered is told, job by job.
    assert len(ended.unscored) == 4
    assert not any(isinstance(event, ShardScored) for event in events)
    sizes = {item[2]["TransformJobName"] for item in job.paper.sent if "Create" in item[1]}
    assert sizes == {JOB, "simcloud-scored-0002"}


async def test_a_picture_that_is_too_large_is_named_before_a_job_is_begun(
    store: ObjectStore, s3_server: S3Server, bucket: str, paper: PaperAws
) -> None:
    def large(frame: int, camera: str) -> EncodedFrame:
        return make_frame(frame, camera, layers=[make_layer("rgb", bytes(1_000_001))])

    location = RunLocation(bucket=bucket, prefix="", run="large")
    await publish(s3_server, location, Plan(frames=1, frames_per_shard=1), large)
    job = Job(store, await Dataset.open(store, location), paper)
    job.settings = TransformSettings(sagemaker_model="detector-model", max_payload_mb=1)
    paper.answers("sagemaker", "DescribeModel", None, MODEL)
    with pytest.raises(InvalidRequest, match="frame 0 camera left has 1000001 bytes"):
        await job.run()
    assert not any("Create" in operation for _, operation, _ in paper.sent)
    assert await job.left() == []


async def test_a_model_that_is_not_there_begins_no_job(job: Job) -> None:
    job.paper.refuses("sagemaker", "DescribeModel", "ValidationException", "Could not find model")
    with pytest.raises(NotFound, match="DescribeModel model/detector-model"):
        await job.run()
    assert await job.left() == []


async def test_a_quota_is_said_and_the_next_call_begins_the_job(job: Job) -> None:
    job.paper.answers(
        "sagemaker",
        "DescribeModel",
        None,
        MODEL,
    )
    job.paper.refuses("sagemaker", "CreateTransformJob", "ResourceLimitExceeded", "0 Instances")
    with pytest.raises(PreconditionFailed, match="Service Quotas"):
        await job.run()
    job.paper.refuses("sagemaker", "DescribeTransformJob", "ValidationException", NO_JOB)
    job.begins()
    job.is_("InProgress")
    job.plays(sees_a_seat)
    job.is_("Completed")
    _, ended = await job.run()
    assert ended.scored_now == 4


async def test_a_missing_permission_is_said_before_anything_bills(job: Job) -> None:
    job.paper.answers(
        "sagemaker",
        "DescribeModel",
        None,
        MODEL,
    )
    job.paper.refuses("sagemaker", "CreateTransformJob", "AccessDeniedException", "")
    with pytest.raises(PermissionDenied, match='"Action": "sagemaker:CreateTransformJob"'):
        await job.run()
