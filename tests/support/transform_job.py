"""A command that scores by a Batch Transform job: SageMaker on paper, its job played on real S3."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from simcloud.client.pictures import picture_of
from simcloud.client.router import Picture
from simcloud.dataset.frames import EncodedFrame
from simcloud.dataset.layout import RunLocation
from simcloud.dataset.publishing import build_manifest, publish_manifest
from simcloud.dataset.reader import Dataset
from simcloud.dataset.rundoc import load_run, write_plan, write_spec
from simcloud.s3.objects import ObjectStore, open_store
from simcloud.scoring.events import ScoreEnded, ScoreEvent
from simcloud.spec.plan import Plan
from simcloud_cli.endpoints.aws import Aws, AwsPlace
from simcloud_cli.endpoints.transform import TransformJob
from simcloud_cli.endpoints.transform_request import TransformSettings
from simcloud_cli.endpoints.waiting import Patience
from support.aws_stubs import PaperAws, arn
from support.clock import ManualClock
from support.dataset_frames import SPEC, FrameMaker, make_frame, make_layer, put_shard
from support.s3_server import S3Server
from support.transform_player import Model, play

PLAN = Plan(frames=2, frames_per_shard=1)
SEEN = {"label": "seat", "class_id": 1, "score": 0.9, "box_xyxy_px": [1.0, 2.0, 5.0, 6.0]}
BEGAN = datetime(2026, 11, 21, 20, 0, tzinfo=UTC)
JOB = "simcloud-scored-0001"
MODEL = {
    "ModelName": "detector-model",
    "ModelArn": arn("model/detector-model"),
    "CreationTime": BEGAN,
}


def png(frame: int, camera: str) -> bytes:
    """The picture of a frame: one colour, another for each."""
    pixels = np.full((6, 8, 3), 20 * frame + len(camera), np.uint8)
    picture = picture_of(pixels)
    assert isinstance(picture, Picture)
    return picture.data


def framed(frame: int, camera: str) -> EncodedFrame:
    """A frame with its picture alone."""
    return make_frame(frame, camera, layers=[make_layer("rgb", png(frame, camera))])


async def publish(server: S3Server, location: RunLocation, plan: Plan, make: FrameMaker) -> None:
    """Makes a published run, in a bucket of its own if need be."""
    async with open_store(server.settings) as store:
        await store.ensure_bucket(location.bucket)
        await write_spec(store, location, SPEC, {})
        await write_plan(store, location, plan, 1)
        for shard in plan.shards():
            await put_shard(store, location, shard, make=make)
        documents = await load_run(store, location)
        manifest = await build_manifest(store, documents, provenance={})
        await publish_manifest(store, location, manifest)


def published(server: S3Server) -> RunLocation:
    """A published run of two shards, a frame and two cameras each, with real pictures."""
    location = RunLocation(bucket=f"test-{secrets.token_hex(6)}", prefix="runs", run="scored")
    asyncio.run(publish(server, location, PLAN, framed))
    return location


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

    def another(self) -> Job:
        """The same command a second time, by somebody else perhaps."""
        other = Job(self.store, self.dataset, self.paper)
        other.digest, other._numbers = self.digest, self._numbers
        return other

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


async def sees_a_seat(name: str, picture: bytes, media_type: str) -> bytes:
    """A model that finds the same in every picture."""
    return json.dumps({"detections": [SEEN]}).encode()


def but(*failing: str, answer: bytes | None = None) -> Model:
    """As ``sees_a_seat``, but for pictures of these names."""

    async def model(name: str, picture: bytes, media_type: str) -> bytes | None:
        return answer if name in failing else await sees_a_seat(name, picture, media_type)

    return model
