"""`score --batch-transform` on a real S3 server; SageMaker on paper, its job played.

Requests are held against botocore's model; pictures, manifest, answers and predictions are real.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simcloud.accounting.reconcile import reconcile
from simcloud.client.pictures import picture_of
from simcloud.client.router import Picture
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import ModelKey, RunLocation
from simcloud.dataset.manifest import build_manifest, publish_manifest
from simcloud.dataset.reader import Dataset
from simcloud.dataset.rundoc import load_run, write_plan, write_spec
from simcloud.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
)
from simcloud.s3.objects import ObjectStore, open_store
from simcloud.scoring.job import (
    FrameUnscored,
    ScoreEnded,
    ScoreEvent,
    ScoreOpened,
    ShardScored,
    load_scored,
)
from simcloud.spec.plan import CountingRule, Plan
from simcloud_cli.endpoints.aws import Aws, AwsPlace
from simcloud_cli.endpoints.transform import TransformJob
from simcloud_cli.endpoints.transform_files import JobRecord, TransformFiles
from simcloud_cli.endpoints.transform_request import TransformSettings
from simcloud_cli.endpoints.waiting import Patience
from simcloud_cli.exit_codes import ExitCode
from simcloud_cli.scoreflow import score_run
from simcloud_cli.state import options
from simcloud_cli.transformflow import TransformChoice
from support.aws_stubs import PaperAws, arn, paper_aws
from support.clock import ManualClock
from support.dataset_frames import SPEC, FrameMaker, make_frame, make_layer, put_shard
from support.model_server import ModelServer
from support.s3_server import S3Server
from support.transform_player import Model, container, play

PLAN = Plan(frames=2, frames_per_shard=1)
SEEN = {"label": "seat", "class_id": 1, "score": 0.9, "box_xyxy_px": [1.0, 2.0, 5.0, 6.0]}
BEGAN = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)
JOB = "simcloud-scored-0001"
ONE_MODEL = {"ENDPOINTS": "nanodet-g=nanodet-g", "WORKERS": "1", "LOG_LEVEL": "warning"}
MODEL = {
    "ModelName": "detector-model",
    "ModelArn": arn("model/detector-model"),
    "CreationTime": BEGAN,
}


@pytest.fixture
def paper(monkeypatch: pytest.MonkeyPatch) -> Iterator[PaperAws]:
    with paper_aws(monkeypatch) as aws:
        yield aws


def _png(frame: int, camera: str) -> bytes:
    pixels = np.full((6, 8, 3), 20 * frame + len(camera), np.uint8)
    picture = picture_of(pixels)
    assert isinstance(picture, Picture)
    return picture.data


def _frame(frame: int, camera: str) -> EncodedFrame:
    return make_frame(frame, camera, layers=[make_layer("rgb", _png(frame, camera))])


@pytest.fixture(scope="module")
def location(s3_server: S3Server) -> RunLocation:
    """A published run of two shards, a frame and two cameras each, with real pictures."""
    location = RunLocation(bucket=f"test-{secrets.token_hex(6)}", prefix="runs", run="scored")
    asyncio.run(_publish(s3_server, location, PLAN, _frame))
    return location


async def _publish(server: S3Server, location: RunLocation, plan: Plan, make: FrameMaker) -> None:
    async with open_store(server.settings) as store:
        await store.ensure_bucket(location.bucket)
        await write_spec(store, location, SPEC, {})
        await write_plan(store, location, plan, 1)
        for shard in plan.shards():
            await put_shard(store, location, shard, make=make)
        documents = await load_run(store, location)
        manifest = await build_manifest(store, documents, provenance={})
        await publish_manifest(store, location, manifest)


@pytest.fixture
async def dataset(store: ObjectStore, location: RunLocation) -> Dataset:
    """The run, opened; each test scores it with a model of its own."""
    return await Dataset.open(store, location)


def described(status: str, job: str = JOB) -> dict[str, Any]:
    """SageMaker's description of a job."""
    answer: dict[str, Any] = {
        "TransformJobName": job,
        "TransformJobArn": arn(f"transform-job/{job}"),
        "TransformJobStatus": status,
        "ModelName": "detector-model",
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "ManifestFile", "S3Uri": "s3://b/m"}}
        },
        "TransformResources": {"InstanceType": "ml.m5.xlarge", "InstanceCount": 1},
        "CreationTime": BEGAN,
    }
    if status != "InProgress":
        answer |= {"TransformStartTime": BEGAN, "TransformEndTime": BEGAN + timedelta(seconds=90)}
    return answer


class Job:
    """A command that scores by a transform job, whose waits are what a test does meanwhile."""

    def __init__(self, store: ObjectStore, dataset: Dataset, paper: PaperAws) -> None:
        self.store = store
        self.dataset = dataset
        self.paper = paper
        self.said: list[str] = []
        self.clock = ManualClock()
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        self.settings = TransformSettings(sagemaker_model="detector-model")
        self.limit_s = 3600.0
        self.digest = secrets.token_hex(32)
        self._numbers = iter(f"{number:04d}" for number in range(1, 100))

    async def run(self) -> tuple[list[ScoreEvent], ScoreEnded]:
        """Scores to the end."""
        job = TransformJob(
            store=self.store,
            dataset=self.dataset,
            aws=Aws(AwsPlace()),
            model="det",
            model_digest=self.digest,
            settings=self.settings,
            patience=Patience(
                limit_s=self.limit_s, clock=self.clock, sleep=self._sleep, say=self.said.append
            ),
            nonce=lambda: next(self._numbers),
        )
        events = [event async for event in job.run()]
        ended = events[-1]
        assert isinstance(ended, ScoreEnded)
        return events, ended

    async def _sleep(self, seconds: float) -> None:
        self.clock.advance(seconds)
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()

    def begins(self, job: str = JOB) -> None:
        """SageMaker has the model, takes the job and says that it runs."""
        self.paper.answers(
            "sagemaker",
            "DescribeModel",
            {"ModelName": "detector-model"},
            MODEL,
        )
        self.paper.answers(
            "sagemaker",
            "CreateTransformJob",
            None,
            {"TransformJobArn": arn(f"transform-job/{job}")},
        )

    def is_(self, status: str, job: str = JOB, *, reason: str = "") -> None:
        """SageMaker's next word on a job."""
        answer = described(status, job)
        if reason:
            answer["FailureReason"] = reason
        self.paper.answers("sagemaker", "DescribeTransformJob", {"TransformJobName": job}, answer)

    def plays(self, model: Model, *, folder: str = "") -> None:
        """What the job does while it is waited for."""
        self.meanwhile = lambda: play(self.store, self.created(), model, folder=folder)

    def created(self) -> dict[str, Any]:
        """Parameters of the job that was begun last."""
        return [item[2] for item in self.paper.sent if item[1] == "CreateTransformJob"][-1]

    async def left(self) -> list[str]:
        """Keys beside the run."""
        bucket = self.dataset.location.bucket
        keys = [row.key async for row in self.store.list_keys(bucket, "async/")]
        return [key for key in keys if self.digest[:16] in key]


@pytest.fixture
def job(store: ObjectStore, dataset: Dataset, paper: PaperAws) -> Job:
    return Job(store, dataset, paper)


async def _sees_a_seat(name: str, picture: bytes, media_type: str) -> bytes:
    return json.dumps({"detections": [SEEN]}).encode()


def _but(*failing: str, answer: bytes | None = None) -> Model:
    """As ``_sees_a_seat``, but for pictures of these names."""

    async def model(name: str, picture: bytes, media_type: str) -> bytes | None:
        return answer if name in failing else await _sees_a_seat(name, picture, media_type)

    return model


async def test_every_frame_is_scored_once_and_reports_read_it_as_they_read_the_routers(
    job: Job, store: ObjectStore, dataset: Dataset
) -> None:
    sent: list[tuple[str, bytes, str]] = []

    async def model(name: str, picture: bytes, media_type: str) -> bytes:
        sent.append((name, picture, media_type))
        return await _sees_a_seat(name, picture, media_type)

    job.begins()
    job.is_("InProgress")
    job.plays(model)
    job.is_("Completed")
    events, ended = await job.run()
    assert ended.scored_now == 4
    assert not ended.unscored
    assert [event.shard for event in events if isinstance(event, ShardScored)] == [0, 1]
    assert ("000000001.right.png", _png(1, "right"), "image/png") in sent
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
    job.plays(_but("000000000.left.png"))
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
    job.plays(_sees_a_seat)
    job.is_("Completed", second)
    _, ended = await job.run()
    assert ended.scored_now == 2
    assert not ended.unscored


async def test_an_answer_that_is_no_list_of_detections_is_none(job: Job) -> None:
    job.begins()
    job.is_("InProgress")
    answers = {"000000000.left.png": b"{", "000000001.right.png": b'{"classifications": []}'}

    async def model(name: str, picture: bytes, media_type: str) -> bytes:
        return answers.get(name) or await _sees_a_seat(name, picture, media_type)

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
            await play(job.store, job.created(), _sees_a_seat, folder=folder)

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
    await play(job.store, job.created(), _sees_a_seat)
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
    await play(job.store, job.created(), _but("000000000.left.png"))
    job.is_("Failed")
    job.is_("Failed")
    second = "simcloud-scored-0002"
    job.begins(second)
    job.limit_s = 3600.0
    job.is_("InProgress", second)
    job.plays(_sees_a_seat)
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


async def test_a_job_that_sagemaker_never_began_is_forgotten(job: Job) -> None:
    job.begins()
    job.is_("InProgress")
    job.limit_s = 1.0
    job.is_("InProgress")
    with pytest.raises(DeadlineExceeded):
        await job.run()
    job.paper.refuses(
        "sagemaker", "DescribeTransformJob", "ValidationException", "Could not find requested job"
    )
    second = "simcloud-scored-0002"
    job.begins(second)
    job.limit_s = 3600.0
    job.is_("InProgress", second)
    job.plays(_sees_a_seat)
    job.is_("Completed", second)
    _, ended = await job.run()
    assert ended.scored_now == 4


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
        JobRecord(job=name, sagemaker_model="m", output_prefix=f"out/{name}", shards=(0,))
        for name in ("first", "second")
    ]
    await files.keep(records[0])
    with pytest.raises(Conflict, match="another call has begun"):
        await files.keep(records[1])
    assert await files.record() == records[0]


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
    await _publish(s3_server, location, Plan(frames=1, frames_per_shard=1), large)
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


async def test_a_quota_is_said_and_the_next_call_begins_anew(job: Job) -> None:
    job.paper.answers(
        "sagemaker",
        "DescribeModel",
        None,
        MODEL,
    )
    job.paper.refuses("sagemaker", "CreateTransformJob", "ResourceLimitExceeded", "0 Instances")
    with pytest.raises(PreconditionFailed, match="Service Quotas"):
        await job.run()
    job.paper.refuses("sagemaker", "DescribeTransformJob", "ValidationException", "Could not find")
    second = "simcloud-scored-0002"
    job.begins(second)
    job.is_("InProgress", second)
    job.plays(_sees_a_seat)
    job.is_("Completed", second)
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


@pytest.fixture
def aws_context(
    s3_server: S3Server, location: RunLocation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The context in force is one whose S3 is the server, by variables."""
    settings = s3_server.settings
    for name, value in {
        "BUCKET": location.bucket,
        "PREFIX": location.prefix,
        "STATE_DIR": str(tmp_path),
        "S3__ENDPOINT_URL": settings.endpoint_url,
        "S3__ACCESS_KEY_ID": settings.access_key_id,
        "S3__SECRET_ACCESS_KEY": settings.secret_access_key.get_secret_value(),
        "S3__PATH_STYLE": "true",
    }.items():
        monkeypatch.setenv(f"SIMCLOUD_CONTEXT_{name}", value)
    monkeypatch.setenv("SIMCLOUD_CONTEXT", "environment")
    monkeypatch.setenv("SIMCLOUD_CONFIG", str(tmp_path / "none.yaml"))
    monkeypatch.setattr(options, "context", "environment")


async def _leaves_a_job(server: S3Server, location: RunLocation, paper: PaperAws) -> str:
    """A command was killed, and its job ended; the model's digest."""
    async with open_store(server.settings) as store:
        job = Job(store, await Dataset.open(store, location), paper)
        job.begins()
        job.is_("InProgress")
        job.limit_s = 1.0
        job.is_("InProgress")
        with pytest.raises(DeadlineExceeded):
            await job.run()
        await play(store, job.created(), _sees_a_seat)
        # The command looks at the model first, then at the job.
        paper.answers("sagemaker", "DescribeModel", None, MODEL)
        job.is_("Completed")
        job.is_("Completed")
        return job.digest


@pytest.mark.usefixtures("aws_context")
def test_the_command_finds_an_earlier_job_and_writes_the_report(
    s3_server: S3Server,
    location: RunLocation,
    paper: PaperAws,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    digest = asyncio.run(_leaves_a_job(s3_server, location, paper))
    sent = len(paper.sent)
    code = _command(digest[:16], tmp_path)
    assert code is ExitCode.COMPLETE
    document = json.loads(capsys.readouterr().out)
    assert document["accounting"]["scored"] == document["accounting"]["stored"] == 4
    assert (tmp_path / "report.html").exists()
    assert [operation for _, operation, _ in paper.sent[sent:]] == [
        "DescribeModel",
        "DescribeTransformJob",
        "DescribeTransformJob",
    ]


@pytest.mark.usefixtures("aws_context")
def test_the_command_is_no_success_while_an_answer_is_missing(
    paper: PaperAws, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = secrets.token_hex(8)
    for _ in range(2):
        paper.answers("sagemaker", "DescribeModel", None, MODEL)
    job_arn = arn("transform-job/any")
    paper.answers("sagemaker", "CreateTransformJob", None, {"TransformJobArn": job_arn})
    # It is completed, and has written nothing.
    paper.answers(
        "sagemaker",
        "DescribeTransformJob",
        None,
        described("Completed"),
    )
    code = _command(digest, tmp_path)
    assert code is ExitCode.INCOMPLETE
    document = json.loads(capsys.readouterr().out)
    assert document["report"] is None
    assert {item["reason"] for item in document["unscored"]} == {"NO_OUTPUT"}
    assert len(document["unscored"]) == 4


def _command(digest: str, folder: Path) -> ExitCode:
    return score_run(
        "scored",
        f"det@{digest}",
        folder,
        score=True,
        json=True,
        transform=TransformChoice(
            settings=TransformSettings(sagemaker_model="detector-model"),
            # Of a stand-in: the context's S3 is none of AWS's.
            place=AwsPlace(endpoint_url=S3_STAND_IN),
        ),
    )


S3_STAND_IN = "http://127.0.0.1:9"
