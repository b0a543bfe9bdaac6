"""`simcloud score --batch-transform` as a command: a job found again, the report, the exit code."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import pytest

from simcloud.dataset.layout import ModelKey, RunLocation
from simcloud.dataset.reader import Dataset
from simcloud.errors import DeadlineExceeded
from simcloud.s3.objects import ObjectStore, open_store
from simcloud.scoring.events import FrameUnscored, ScoreEvent
from simcloud_cli.context import Context
from simcloud_cli.endpoints.aws import AwsPlace
from simcloud_cli.endpoints.transform_request import TransformSettings
from simcloud_cli.exit_codes import ExitCode
from simcloud_cli.flow import score_and_report
from simcloud_cli.progress import RunProgress
from simcloud_cli.scoreflow import score_run
from simcloud_cli.session import Session
from simcloud_cli.state import options
from simcloud_cli.transformflow import TransformChoice
from support.aws_stubs import PaperAws, arn
from support.s3_server import S3Server
from support.transform_job import (
    MODEL,
    Job,
    described,
    published,
    sees_a_seat,
)
from support.transform_player import play

S3_STAND_IN = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def location(s3_server: S3Server) -> RunLocation:
    return published(s3_server)


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
        await play(store, job.created(), sees_a_seat)
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


class _SlowerThanAnother:
    """Scores to the end, then says that a frame had no answer: another call had one meanwhile."""

    def __init__(self, job: Job, key: ModelKey) -> None:
        self._job = job
        self.key = key

    async def run(self) -> AsyncGenerator[ScoreEvent]:
        _, ended = await self._job.run()
        failure = FrameUnscored((0, "left"), "NO_OUTPUT", "wrote no answer")
        yield replace(ended, unscored=(failure,))


async def test_what_another_call_scored_meanwhile_is_reported(
    store: ObjectStore, location: RunLocation, paper: PaperAws, tmp_path: Path
) -> None:
    job = Job(store, await Dataset.open(store, location), paper)
    job.begins()
    job.is_("InProgress")
    job.plays(sees_a_seat)
    job.is_("Completed")

    async def scorer_of(_: Dataset) -> _SlowerThanAnother:
        return _SlowerThanAnother(job, ModelKey(model="det", digest=job.digest[:16]))

    session = Session(name="aws", context=Context(), store=store, channels={}, targets={})
    with RunProgress() as progress:
        scoring = await score_and_report(
            session, location, "det", progress, tmp_path, scorer_of=scorer_of
        )
    assert scoring.counts.scored == 4
    assert scoring.report is not None
    assert (tmp_path / "report.html").exists()
    assert not scoring.unscored


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
