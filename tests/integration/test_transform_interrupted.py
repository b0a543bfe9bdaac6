"""Ctrl-C around a transform job, with boto3 and a SageMaker that answers over HTTP when it may."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from simcloud_cli.endpoints.aws import Aws, AwsPlace
from simcloud_cli.endpoints.transform_calls import TransformCalls
from simcloud_cli.endpoints.transform_request import TransformSettings, create_request
from simcloud_cli.endpoints.waiting import Patience
from support.aws_stubs import REGION, arn
from support.http_site import http_site

JOB = "simcloud-run-0001"
CREATE = create_request(
    TransformSettings(sagemaker_model="detector"),
    job=JOB,
    run="run",
    manifest_uri="s3://bucket/in/manifest.json",
    output_uri="s3://bucket/out/",
    media_type="image/png",
)
_TURNS = 20
"""Of the event loop: more than a cancelled task takes to end when nothing holds it."""


class Account:
    """An account of SageMaker's in which one request waits until it may be answered."""

    def __init__(self, held: str, *, refuses: str = "") -> None:
        self.asked: list[str] = []
        self.reached = asyncio.Event()
        self.gate = asyncio.Event()
        self._held = held
        self._refuses = refuses
        self._jobs: set[str] = set()

    async def answer(self, request: web.Request) -> web.Response:
        """The handler."""
        operation = request.headers["X-Amz-Target"].removeprefix("SageMaker.")
        job = json.loads(await request.read())["TransformJobName"]
        self.asked.append(operation)
        if operation == self._held:
            self.reached.set()
            await self.gate.wait()
        if operation == self._refuses:
            return _json({"__type": "ResourceLimitExceeded", "message": "0 instances"}, 400)
        if operation == "CreateTransformJob":
            self._jobs.add(job)
            return _json({"TransformJobArn": arn(f"transform-job/{job}")})
        if job in self._jobs:
            return _json({})
        return _json({"__type": "ValidationException", "message": "Could not find it"}, 400)


def _json(content: object, status: int = 200) -> web.Response:
    return web.Response(
        body=json.dumps(content), status=status, content_type="application/x-amz-json-1.1"
    )


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@asynccontextmanager
async def calls(account: Account, say: Callable[[str], None]) -> AsyncIterator[TransformCalls]:
    """What is asked of the account."""
    async with http_site(account.answer) as url:
        yield TransformCalls(
            Aws(AwsPlace(region=REGION, endpoint_url=url)),
            model="detector",
            patience=Patience(say=say),
            predictions="det",
        )


async def test_ctrl_c_while_a_job_is_being_begun_stops_it_once_it_has_begun() -> None:
    account, said = Account(held="CreateTransformJob"), list[str]()

    def say(line: str) -> None:
        # Whatever is done about the cancel is said first: only then SageMaker begins the job.
        said.append(line)
        account.gate.set()

    async with calls(account, say) as asking:
        beginning = asyncio.ensure_future(asking.begin(JOB, CREATE))
        await account.reached.wait()
        beginning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await beginning
    assert account.asked == ["CreateTransformJob", "StopTransformJob"]
    assert said[-1] == f"transform job {JOB} is stopped: it bills no longer"


async def test_ctrl_c_before_a_job_is_refused_says_that_nothing_bills() -> None:
    account, said = Account(held="CreateTransformJob", refuses="CreateTransformJob"), list[str]()
    async with calls(account, said.append) as asking:
        beginning = asyncio.ensure_future(asking.begin(JOB, CREATE))
        await account.reached.wait()
        beginning.cancel()
        account.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await beginning
    assert account.asked == ["CreateTransformJob", "StopTransformJob"]
    assert said[-1] == f"transform job {JOB} was not begun: it bills nothing"


async def test_ctrl_c_while_a_job_is_being_stopped_leaves_nothing_unsaid() -> None:
    account, said = Account(held="StopTransformJob", refuses="StopTransformJob"), list[str]()
    async with calls(account, said.append) as asking:
        stopping = asyncio.ensure_future(asking.stop(JOB))
        await account.reached.wait()
        stopping.cancel()
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        account.gate.set()
        with pytest.raises(asyncio.CancelledError):
            await stopping
    assert "may go on to bill: `aws sagemaker stop-transform-job" in said[-1]
